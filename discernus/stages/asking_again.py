"""Asking again: an archived request is put once more, to the same or to another model, and the answers are compared.

A session is never changed by it. What is asked again has a folder of its own beside the experiment's sessions,
``asked_again/<session>/<call>_<n>/``, with the files that a session has: intent, request, metadata, answer, scores and
chronolog.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.extraction.extract import Extraction, extract, from_second_model
from discernus.llm.calls import Message, ModelRequest
from discernus.llm.catalogue import ModelFacts, cost_usd, count_tokens, prompt_tokens, worst_case_usd
from discernus.llm.requests import lexicon_of
from discernus.sessions import layout
from discernus.sessions.archive import Archive, ArchiveDamaged, ArchivedCall
from discernus.sessions.calls import Calls, Obtained
from discernus.sessions.chronologs.chronolog import chronolog_of, gather
from discernus.sessions.chronologs.project_chronolog import note_project
from discernus.sessions.conversations import (
    Conversation,
    NoSuchCall,
    analysis_of,
    asked_again_folder,
    read_conversation,
)
from discernus.sessions.layout import Call
from discernus.sessions.session import Extracted, Session
from discernus.sessions.store import LocalStore, NotInStore

ABOUT = f"{layout.STATE}/asked_again.json"
SESSIONS = "sessions"


class CannotAskAgain(Exception):
    """A request that cannot be put again as it was; the message says why."""


class AskedAgain(BaseModel):
    """What a folder of ``asked_again/`` is about: which call of which session was put again, when, and to whom.

    ``response_sha256`` is of the answer that the new one is compared with; None where the call had brought none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    session: str
    call: str
    times: int
    model: str
    model_before: str
    asked_at: datetime
    response_sha256: str | None


@dataclass(frozen=True)
class Price:
    """What a call costs in USD, if its answer is as long as the one before, and at worst; None is not known."""

    likely_usd: float | None
    worst_usd: float | None


@dataclass(frozen=True)
class Said:
    """An answer with its record, and what was read of it; None for a call that no scores are read from."""

    record: ArchivedCall
    text: str
    extraction: Extraction | None


@dataclass(frozen=True)
class Repeat:
    """One time that a call was asked again. ``said`` is None where no answer came, or where it is not what came."""

    folder: Path
    about: AskedAgain
    said: Said | None

    @property
    def in_doubt(self) -> bool:
        """Whether it was sent and left neither an answer nor an error: it may have been paid for."""
        return self.said is None and bool(LocalStore(self.folder).names(layout.INTENTS))


def request_again(session: Session, conversation: Conversation, model: str | None = None) -> ModelRequest:
    """Return the request as it was sent, or with another ``model``, and then with what the experiment sets for that.

    Raise CannotAskAgain where a message is not there as it was sent.
    """
    if not conversation.messages:
        raise CannotAskAgain(f"the prompt of call {conversation.call.name} was not recorded")
    for turn in conversation.messages:
        if turn.state != "as sent":
            raise CannotAskAgain(
                f"the {turn.role}'s message of call {conversation.call.name} is {turn.state}: "
                "what was sent cannot be put again"
            )
    asked = model or conversation.model
    parameters = conversation.parameters
    if parameters is None or asked != conversation.model:
        parameters = _parameters(session, conversation, asked)
    messages = tuple(
        Message.model_validate({"role": turn.role, "content": turn.text}) for turn in conversation.messages
    )
    timeout_s = session.facts.timeout_s(asked)
    return ModelRequest(model=asked, messages=messages, parameters=parameters, timeout_s=timeout_s)


def _parameters(session: Session, conversation: Conversation, model: str) -> dict[str, Any]:
    """Return what the experiment sets for a model, or for the one in whose place it is asked."""
    definition, analysis = session.definition, analysis_of(session, conversation.call)
    if conversation.call.purpose == "extraction":
        if model.startswith(OFFLINE_PREFIX):
            raise CannotAskAgain(f"{model} analyses texts by counting words, and reads no answers")
        return {"temperature": 0}
    experiment = definition.experiment
    settled = model if model in experiment.parameters or analysis is None else analysis.model
    parameters = experiment.settings_of(settled).parameters()
    if "seed" in parameters:
        parameters["seed"] += conversation.call.ask
    if model.startswith(OFFLINE_PREFIX):
        parameters["lexicon"] = lexicon_of(definition.framework, analysis.run if analysis is not None else 1)
    return parameters


def price_of(request: ModelRequest, conversation: Conversation, facts: ModelFacts) -> Price:
    """Return what putting the request costs, reckoned from its prompt and from how long the answer was before."""
    prompt = prompt_tokens(request)
    length = conversation.record.completion_tokens if conversation.record is not None else None
    if length is None and conversation.answer is not None:  # an older layout, or a vendor, did not tell
        length = count_tokens(conversation.answer)
    likely = cost_usd(facts, prompt, length) if length is not None else None
    return Price(likely, worst_case_usd(facts, prompt, request.parameters.get("max_tokens")))


