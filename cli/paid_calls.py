"""A call that the command line makes itself, outside of any session's workflow: its price is agreed to, its model's
health and the budgets are asked, and what has been sent is waited for."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import typer
from temporalio.client import Client

from activities.border import Grant
from cli.display import silence, write
from cli.exits import INFRASTRUCTURE, INVALID, CommandError, command_name
from cli.models import serving_shared
from cli.tables import wrapped
from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.llm import gateway
from discernus.llm.calls import ModelRequest
from discernus.llm.gate import Gate, Open
from discernus.llm.models_file import ModelsFile, ModelsFileInvalid, read_models_file
from discernus.reports.markdown import usd
from discernus.sessions.budgets import Account
from discernus.settings import Settings
from engine.models import ModelBook
from engine.reservations import reserved
from workflows.policies import CALL_GRACE_S
from workflows.purse import ROUNDING_USD


@dataclass(frozen=True)
class PaidCall:
    """A request, and what it costs in USD at worst, None where that is not known.

    ``account`` is whose budgets bind it, and ``reservation`` the name of its room below that account; no account: none
    binds it. ``anyway``: though its model is quarantined.
    """

    request: ModelRequest
    worst_usd: float | None
    models_file: ModelsFile
    account: Account | None = None
    reservation: str = ""
    anyway: bool = False


def models_file_in_force(settings: Settings) -> ModelsFile:
    """Return models.yaml; raise CommandError where it cannot be read."""
    try:
        return read_models_file(settings.models_path, required=settings.models_file is not None)
    except ModelsFileInvalid as invalid:
        raise CommandError(str(invalid), INVALID) from invalid


def check_key(settings: Settings, model: str) -> None:
    """Refuse a model that cannot be called from here; it takes LiteLLM's import, seconds that only a yes is worth."""
    gateway.configure(settings)
    if not gateway.has_vendor(model):
        raise CommandError(f"no vendor is known of model '{model}'; name one with --model vendor/model", INVALID)
    if missing := gateway.missing_keys(model):
        raise CommandError(f"model '{model}' needs {' and '.join(missing)}; set it and ask again", INVALID)


def priced(model: str, likely_usd: float | None, worst_usd: float | None) -> str:
    """Return what a call costs, in words; None is not known."""
    if model.startswith(OFFLINE_PREFIX):
        return "it costs nothing, for no vendor is asked"
    likely = f"about {usd(likely_usd)} USD" if likely_usd is not None else ""
    worst = f"{usd(worst_usd)} USD at most" if worst_usd is not None else ""
    known = ", ".join(part for part in (likely, worst) if part)
    return f"it costs {known}" if known else "what it costs is not known, for no price is; models.yaml may give one"


def agree(told: str, *, yes: bool, as_json: bool) -> None:
    """Say what a call costs, and return only with a yes; raise CommandError, or Abort where the question is left."""
    if not yes and (as_json or not sys.stdin.isatty()):
        raise CommandError(wrapped(f"{told}; nothing was asked, for nobody agreed to it: give --yes"), INVALID)
    if not as_json:
        write(wrapped(told))
    if not yes and not typer.confirm("Ask it?", default=False):
        raise CommandError("nothing was asked", INVALID)


class Interruption:
    """Ctrl-C, SIGTERM and the closing of the terminal: before the call is sent they end the command, and after that
    they wait for the answer, which will be paid for and is kept."""

    def __init__(self) -> None:
        self.came = False
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, self._asked)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)

    def sending(self) -> None:
        """From now on there is something to wait for."""
        self._task = None

    def _asked(self) -> None:
        self.came = True
        if self._task is not None:
            self._task.cancel()
        else:
            write("waiting for the answer that is under way, to keep it", error=True)

    def _hung_up(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            silence(stream)
        self._asked()


# permission: the model's health, and room in the budgets


@asynccontextmanager
async def permitted(settings: Settings, call: PaidCall) -> AsyncIterator[Gate]:
    """Hold what the call may cost while it is made, and yield who is told of its end; raise CommandError where its
    model is left alone, or the budgets have no room. A model that costs nothing and cannot fail needs no permission."""
    model = call.request.model
    if model.startswith(OFFLINE_PREFIX):
        yield Open()
        return
    async with serving_shared(settings) as (client, store):
        book = ModelBook(client, store, call.models_file.rules)
        try:
            await _admit(book, call)
            async with _funded(call, client, store):
                yield book
        finally:
            book.withdraw(model)
            await book.close()


async def _admit(book: ModelBook, call: PaidCall) -> None:
    request = call.request
    closed = await book.admit(request.model, request.timeout_s)
    if closed is not None and not call.anyway:
        until = f" until {datetime.fromtimestamp(closed.ends_at, UTC):%H:%M:%S} UTC" if closed.ends_at else ""
        raise CommandError(
            f"{closed.reason}{until}; nothing was asked. Ask again later, or at once with --anyway; more of it: "
            f"{command_name()} models show {request.model}",
            INFRASTRUCTURE,
        )


@asynccontextmanager
async def _funded(call: PaidCall, client: Client, store: str) -> AsyncIterator[None]:
    """Hold the call's worst case in the project's ledger, where a budget binds it and its price is known."""
    if not call.worst_usd or call.account is None:
        yield
        return
    room, longest_s = f"{call.account.name}/{call.reservation}", call.request.timeout_s + CALL_GRACE_S
    try:
        async with reserved(client, store, room, call.worst_usd, longest_s) as grant:
            if grant.room_usd + ROUNDING_USD < call.worst_usd:
                raise CommandError(_no_room(call.account, call.worst_usd, grant), INVALID)
            yield
    except TimeoutError:
        raise CommandError(
            f"the ledger of project {call.account.project} does not answer, so nothing was asked; "
            "run the same command again",
            INFRASTRUCTURE,
        ) from None


def _no_room(account: Account, worst_usd: float, grant: Grant) -> str:
    wider = next((one for one in account.binding if one.level == grant.level and one.level != "session"), None)
    whose = f" ({wider.name})" if wider is not None else ""
    left = max(0.0, (grant.limit_usd or 0.0) - grant.level_spent_usd)
    why = f"{usd(left)} are left of the {grant.level} budget of {usd(grant.limit_usd)}{whose}"
    if grant.final:
        cure = f"raise it with: {command_name()} budget {(wider or account).name} --set USD"
    else:
        cure = "sessions at work hold the rest for their calls: ask again when these have ended, or raise the budget"
    return f"the call may cost {usd(worst_usd)} USD, and {why}; nothing was asked; {cure}"
