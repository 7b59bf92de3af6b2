"""``framework draft``: a model proposes the machine-readable part of a framework that is prose alone."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from cli.display import counted, shortened, write
from cli.exits import COMPLETE, INFRASTRUCTURE, INTERRUPTED, INVALID, PARTIAL, CommandError, command_name
from cli.frameworks import explained, told
from cli.paid_calls import Interruption, PaidCall, agree, check_key, models_file_in_force, permitted, priced
from cli.tables import wrapped
from discernus.experiments.acceptance import marked_line
from discernus.experiments.encoding import NotText, decode
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.experiments.framework_draft import added_markers, can_be_drafted
from discernus.experiments.framework_reading import holds_framework
from discernus.llm import gateway, proxy
from discernus.llm.calls import ModelRequest
from discernus.llm.catalogue import facts_of, prompt_tokens, worst_case_usd
from discernus.llm.errors import CallFailed
from discernus.logs import log_to
from discernus.reports.markdown import usd
from discernus.sessions.archive import ArchiveDamaged, UnderWay
from discernus.sessions.budgets import Account, BudgetsDamaged, read_budgets
from discernus.sessions.calls import Calls, NoRoom, Obtained
from discernus.sessions.drafts import ACCOUNT, place_of
from discernus.sessions.opening import HIDDEN
from discernus.sessions.owners import Owner
from discernus.sessions.store import LocalStore
from discernus.settings import Settings
from discernus.stages.drafting import MOST_ASKS, Drafting, Proposal


@dataclass(frozen=True)
class Wanted:
    """A draft that is wanted: of which framework, by which model, and where it goes."""

    path: Path
    prose: str
    model: str
    target: Path
    yes: bool
    anyway: bool
    as_json: bool


def draft_framework(
    settings: Settings, name: str, *, model: str, out: Path | None, yes: bool, anyway: bool, as_json: bool
) -> int:
    """Have a model propose the machine-readable part of a framework's file, once its price is agreed to, and write the
    draft beside it. Raise CommandError for what cannot be asked, is not agreed to, failed, or is interrupted."""
    path = Path(name).expanduser()
    prose = _prose(path)
    target = _target(path, out)
    _check_model(settings, model)
    wanted = Wanted(path, prose, model, target, yes, anyway, as_json)
    timeout_s = models_file_in_force(settings).rules(model).timeout_s or settings.response_timeout_s
    drafting = Drafting(path, prose, model, timeout_s=timeout_s, copies=settings.mirror_dir)
    try:
        proposals = _proposals(settings, wanted, drafting)
        _keep(target, proposals[-1], drafting)
    except (typer.Abort, KeyboardInterrupt, asyncio.CancelledError) as interrupted:
        if isinstance(interrupted, typer.Abort):  # the question stands there yet, its line open
            write("", error=True)
        raise CommandError(_interrupted(drafting), INTERRUPTED) from None
    if as_json:
        write(json.dumps(_as_data(wanted, drafting, proposals), ensure_ascii=False))
    else:
        write("\n".join(_lines(wanted, drafting, proposals)))
    return COMPLETE if proposals[-1].framework is not None else PARTIAL


# before anything is paid for


def _prose(path: Path) -> str:
    """Return a framework's text; raise CommandError where it is not prose alone."""
    try:
        prose = decode(path.read_bytes(), path.name)
    except OSError as error:
        raise CommandError(f"the framework {path} cannot be read: {error.strerror}; give its file", INVALID) from None
    except NotText as error:
        raise CommandError(f"{path}: {error.what} → {error.cure}", INVALID) from None
    if marked_line(prose) is not None or holds_framework(path):
        raise CommandError(
            f"{path} has a machine-readable part already, and one is enough; what is wrong with it says: "
            f"{command_name()} framework check {path}",
            INVALID,
        )
    if not prose.strip():
        raise CommandError(f"{path} is empty; write the framework in prose first", INVALID)
    if not can_be_drafted(prose):
        raise CommandError(f"{path} leaves a fenced block open, which would swallow the draft; close it", INVALID)
    return prose


