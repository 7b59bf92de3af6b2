"""``answers ask-again`` and ``answers compare``: a call put once more, its price said first, and both answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import typer
from rich.cells import cell_len

from cli.conversations import conversation_meant, moment, spent
from cli.display import counted, shortened, write
from cli.exits import COMPLETE, INFRASTRUCTURE, INTERRUPTED, INVALID, PARTIAL, CommandError, command_name
from cli.foreseeing import account_of, budgeted
from cli.marking import fitted, harmless, shown
from cli.paid_calls import (
    Interruption,
    PaidCall,
    agree,
    check_key,
    models_file_in_force,
    permitted,
    priced,
)
from cli.preparing import why_not
from cli.sessions import session_meant
from cli.tables import WIDTH, Column, table
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.llm import gateway
from discernus.llm.calls import ModelRequest
from discernus.llm.catalogue import facts_of
from discernus.llm.errors import CallFailed
from discernus.llm.gate import Gate
from discernus.llm.models_file import ModelsFile
from discernus.llm.offline import document_of
from discernus.logs import log_to
from discernus.reports.markdown import number, usd
from discernus.sessions.calls import Calls, NoRoom
from discernus.sessions.conversations import ASKED_AGAIN, Conversation
from discernus.sessions.costs import spent_usd
from discernus.sessions.opening import HIDDEN
from discernus.sessions.owners import Owner
from discernus.sessions.resuming import UNRECORDED
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.asking_again import (
    CannotAskAgain,
    Price,
    Repeat,
    Said,
    differences,
    price_of,
    put_again,
    repeats_of,
    request_again,
    said_before,
)

GAP = 2  # columns between two answers


@dataclass(frozen=True)
class Question:
    """A call that is to be put once more, with what that costs. ``anyway``: though its model is quarantined."""

    session: Session
    conversation: Conversation
    request: ModelRequest
    price: Price
    models_file: ModelsFile
    anyway: bool

    @property
    def call(self) -> str:
        return self.conversation.call.name


def ask_again(
    settings: Settings, name: str, call_name: str, *, model: str | None, yes: bool, anyway: bool, as_json: bool
) -> int:
    """Put a call once more, once its price is agreed to, and show both answers; ``anyway``: to a quarantined model too.

    Raise CommandError for what cannot be asked, is not agreed to, or is interrupted.
    """
    try:
        question = _question(settings, name, call_name, model, anyway=anyway)
        _agree(question, yes=yes, as_json=as_json)
        check_key(settings, question.request.model)
        return _ended(settings, question, as_json=as_json)
    except (typer.Abort, KeyboardInterrupt, asyncio.CancelledError) as interrupted:
        if isinstance(interrupted, typer.Abort):  # the question stands there yet, its line open
            write("", error=True)
        raise CommandError("interrupted: nothing was asked, and nothing was paid", INTERRUPTED) from None


def _question(settings: Settings, name: str, call_name: str, model: str | None, *, anyway: bool) -> Question:
    session = session_meant(settings, name)
    conversation = conversation_meant(session, call_name).conversation
    models_file = models_file_in_force(settings)
    try:
        request = request_again(session, conversation, model)
    except CannotAskAgain as refused:
        raise CommandError(f"{refused}", INVALID) from refused
    _check_model(request, conversation)
    if refusal := why_not(settings, session.definition, models_file, request.model):
        raise CommandError(refusal, INVALID)
    price = price_of(request, conversation, facts_of(request.model, models_file.rules(request.model)))
    _check_budgets(settings, session, price)
    return Question(session, conversation, request, price, models_file, anyway)


def compare(settings: Settings, name: str, call_name: str, *, times: int | None, as_json: bool) -> int:
    """Show a call's answer beside the one that asking again has brought, the last time or that time; nothing is
    asked."""
    session = session_meant(settings, name)
    conversation = conversation_meant(session, call_name).conversation
    repeats = repeats_of(session, conversation.call)
    wanted = [one for one in repeats if times in (None, one.about.times)]
    if not wanted:
        what = (
            "was never asked again"
            if not repeats
            else f"was asked again {counted(len(repeats), 'time')}, and not {times}"
        )
        advice = f"{command_name()} answers ask-again {session.name} {call_name} says what that costs"
        raise CommandError(f"call {conversation.call.name} {what}; {advice}", INVALID)
    chosen = wanted[-1] if times is not None else next((one for one in reversed(wanted) if one.said), wanted[-1])
    _tell(session, conversation, chosen, as_json=as_json)
    return COMPLETE if chosen.said is not None else PARTIAL


# before it is paid for


def _check_model(request: ModelRequest, conversation: Conversation) -> None:
    """Refuse a model that the request cannot be put to, before its price is told."""
    call = conversation.call.name
    if request.model.startswith(UNRECORDED):
        raise CommandError(
            f"which model answered call {call} was not recorded ({request.model}); name one with --model vendor/model",
            INVALID,
        )
    if not request.model.startswith(OFFLINE_PREFIX):
        return
    try:
        document_of(request.messages[-1].content)
    except ValueError:
        why = "its prompt does not mark where the text begins and ends"
    else:
        dimensions = request.parameters.get("lexicon", {}).get("dimensions", {})
        if any(scale["markers"] for scale in dimensions.values()):
            return
        why = "its framework has no marker phrases to count"
    raise CommandError(f"{request.model} cannot be asked call {call} again: {why}; name another model", INVALID)


def _check_budgets(settings: Settings, session: Session, price: Price) -> None:
    """Refuse a call that a budget has not enough left for; what was asked again before counts as well."""
    found = budgeted(settings, session)
    if not found.binds or not price.worst_usd:
        return
    own = spent_usd(settings.projects_dir, session)
    for account in account_of(session).binding:
        limit = found.budgets.of(account)
        if limit is not None and (left := limit - found.others_usd[account] - own) < price.worst_usd:
            raise CommandError(
                f"the call may cost {usd(price.worst_usd)} USD, and {usd(max(left, 0.0))} are left of the "
                f"{account.level} budget of {usd(limit)} ({account.name}); raise it with: "
                f"{command_name()} budget {account.name} --set USD",
                INVALID,
            )


def _agree(question: Question, *, yes: bool, as_json: bool) -> None:
    """Say what the call costs, and go on only with a yes."""
    model, price = question.request.model, question.price
    told = f"call {question.call} of {question.session.name}, put to {model}: "
    agree(told + priced(model, price.likely_usd, price.worst_usd), yes=yes, as_json=as_json)


# asking


def _ended(settings: Settings, question: Question, *, as_json: bool) -> int:
    log_to(settings.projects_dir / HIDDEN / "logs" / "asking_again.jsonl")
    try:
        repeat = asyncio.run(_put(settings, question))
    except CallFailed as failed:
        raise CommandError(
            f"{shortened(failed.message)}; the failure is archived, and the session as it was", INFRASTRUCTURE
        ) from None
    except NoRoom as full:
        raise CommandError(str(full), INFRASTRUCTURE) from None
    except CannotAskAgain as refused:
        raise CommandError(str(refused), INVALID) from None
    _tell(question.session, question.conversation, repeat, as_json=as_json)
    return COMPLETE


async def _put(settings: Settings, question: Question) -> Repeat:
    interruption = Interruption()
    with Owner(settings.projects_dir / HIDDEN / "owners") as owner:
        async with _permitted(settings, question) as gate:
            calls = Calls(owner, gateway.complete, minimum_free_bytes=settings.minimum_free_bytes, gate=gate)
            interruption.sending()
            session, mirror = question.session, settings.mirror_dir
            asked = (session, question.conversation, question.request, calls, mirror)
            repeat = await put_again(settings.projects_dir, *asked)
    if interruption.came:
        kept = f"{command_name()} answers compare {session.name} {question.call}"
        raise CommandError(f"interrupted; the answer that was under way is kept, and shown by: {kept}", INTERRUPTED)
    return repeat


def _permitted(settings: Settings, question: Question) -> AbstractAsyncContextManager[Gate]:
    """Hold what the call may cost while it is made; see ``paid_calls.permitted``."""
    bound = budgeted(settings, question.session).binds
    call = PaidCall(
        request=question.request,
        worst_usd=question.price.worst_usd,
        models_file=question.models_file,
        account=account_of(question.session) if bound else None,
        reservation=ASKED_AGAIN,
        anyway=question.anyway,
    )
    return permitted(settings, call)


# side by side


def _tell(session: Session, conversation: Conversation, repeat: Repeat, *, as_json: bool) -> None:
    before = said_before(session, conversation.call) if conversation.record is not None else None
    if as_json:
        write(json.dumps(_as_data(repeat, before), ensure_ascii=False))
        return
    for line in shown(_page(repeat, before)):
        write(line)


def _page(repeat: Repeat, before: Said | None) -> Iterator[str]:
    yield ""
    yield from _beside("before", f"asked again ({repeat.about.times}.)")
    yield "─" * WIDTH
    yield from _beside(_came(before), _came(repeat.said))
    yield "─" * WIDTH
    yield from _beside(*(one.text if one is not None else "" for one in (before, repeat.said)))
    yield "─" * WIDTH
    yield from _scores(before, repeat.said)
    yield f"kept in {repeat.folder}"


def _came(said: Said | None) -> str:
    if said is None:
        return "no answer"
    record = said.record
    answered = f"{record.model_requested}\n{record.model_answered or ''}\n" if record.model_answered else ""
    return f"{answered or record.model_requested + chr(10)}{moment(record)}\n{spent(record)}"


def _beside(left: str, right: str) -> Iterator[str]:
    """Yield two texts side by side, each in half of the width."""
    width = (WIDTH - GAP) // 2
    columns = [_column(text, width) for text in (left, right)]
    for place in range(max(map(len, columns))):
        cells = [column[place] if place < len(column) else "" for column in columns]
        yield f"{cells[0]}{' ' * (width + GAP - cell_len(cells[0]))}{cells[1]}".rstrip()


def _column(text: str, width: int) -> list[str]:
    return fitted(harmless(text), width=width)


def _scores(before: Said | None, after: Said | None) -> Iterator[str]:
    first = before.extraction if before is not None else None
    second = after.extraction if after is not None else None
    if first is None or second is None:
        return
    moved = differences(first, second)
    names = dict.fromkeys([*first.scores, *first.missing, *second.scores, *second.missing])
    rows = [
        [harmless(name), number(first.scores.get(name)), number(second.scores.get(name)), _signed(moved.get(name))]
        for name in names
    ]
    headings = [Column("dimension"), *(Column(name, right=True) for name in ("before", "again", "difference"))]
    yield table(headings, rows)
    yield ""


def _signed(value: float | None) -> str:
    return number(value) if value is None or number(value) == number(0.0) else f"{value:+.3f}"


def _as_data(repeat: Repeat, before: Said | None) -> dict[str, Any]:
    both = [one.extraction if one is not None else None for one in (before, repeat.said)]
    moved = differences(both[0], both[1]) if both[0] is not None and both[1] is not None else {}
    return {
        **repeat.about.model_dump(mode="json"),
        "folder": str(repeat.folder),
        "before": _said(before),
        "after": _said(repeat.said),
        "differences": dict(moved),
    }


def _said(said: Said | None) -> dict[str, Any] | None:
    if said is None:
        return None
    return {
        "text": said.text,
        "scores": said.extraction.scores if said.extraction is not None else None,
        "missing": said.extraction.missing if said.extraction is not None else None,
        "metadata": said.record.model_dump(mode="json"),
    }