async def put_again(
    projects_dir: Path,
    session: Session,
    conversation: Conversation,
    request: ModelRequest,
    calls: Calls,
    mirror: Path | None = None,
) -> Repeat:
    """Put the request through the gateway, archive what comes, and return it read. A paid call.

    ``mirror`` is a folder that gets a second copy of the answer. Raises CallFailed (archived as an error), NoRoom,
    CannotAskAgain or OSError.
    """
    folder, about = _folder_for(session, conversation, request.model)
    chronolog = chronolog_of(folder)
    copy = LocalStore(mirror.joinpath(*folder.resolve().parts[-6:])) if mirror is not None else None
    archive = Archive(LocalStore(folder), copy, chronolog)
    call = conversation.call
    analysis = analysis_of(session, call)
    variant, run = (analysis.variant, analysis.run) if analysis is not None else ("", 1)
    key = request.content_key(variant=variant, run=run, ask=call.ask)
    told = {"call": call.name, "model": request.model, "folder": folder.name}
    note_project(projects_dir, session.facts.project, "answer_asked_again", session=session.name, **told)
    try:
        obtained = await calls.obtain(archive, f"{session.name}/{folder.name}", call, key, request)
        said = _said(session, call, obtained)
        _keep_scores(session, folder, call, said)
        record = said.record
        chronolog.note("answer_asked_again", **told, cost_usd=record.cost_usd, response_sha256=record.response_sha256)
    finally:
        chronolog.flush()
        gather(folder)
    return Repeat(folder, about, said)


def repeats_of(session: Session, call: Call | None = None) -> list[Repeat]:
    """Return every time that calls of the session, or that one, were asked again, in the order of call and number."""
    found = [_repeat(session, path) for path in _folders(session)]
    return [one for one in found if one is not None and (call is None or one.about.call == call.name)]


def said_before(session: Session, call: Call) -> Said | None:
    """Return the session's own answer to the call, with what is read of it; None if there is none.

    Raise ArchiveDamaged for an answer that is not what was archived.
    """
    found = session.archive.look_up(call)
    if found is None:
        return None
    extracted = session.extracted(call.number)
    if extracted is not None and extracted.call == call.name:
        return Said(*found, extracted.extraction)
    return Said(*found, _read(session, call, *found))


def differences(before: Extraction, after: Extraction) -> Mapping[str, float]:
    """Return how far each score has moved that both answers give."""
    return {name: after.scores[name] - score for name, score in before.scores.items() if name in after.scores}


def _folder_for(session: Session, conversation: Conversation, model: str) -> tuple[Path, AskedAgain]:
    """Return a fresh folder, with what it is about; of two that ask at once each gets its own."""
    if session.folder.parent.name != SESSIONS:
        raise CannotAskAgain(f"{session.folder} is not among an experiment's sessions, where the answer would be kept")
    folder = asked_again_folder(session.folder)
    times = 1
    while True:
        about = AskedAgain(
            session=session.name,
            call=conversation.call.name,
            times=times,
            model=model,
            model_before=conversation.model,
            asked_at=datetime.now(UTC),
            response_sha256=conversation.record.response_sha256 if conversation.record is not None else None,
        )
        own = folder / f"{conversation.call.name}_{times}"
        if LocalStore(own).put_if_absent(ABOUT, about.model_dump_json(indent=1).encode()):
            return own, about
        times += 1


def _said(session: Session, call: Call, obtained: Obtained) -> Said:
    return Said(obtained.record, obtained.text, _read(session, call, obtained.record, obtained.text))


def _read(session: Session, call: Call, record: ArchivedCall, text: str) -> Extraction | None:
    """Return what an answer to the call says, read by rule, or, of a second reading, with the answer that it is of."""
    framework = session.definition.framework
    if call.purpose == "analysis":
        return extract(text, framework, finish_reason=record.finish_reason)
    if call.purpose == "extraction":
        first = session.archive.look_up(Call(call.number, "analysis", call.ask, fallback=call.source))
        if first is not None:
            read = extract(first[1], framework, finish_reason=first[0].finish_reason)
            return from_second_model(text, read, framework, first_answer=first[1])
    return None


def _keep_scores(session: Session, folder: Path, call: Call, said: Said) -> None:
    analysis = analysis_of(session, call)
    if said.extraction is None or analysis is None:
        return
    extracted = Extracted(
        number=call.number,
        document=analysis.document,
        model=said.record.model_requested,
        variant=analysis.variant,
        run=analysis.run,
        call=call.name,
        second_call=None,
        response_sha256=said.record.response_sha256,
        extraction=said.extraction,
    )
    LocalStore(folder).put(layout.extracted(call.number), extracted.model_dump_json(indent=1).encode())


def _repeat(session: Session, folder: Path) -> Repeat | None:
    store = LocalStore(folder)
    try:
        about = AskedAgain.model_validate_json(store.get(ABOUT))
        conversation = read_conversation(Archive(store), call := Call.named(about.call))
    except (NoSuchCall, ArchiveDamaged):
        return Repeat(folder, about, None)
    except (NotInStore, ValueError):  # no folder of ours
        return None
    if conversation.record is None or conversation.answer is None:
        return Repeat(folder, about, None)
    record, text = conversation.record, conversation.answer
    return Repeat(folder, about, Said(record, text, _read(session, call, record, text)))


def _folders(session: Session) -> list[Path]:
    if session.folder.parent.name != SESSIONS:
        return []
    folder = asked_again_folder(session.folder)
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
