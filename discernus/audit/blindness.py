"""Whether an experiment that is declared blind was: no file name and no speaker's name in what its models were sent.

Each document is looked for by its own names alone: whom a text speaks about is no clue to whose it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from discernus.audit.subject import Subject, title
from discernus.audit.verdicts import Check, Place, found, not_applicable, nothing
from discernus.experiments.corpus import Document
from discernus.reports.records import AnalysisRecord
from discernus.sessions.archive import ArchiveDamaged
from discernus.sessions.conversations import NoSuchCall, Turn, calls_of, read_conversation
from discernus.sessions.layout import Call

TELLING = frozenset({"speaker", "author", "name"})  # words in the names of columns that say whose a text is
SHORTEST = 4  # letters of a part of a name that is looked for on its own

NOT_BLIND = "The experiment does not declare itself blind (`blind: true`)."


@dataclass(frozen=True)
class Clue:
    """A word that tells whose a text is; ``sure`` where it is no word of everyday language."""

    kind: Literal["file name", "id", "name", "part of a name"]
    word: str
    sure: bool

    def is_in(self, text: str) -> bool:
        flags = 0 if self.kind == "part of a name" else re.IGNORECASE
        return re.search(rf"(?<!\w){re.escape(self.word)}(?!\w)", text, flags) is not None


def clues(document: Document) -> list[Clue]:
    """Return the words by which a document can be told: its file's names, its id, and what corpus.csv calls its
    speaker, author or name."""
    file = PurePosixPath(document.file)
    files = dict.fromkeys((document.file, file.name, file.stem))
    known = [Clue("file name", word, _is_odd(word)) for word in files]
    if document.id not in files:
        known.append(Clue("id", document.id, _is_odd(document.id)))
    values = (" ".join(value.split()) for column, value in document.metadata.items() if is_telling(column))
    for name in filter(None, dict.fromkeys(values)):
        known.append(Clue("name", name, sure=" " in name))
        known += [Clue("part of a name", part, sure=False) for part in _parts(name)]
    return known


def is_telling(column: str) -> bool:
    """Return whether a column of corpus.csv says, by its name, whose a text is."""
    return bool(TELLING & set(re.split(r"[\W_]+", column.casefold())))


def identifying_words(subject: Subject, name: str) -> Check:
    """Whether words that tell whose a text is reached a model."""
    definition = subject.session.definition
    if not definition.experiment.blind:
        return not_applicable(name, NOT_BLIND)
    sure: list[Place] = []
    possible: list[Place] = []
    unread: list[Place] = []
    looked_at = 0
    documents = {document.id: document for document in definition.documents}
    for record, call, turns in _prompts(subject):
        looked_at += 1
        if not turns or any(turn.state in ("missing", "altered", "taken out") for turn in turns):
            unread.append(Place(call.request, f"{title(record)}: what it was sent is not there as it was"))
        met = [clue for clue in clues(documents[record.document]) if any(clue.is_in(turn.text) for turn in turns)]
        for clue in met:
            place = Place(call.request, f"{title(record)}: its {clue.kind} “{clue.word}”")
            (sure if clue.sure else possible).append(place)
    if sure:
        reason = "Models were sent words that tell whose the texts are, though the experiment is declared blind."
        return found(name, "fail", [*sure, *possible], looked_at, reason)
    if possible:
        reason = "Models were sent words that may tell whose the texts are; judge whether they do."
        return found(name, "attention", possible, looked_at, reason)
    return _unseen(name, subject, unread, looked_at)


def names_in_answers(subject: Subject, name: str) -> Check:
    """Whether models named the speakers by themselves: whoever recognises a text does not read it blind."""
    definition = subject.session.definition
    if not definition.experiment.blind:
        return not_applicable(name, NOT_BLIND)
    documents = {document.id: document for document in definition.documents}
    if not _columns(subject):
        return not_applicable(name, "corpus.csv has no column that names speakers or authors.")
    places: list[Place] = []
    unread: list[Place] = []
    looked_at = 0
    for record in subject.read():
        looked_at += 1
        answer = _answer(subject, record)
        if answer is None:
            unread.append(Place(record.answer_file, f"{title(record)}: its answer cannot be read"))
            continue
        named = [clue.word for clue in clues(documents[record.document]) if clue.kind == "name" and clue.is_in(answer)]
        if named:
            places.append(Place(record.answer_file, f"{title(record)}: “{named[0]}”"))
    if places:
        return found(name, "attention", places, looked_at, "These models knew, or guessed rightly, whose text it was.")
    if unread or not looked_at:
        return found(name, "attention", unread, looked_at, "No answer that can be read names a speaker.")
    return nothing(name, looked_at, "No answer names its text's speaker. That is no proof that none was recognised.")


def _unseen(name: str, subject: Subject, unread: list[Place], looked_at: int) -> Check:
    """Return the verdict where no clue was met: pass only if everything could be looked at, for every kind of clue."""
    if unread or not looked_at:
        reason = "No such word was found, but these prompts cannot be read as they were sent."
        return found(name, "attention", unread, looked_at, reason if looked_at else "No prompt is archived.")
    if not _columns(subject):
        reason = (
            "No file name and no id is in any prompt. corpus.csv has no column speaker, author or name, so nobody can "
            "say whether a speaker's name is."
        )
        return Check(name, "attention", 0, looked_at, reason)
    without = [document.id for document in subject.session.definition.documents if not _is_named(document)]
    if without:
        reason = f"No such word was found, but corpus.csv names nobody for {len(without)} documents."
        return Check(name, "attention", 0, looked_at, reason)
    columns = ", ".join(_columns(subject))
    return nothing(name, looked_at, f"No prompt has its document's file name, id, or what stands under {columns}.")


def _prompts(subject: Subject) -> Iterator[tuple[AnalysisRecord, Call, tuple[Turn, ...]]]:
    """Yield every request that was made for an analysis, with its messages; none where it cannot be read."""
    session = subject.session
    for record in subject.records:
        for call in calls_of(session, record.number):
            if call.purpose != "analysis":
                continue
            try:
                yield record, call, read_conversation(session.archive, call, answered=False).messages
            except NoSuchCall:
                yield record, call, ()


def _answer(subject: Subject, record: AnalysisRecord) -> str | None:
    try:
        kept = subject.session.archive.look_up(Call.named(record.call or ""))
    except (ArchiveDamaged, ValueError):
        return None
    return kept[1] if kept is not None else None


def _columns(subject: Subject) -> list[str]:
    columns = (column for document in subject.session.definition.documents for column in document.metadata)
    return [column for column in dict.fromkeys(columns) if is_telling(column)]


def _is_named(document: Document) -> bool:
    return any(value.strip() for column, value in document.metadata.items() if is_telling(column))


def _is_odd(word: str) -> bool:
    """Return whether it is no word that a text would have by itself: with a digit, a dash, a dot or an underscore."""
    return re.search(r"[\d_./-]", word) is not None


def _parts(name: str) -> list[str]:
    """Return the words of a name that are looked for on their own, the name having several."""
    words = re.findall(r"[^\W\d_]+", name)
    return [word for word in words if len(word) >= SHORTEST and word[0].isupper()] if len(words) > 1 else []