def _target(path: Path, out: Path | None) -> Path:
    """Return where the draft goes; raise CommandError where something is already, or nothing can be written."""
    target = out.expanduser() if out is not None else path.with_name(f"{path.stem}.draft.md")
    if target.exists():
        raise CommandError(f"{target} is there already, and stays; move it away, or name another with --out", INVALID)
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise CommandError(f"nothing can be written to the folder {target.parent}; name a file with --out", INVALID)
    return target


def _check_model(settings: Settings, model: str) -> None:
    if model.startswith(OFFLINE_PREFIX):
        raise CommandError(f"{model} counts words, and writes nothing; name another model with --model", INVALID)
    if refusal := proxy.why_not(settings, model):
        raise CommandError(refusal, INVALID)


# asking


def _proposals(settings: Settings, wanted: Wanted, drafting: Drafting) -> list[Proposal]:
    """Return what was proposed, at least once, until it can be used; what is said of it last stands where a further
    question is not agreed to, or fails."""
    found: list[Proposal] = []
    while len(found) < MOST_ASKS and (not found or found[-1].framework is None):
        before = found[-1] if found else None
        request = drafting.request(before)
        try:
            obtained = _known(drafting, len(found), request)
            if obtained is None:
                obtained = _asked(settings, wanted, drafting, before, request)
        except CommandError as refused:
            unasked = not wanted.yes and not sys.stdin.isatty()  # then nothing was paid now: --yes goes on from there
            if before is None or unasked or refused.code == INTERRUPTED:
                raise
            write(str(refused), error=True)
            break
        found.append(drafting.proposal(len(found), obtained, wanted.target.name))
    return found


def _known(drafting: Drafting, ask: int, request: ModelRequest) -> Obtained | None:
    try:
        return drafting.answered(ask, request)
    except ArchiveDamaged as damaged:
        raise CommandError(f"{damaged}; put it back, or move {drafting.folder} away to ask anew", INVALID) from None


def _asked(
    settings: Settings, wanted: Wanted, drafting: Drafting, before: Proposal | None, request: ModelRequest
) -> Obtained:
    """Put the question once its price is agreed to, and return the answer; raise CommandError where none came."""
    models_file = models_file_in_force(settings)
    worst_usd = worst_case_usd(facts_of(request.model, models_file.rules(request.model)), prompt_tokens(request), None)
    account = _bound(settings, wanted.path)
    call = PaidCall(request, worst_usd, models_file, account, ACCOUNT, wanted.anyway)
    if before is not None and not wanted.as_json:
        write("\n".join(told(problem) for problem in before.problems if problem.severity == "error"))
    agree(_told(wanted, drafting, before, worst_usd), yes=wanted.yes, as_json=wanted.as_json)
    check_key(settings, request.model)
    log_to(settings.projects_dir / HIDDEN / "logs" / "drafting.jsonl")
    ask = 0 if before is None else before.ask + 1
    try:
        return asyncio.run(_put(settings, drafting, call, ask))
    except CallFailed as failed:
        what = f"{shortened(failed.message)}; the failure is archived in {drafting.folder}"
        raise CommandError(what, INFRASTRUCTURE) from None
    except NoRoom as full:
        raise CommandError(str(full), INFRASTRUCTURE) from None
    except UnderWay as waiting:
        what = f"{waiting}, for up to {waiting.seconds:.0f} s; wait, then run the same command again"
        raise CommandError(what, INFRASTRUCTURE) from None


async def _put(settings: Settings, drafting: Drafting, call: PaidCall, ask: int) -> Obtained:
    interruption = Interruption()
    with Owner(settings.projects_dir / HIDDEN / "owners") as owner:
        async with permitted(settings, call) as gate:
            calls = Calls(owner, gateway.complete, minimum_free_bytes=settings.minimum_free_bytes, gate=gate)
            interruption.sending()
            obtained = await drafting.ask(ask, call.request, calls)
    if interruption.came:
        raise CommandError(_interrupted(drafting), INTERRUPTED)
    return obtained


