"""Whether an experiment that is declared blind was: no file name and no speaker's name in what its models were sent.

Each document is looked for by its own names alone: whom a text speaks about is no clue to whose it is. In what a model
is told of the tables, none of them may be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from discernus.audit.subject import Subject, title
from discernus.audit.verdicts import Check, Place, found, not_applicable, nothing
from discernus.experiments.clues import Clue, clues
from discernus.experiments.corpus import Document
from discernus.experiments.telling import is_telling
from discernus.reports.records import AnalysisRecord
from discernus.sessions.archive import ArchiveDamaged
from discernus.sessions.conversations import NoSuchCall, Turn, calls_of, read_conversation
from discernus.sessions.layout import Call
from discernus.sessions.session import Session

NOT_BLIND = "The experiment does not declare itself blind (`blind: true`)."


@dataclass(frozen=True)
class Prompt:
    """A request, called ``title`` in words, with its messages and the clues that none of them may hold."""

    title: str
    call: Call
    turns: tuple[Turn, ...]
    clues: list[Clue]


def identifying_words(subject: Subject, name: str) -> Check:
    """Whether words that tell whose a text is reached a model."""
    definition = subject.session.definition
    if not definition.experiment.blind:
        return not_applicable(name, NOT_BLIND)
    sure: list[Place] = []
    possible: list[Place] = []
    unread: list[Place] = []
    looked_at = 0
    for prompt in _prompts(subject):
        looked_at += 1
        if not prompt.turns or any(turn.state in ("missing", "altered", "taken out") for turn in prompt.turns):
            unread.append(Place(prompt.call.request, f"{prompt.title}: what it was sent is not there as it was"))
        for clue in prompt.clues:
            if any(clue.is_in(turn.text) for turn in prompt.turns):
                place = Place(prompt.call.request, f"{prompt.title}: its {clue.kind} “{clue.word}”")
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


def _prompts(subject: Subject) -> Iterator[Prompt]:
    """Yield every request that was made for an analysis, with its document's clues, and every one for prose about the
    tables, with those of all documents."""
    session = subject.session
    known = {document.id: clues(document) for document in session.definition.documents}
    for record in subject.records:
        for call in calls_of(session, record.number):
            if call.purpose == "analysis":
                yield Prompt(title(record), call, _turns(session, call), known[record.document])
    every = list(dict.fromkeys(clue for one in known.values() for clue in one))
    number = session.facts.analyses + 1
    while prose := calls_of(session, number):
        yield from (Prompt("the prose about the tables", call, _turns(session, call), every) for call in prose)
        number += 1


def _turns(session: Session, call: Call) -> tuple[Turn, ...]:
    """Return the messages of a request; none where it cannot be read."""
    try:
        return read_conversation(session.archive, call, answered=False).messages
    except NoSuchCall:
        return ()


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
