"""The report's record of itself: quoted evidence, every gap, how to verify a number, and the inputs' hashes."""

from collections import Counter
from collections.abc import Iterable

from discernus.reports import answerers
from discernus.reports.data import ReportData
from discernus.reports.groups import Group
from discernus.reports.markdown import count, series, table, text
from discernus.reports.quotes import Found, verify
from discernus.reports.records import AnalysisRecord

QUOTES_SHOWN = 3
NOT_FOUND_SHOWN = 2
QUOTE_LENGTH = 320


def evidence(data: ReportData) -> str:
    """Return the most cited quotations for each dimension, each checked against its document's text."""
    cited: dict[str, Counter[tuple[str, str]]] = {}
    models: dict[tuple[str, str, str], set[str]] = {}
    for record in data.records:
        for name, quotations in record.evidence.items():
            for quotation in dict.fromkeys(quotations):
                cited.setdefault(name, Counter())[record.document, quotation] += 1
                models.setdefault((name, record.document, quotation), set()).add(record.read_by)
    distinct = {key for found in cited.values() for key in found}
    standing = {key: verify(key[1], data.texts[key[0]]) if key[0] in data.texts else None for key in sorted(distinct)}
    lost = sum(found == "not found" for found in standing.values())
    unchecked = sum(found is None for found in standing.values())
    parts = [
        "## Evidence",
        f"{count(len(distinct), 'distinct quotation')} given as evidence; {lost} of them not found in the document "
        f"they are said to be from{f', {unchecked} not checked since the text is not at hand' if unchecked else ''}. "
        "Typography, white space and letter case do not count in the comparison. A quotation that stands in the text "
        f"is not thereby good evidence. For each dimension stand here the {QUOTES_SHOWN} most cited, of different "
        f"documents where there are, and at most {NOT_FOUND_SHOWN} that are not in their text; `evidence.csv` has "
        f"all.{_prose(data)}",
    ]
    none = "No evidence was read." if _prose(data) else "No evidence was quoted."
    for dimension in data.framework.dimensions:
        found = cited.get(dimension.name)
        lines = [f"### {text(dimension.label)}", ""]
        if not found:
            lines.append(none)
        for key, times in _shown(found or Counter(), standing):
            by = series([text(model) for model in sorted(models[dimension.name, *key])])
            flag = {"not found": " **NOT FOUND IN THE TEXT**", None: " (not checked)"}.get(standing[key], "")
            lines.append(f"- “{_shortened(key[1])}” ({text(key[0])}; {by}, cited {count(times, 'time')}){flag}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _prose(data: ReportData) -> str:
    """Say of how many answers no evidence was read, since they are prose; "" where none is."""
    read = [record for record in data.records if record.route is not None]
    prose = sum(record.route == "outline" for record in read)
    if not prose:
        return ""
    said = f"{prose:,} of {count(len(read), 'answer')} {'is' if prose == 1 else 'are'} prose under labels"
    return f" Evidence is not read from prose answers: {said}, and what they quote is in their text alone."


def _shown(
    cited: Counter[tuple[str, str]], standing: dict[tuple[str, str], Found | None]
) -> list[tuple[tuple[str, str], int]]:
    """Return the quotations to show: the most cited that stand in their texts, then some of those that do not."""
    lost = Counter({key: times for key, times in cited.items() if standing[key] == "not found"})
    return [*_most_cited(cited - lost)[:QUOTES_SHOWN], *_most_cited(lost)[:NOT_FOUND_SHOWN]]


def _most_cited(cited: Counter[tuple[str, str]]) -> list[tuple[tuple[str, str], int]]:
    """Return the quotations with how often they were cited, the most cited of each document first."""
    seen: Counter[str] = Counter()
    ordered = []
    for key, times in sorted(cited.items(), key=lambda each: (-each[1], each[0])):
        ordered.append((seen[key[0]], key, times))
        seen[key[0]] += 1
    return [(key, times) for _, key, times in sorted(ordered, key=lambda each: (each[0], -each[2], each[1]))]


def gaps(data: ReportData, groups: list[Group]) -> str:
    """Return every missing score with its reason, and every analysis that has no scores at all."""
    parts = ["## Gaps"]
    for group in groups:
        lines = [
            *_missing(group, "missing", "scores"),
            *_missing(group, "derived_missing", "derived metrics"),
            *_without_answer(group, data),
        ]
        if lines:
            parts.append(f"### {group.title}\n\n" + "\n".join(lines))
    if len(parts) == 1:
        parts.append("None: every analysis has every score and every derived metric.")
    else:
        parts.insert(1, "Missing values are left out of every mean; none is counted as 0, or estimated.")
    return "\n\n".join(parts)


def _missing(group: Group, field: str, what: str) -> Iterable[str]:
    """Yield a line per variable and reason, naming documents and runs."""
    found: dict[tuple[str, str], dict[str, list[int]]] = {}
    for record in group.records:
        if record.status in ("scored", "partial"):
            for name, reason in getattr(record, field).items():
                found.setdefault((name, reason), {}).setdefault(record.document, []).append(record.run)
    for (name, reason), places in sorted(found.items()):
        number = sum(map(len, places.values()))
        where = "; ".join(_place(document, runs, group) for document, runs in sorted(places.items()))
        if number == len(group.records) and len(places) > 1:
            where = f"all {len(places)} documents"
        one = what.removesuffix("s")
        yield f"- **{text(name)}**, {text(reason)} ({count(number, one, what)} missing): {where}"


def _place(document: str, runs: list[int], group: Group) -> str:
    if len(runs) == len(group.runs):
        return text(document)
    return f"{text(document)} (run{'s' if len(runs) > 1 else ''} {', '.join(map(str, sorted(runs)))})"


def _without_answer(group: Group, data: ReportData) -> Iterable[str]:
    parked = {each.number: each for each in data.parked}
    found: dict[tuple[str, str], list[AnalysisRecord]] = {}
    for record in group.records:
        if record.status in ("parked", "pending"):
            known = parked.get(record.number)
            reason = record.reason or (f"{known.error}: {known.message}" if known else "no reason was recorded")
            found.setdefault((record.status, reason), []).append(record)
    for (status, reason), records in found.items():
        where = "; ".join(f"{record.number} ({text(record.document)}, run {record.run})" for record in records)
        yield f"- **{status}**, {text(reason)} ({count(len(records), 'analysis', 'analyses')}): {where}"


def verification(data: ReportData) -> str:
    """Return where the answer behind each number lies, and the hashes of the session's files."""
    example = next((record for record in data.records if record.scores), None)
    parts = [
        "## How to verify",
        "Each row of `results.csv` names, under `answer_file`, the answer it was read from, the raw text as the model "
        "gave it; beside it lie the request and the metadata of the same name. "
        "`extracted/extracted_NNN.json` holds what was read from it and how. Means and consistency can be recomputed "
        "from `results.csv` alone; `data_dictionary.csv` says what its columns mean.",
    ]
    if example is not None:
        name, score = next(iter(example.scores.items()))
        parts.append(
            f"For example: {text(name)} = {score!r} in analysis {example.number} ({text(example.document)}, "
            f"{text(example.read_by)}, run {example.run}) is in `{example.answer_file}`."
        )
    if data.files:
        rows = [[text(file.path), file.sha256] for file in data.files]
        parts.append("`sha256sum` over these files must give:\n\n" + table(["file", "SHA-256"], rows, left=2))
    return "\n\n".join(parts)


def provenance(data: ReportData) -> str:
    """Return the hashes of the inputs and the versions of the software."""
    rows = [
        [f"experiment {text(data.experiment.name)}", data.experiment.sha256],
        [f"framework {text(data.framework.name)} {text(data.framework.version)}", data.framework.sha256],
        *([f"document {text(document.id)}", document.sha256] for document in data.documents[:60]),
    ]
    parts = ["## Provenance", table(["input", "SHA-256"], rows, left=2)]
    if len(data.documents) > 60:
        parts.append(f"The first 60 of {len(data.documents)} documents; all are in `corpus_manifest.json`.")
    if data.versions:
        versions = [[text(name), text(version)] for name, version in sorted(data.versions.items())]
        parts.append(table(["software", "version"], versions, left=2))
    parts += answerers.provenance(data)
    return "\n\n".join(parts)


def _shortened(quotation: str) -> str:
    plain = " ".join(quotation.split())
    return text(plain if len(plain) <= QUOTE_LENGTH else plain[: QUOTE_LENGTH - 1] + "…")