def _told(wanted: Wanted, drafting: Drafting, before: Proposal | None, worst_usd: float | None) -> str:
    """Return what is asked, and what it costs."""
    cost = priced(wanted.model, None, worst_usd)
    if before is None:
        doubt = "; it was asked before, and may have been paid for then, though no answer came" * drafting.in_doubt
        return (
            f"a machine-readable part for {wanted.path.name}, proposed by {wanted.model}: {cost}. If it cannot be "
            f"used, it is asked again, twice at most, and each time says its cost first{doubt}"
        )
    return f"the proposal cannot be used; asked again with what is wrong ({before.ask + 2} of {MOST_ASKS}): {cost}"


def _bound(settings: Settings, path: Path) -> Account | None:
    """Return whose budgets bind a framework's draft: its project's and experiment's; None where there is no budget."""
    place = place_of(settings.projects_dir.resolve(), path.parent.resolve() / path.name)  # where its calls lie too
    if place is None:
        return None
    account = Account(*place)
    try:
        budgets = read_budgets(settings.projects_dir, account.project)
    except BudgetsDamaged as damaged:
        raise CommandError(str(damaged), INVALID) from damaged
    return account if any(budgets.of(one) is not None for one in account.binding) else None


def _interrupted(drafting: Drafting) -> str:
    if not drafting.has_answer:
        return "interrupted: nothing was asked, and nothing was paid"
    return (
        f"interrupted; what was answered is kept in {drafting.folder}, "
        "and the same command goes on from there without paying for it again"
    )


# afterwards


def _keep(target: Path, proposal: Proposal, drafting: Drafting) -> None:
    """Write the draft, which never replaces anything."""
    kept = f"the answer is kept in {drafting.folder}, and the same command makes the draft of it without paying again"
    try:
        written = LocalStore(target.parent).put_if_absent(target.name, proposal.text.encode())
    except OSError as refused:
        what = f"the draft {target} cannot be written: {refused.strerror}; {kept}"
        raise CommandError(what, INFRASTRUCTURE) from None
    if not written:
        raise CommandError(f"{target} has been written meanwhile, and stays; {kept}, with another --out", INVALID)


def _lines(wanted: Wanted, drafting: Drafting, proposals: list[Proposal]) -> Iterator[str]:
    last = proposals[-1]
    yield from explained(last.framework, last.problems)
    if last.framework is not None:
        for name, markers in added_markers(last.framework, wanted.prose).items():
            yield wrapped(f"note: markers of {name} that the author's text does not hold: {', '.join(markers)}")
    yield ""
    yield f"draft: {wanted.target}"
    yield f"calls: {drafting.folder}"
    yield wrapped(_paid(proposals))
    if last.framework is None:
        yield wrapped("The proposal is kept as it came; mend what is named above, or begin anew without the draft.")
    yield wrapped(
        f"Nothing uses the draft before you accept it: read it, mend it, then delete line {marked_line(last.text)}, "
        f"which says that you have not. More of it: {command_name()} framework check {wanted.target}"
    )


def _paid(proposals: list[Proposal]) -> str:
    """Return in words who has answered, and what was paid for it now."""
    record = proposals[-1].record
    answered = f"{record.model_answered or record.model_requested} has answered {counted(len(proposals), 'time')}"
    fresh = [one.record.cost_usd for one in proposals if not one.reused]
    if not fresh:
        return f"{answered}, all of it at an earlier time: nothing was paid now."
    known = [cost for cost in fresh if cost is not None]
    unknown = f", and {counted(len(fresh) - len(known), 'call')} of unknown price" if len(known) < len(fresh) else ""
    cost = f"{usd(sum(known))} USD{unknown}" if known else "a sum that is not known, for no price is"
    return f"{answered}; it cost {cost}."


def _as_data(wanted: Wanted, drafting: Drafting, proposals: list[Proposal]) -> dict[str, Any]:
    last = proposals[-1]
    added = added_markers(last.framework, wanted.prose) if last.framework is not None else {}
    return {
        "draft": str(wanted.target),
        "calls": str(drafting.folder),
        "valid": last.framework is not None,
        "problems": [asdict(problem) for problem in last.problems],
        "added_markers": added,
        "asked": len(proposals),
        "model_requested": last.record.model_requested,
        "model_answered": last.record.model_answered,
        "reused": [one.reused for one in proposals],
        "costs_usd": [one.record.cost_usd for one in proposals],
    }
