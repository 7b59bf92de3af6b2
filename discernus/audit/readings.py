"""How scores came out of the answers: those that had to be repaired, and quotations that are not in the texts."""

from __future__ import annotations

from discernus.audit.subject import Subject, extracted_file, title
from discernus.audit.verdicts import Check, Place, found, not_applicable, nothing, unshown
from discernus.experiments.freezing import taken_out_of
from discernus.reports.quotes import verify
from discernus.reports.readability import in_words, readability, readings_of
from discernus.sessions import layout

# values stand in the answer as data, and were taken as they stand
AS_WRITTEN = ("contract_json", "json_in_text", "data_block")
HOW = {
    "repaired_json": "its JSON was broken, and was repaired",
    "outline": "read from labelled lines of prose",
    "second_model": "read by a second model",
}


def repairs(subject: Subject, name: str) -> Check:
    """Which scores were read otherwise than from an answer's own, valid JSON."""
    read = list(subject.read())
    if not read:
        return not_applicable(name, "Nothing was read yet.")
    places = [
        Place(extracted_file(one), f"{title(one)}: {HOW.get(one.route or '', 'read in no known way')}")
        for one in read
        if one.scores and one.route not in AS_WRITTEN
    ]
    if places:
        return found(name, "attention", places, len(read), "These readings did more than take what stands there.")
    return nothing(name, len(read), "All scores were taken from valid JSON as they stand there.")


def readable(subject: Subject, name: str) -> Check:
    """Whether the answers of each model could mostly be read as they stand."""
    found_ = readability(readings_of(subject.read()))
    if not found_:
        return not_applicable(name, "No language model has answered.")
    threshold = subject.session.definition.experiment.extraction_alert
    alarming = [one for one in found_ if one.alarming(threshold)]
    of = sum(one.answers for one in found_)
    if not alarming:
        least = "no score, or a repaired one, came of no larger share of any model's answers than the experiment allows"
        return nothing(name, of, f"{least[0].upper()}{least[1:]}.")
    places = [Place(layout.EXTRACTION_LOG, in_words(one, threshold)) for one in alarming]
    reason = "What is missing or mended that often may be so for reasons that lie in the texts."
    return found(name, "attention", places, len(found_), reason)


def quotations(subject: Subject, name: str) -> Check:
    """Whether each quotation that is given as evidence stands in the frozen text that it is said to be from."""
    definition = subject.session.definition
    gone = taken_out_of(definition)
    quoted = [
        (record, dimension, quotation)
        for record in subject.read()
        for dimension, quotations_ in record.evidence.items()
        for quotation in quotations_
    ]
    prose = sum(record.route == "outline" for record in subject.read())
    unread = f" Evidence is not read from prose answers, of which there are {prose}." if prose else ""
    if not quoted and prose:
        return unshown(name, f"No quotation was read as evidence.{unread}")
    if not quoted:
        return not_applicable(name, "No answer gave a quotation as evidence.")
    lost, unchecked, shortened = [], [], 0
    for record, dimension, quotation in quoted:
        place = Place(_page(subject, record.number), f"{title(record)}, {dimension}: “{_short(quotation)}”")
        text = definition.texts.get(record.document)
        if text is None or record.document in gone:
            unchecked.append(place)
            continue
        standing = verify(quotation, text)
        if standing == "not found":
            lost.append(place)
        shortened += standing == "found with omissions"
    how = "Case, typography and white space do not count."
    if lost:
        also = f" {len(unchecked)} more could not be checked, for their texts were taken out." if unchecked else ""
        return found(name, "attention", lost, len(quoted), f"These do not stand in their texts. {how}{also}{unread}")
    if unchecked:
        reason = f"These could not be checked, for their texts were taken out; all others stand in theirs.{unread}"
        return found(name, "attention", unchecked, len(quoted), reason)
    if unread:
        return unshown(name, f"Each of {len(quoted)} that were read stands in its text. {how}{unread}")
    marked = f" {shortened} of them with words left out, as they mark." if shortened else ""
    return nothing(name, len(quoted), f"Each stands in its text.{marked} {how}")


def _page(subject: Subject, number: int) -> str:
    page = layout.page(number)
    return page if subject.session.store.exists(page) else layout.extracted(number)


def _short(quotation: str) -> str:
    plain = " ".join(quotation.split())
    return plain if len(plain) <= 120 else f"{plain[:119]}…"
