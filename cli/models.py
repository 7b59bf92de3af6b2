"""``models``: how each model is and what limits it; explained, limited anew, or let go out again."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from textwrap import wrap
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

from activities.border import ModelLimits, ModelView
from cli.display import counted, write
from cli.exits import COMPLETE, INFRASTRUCTURE, INVALID, CommandError, command_name
from cli.tables import WIDTH, Column, table
from discernus.llm.catalogue import facts_of
from discernus.llm.health import LIMITING, Health
from discernus.llm.models_file import ModelRules, ModelsFile, ModelsFileInvalid, read_models_file
from discernus.sessions.opening import StoreDamaged, store_id
from discernus.settings import Settings
from engine import models
from engine.connection import connect
from engine.models import Known, terms_of
from engine.server import EmbeddedServer, ServerError
from engine.workers import Crew

SHOWN_FAILURES = 10
SHOWN_QUARANTINES = 5
UNITS = {"requests_per_minute": "requests/min", "tokens_per_minute": "tokens/min", "in_flight": "in flight"}


@dataclass(frozen=True)
class _Standing:
    """A model as it is now, with the rules that hold for it."""

    view: ModelView
    health: Health
    rules: ModelRules


def list_models(settings: Settings, *, as_json: bool) -> int:
    """List every model that was ever called or limited; ``as_json`` gives a line for each."""
    file = _models_file(settings)
    found = [_standing(known, file) for known in asyncio.run(_views(settings, file))]
    if as_json:
        for one in found:
            write(json.dumps(_facts(one), ensure_ascii=False))
        return COMPLETE
    if not found:
        write("no model has been called yet; one that is limited or called shows up here")
        return COMPLETE
    write(table(_COLUMNS, [_row(one) for one in found]))
    for one in found:
        if one.health.reason:
            _say(f"\n{_why(one)}")
    for one in found:
        if one.view.sources:
            _say(f"\n{one.view.model}: at most {_limits_in_words(one.view)}")
    write(f"\nmore of one: {command_name()} models show MODEL")
    return COMPLETE


def show_model(settings: Settings, model: str, *, as_json: bool) -> int:
    """Explain how one model is, why, and what can be done about it."""
    file = _models_file(settings)
    known = asyncio.run(_known(settings, model, file))
    if known is None:
        raise CommandError(_never(model), INVALID)
    one = _standing(known, file)
    if as_json:
        write(json.dumps(_facts(one) | _history(one) | {"rules": one.rules.model_dump()}, ensure_ascii=False))
        return COMPLETE
    for paragraph in (_how(one), _calls(one), _limits(one), _rules(one.rules)):
        for line in paragraph:
            _say(line)
        write("")
    _list_history(one.health)
    return COMPLETE


def limit_model(
    settings: Settings,
    model: str,
    *,
    requests_per_minute: float | None,
    tokens_per_minute: float | None,
    in_flight: int | None,
    clear: bool,
    as_json: bool,
) -> int:
    """Limit a model from now on, in all sessions; ``clear`` lifts what was set so, and models.yaml holds again.

    A model that was never called is not listed any more once its limits are lifted. Raises CommandError for limits that
    make no sense, and for a model that nothing names: a limit on a mistyped name limits nothing.
    """
    limits = ModelLimits(
        requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute, in_flight=in_flight
    )
    if clear == (limits != ModelLimits()):
        options = "--requests-per-minute, --tokens-per-minute or --in-flight"
        raise CommandError(f"nothing says what to do: give {options}, or --clear alone to lift them", INVALID)
    if any(number is not None and number <= 0 for number in limits.model_dump().values()):
        raise CommandError("a limit is a number above 0; --clear lifts them", INVALID)
    view = asyncio.run(_limit(settings, model, _models_file(settings), None if clear else limits))
    return _tell(
        view, f"{model}: {_limits_in_words(view) or 'no limit is known; what its headers tell will count'}", as_json
    )


def reset_model(settings: Settings, model: str, *, as_json: bool) -> int:
    """Let calls to a model go out again at once, whatever speaks against it; its history stays."""
    view = asyncio.run(_reset(settings, model))
    if view is None:
        raise CommandError(_never(model), INVALID)
    wait_s = models.LONGEST_WAIT_S + models.REFRESH_S
    return _tell(view, f"{model}: its calls go out again; runs that wait for it notice within {wait_s:.0f} s", as_json)


# the store's models


async def _views(settings: Settings, file: ModelsFile) -> list[Known]:
    async with serving_shared(settings) as (client, store):
        return [await _following(client, store, one, file) for one in await models.views(client, store)]


async def _known(settings: Settings, model: str, file: ModelsFile) -> Known | None:
    async with serving_shared(settings) as (client, store):
        found = await models.known(client, store, model)
        return found and await _following(client, store, found, file)


async def _following(client: Client, store: str, found: Known, file: ModelsFile) -> Known:
    """Return what is known of a model once it follows what models.yaml says now."""
    model = found.view.model
    await models.ensure(client, store, model, file.rules(model))
    return await models.known(client, store, model) or found


async def _limit(settings: Settings, model: str, file: ModelsFile, limits: ModelLimits | None) -> ModelView:
    async with serving_shared(settings) as (client, store):
        found = await models.known(client, store, model)
        if found is None and limits is None:
            raise CommandError(_never(model), INVALID)
        if found is None and not _is_named(settings, file, model):
            called = [one.view.model for one in await models.views(client, store)]
            raise CommandError(_named_nowhere(model, {*called, *_names(settings, file)}), INVALID)
        view = await models.limit(client, store, model, file.rules(model), limits)
        if limits is None and found is not None and not (view.sessions or _was_called(found.health)):
            await models.forget(client, store, model)
        return view


async def _reset(settings: Settings, model: str) -> ModelView | None:
    async with serving_shared(settings) as (client, store):
        return await models.reset(client, store, model)


def _was_called(health: Health) -> bool:
    return bool(health.answered or health.by_class)


def _is_named(settings: Settings, file: ModelsFile, model: str) -> bool:
    """Return whether anything knows a model by this name: a file of this store, or LiteLLM's table."""
    facts = facts_of(model, file.rules(model))
    return model in _names(settings, file) or facts.price_source is not None or facts.max_input_tokens is not None


def _names(settings: Settings, file: ModelsFile) -> set[str]:
    """Return the models that models.yaml, the experiments and the settings name."""
    fallbacks = [model for models in file.fallback_models.values() for model in models]
    texts = [path.read_text("utf-8", "replace") for path in settings.projects_dir.glob("*/experiments/*/experiment.md")]
    written = [model for text in texts for model in _MODEL.findall(text)]
    return {*file.models, *fallbacks, *written, *(settings.models or ())}


_MODEL = re.compile(r"[\w.-]+/[\w./:@-]*\w")


def _named_nowhere(model: str, names: set[str]) -> str:
    near = get_close_matches(model, sorted(names), n=1)
    cure = f"did you mean {near[0]}? If not, name it in models.yaml" if near else "name it in models.yaml"
    return f"no model {model!r} was ever called, and no experiment names it; {cure}"


@asynccontextmanager
async def serving_shared(settings: Settings) -> AsyncIterator[tuple[Client, str]]:
    """Connect to the server, started if need be, and speak for what the store's sessions share while we are here."""
    server = EmbeddedServer(settings.state_folder, settings.temporal_cli_path) if settings.temporal is None else None
    try:
        store = store_id(settings.projects_dir)
        client = await _connect(settings, server)
        crew = Crew(client, settings)
        crew.serve_shared(store)
        try:
            yield client, store
        finally:
            await crew.drain()
    except (ServerError, StoreDamaged) as failed:
        raise CommandError(str(failed), INFRASTRUCTURE) from failed
    except RPCError as failed:
        raise CommandError(
            f"the Temporal server failed: {failed}; run the same command again", INFRASTRUCTURE
        ) from None
    finally:
        if server is not None:
            await server.leave()


async def _connect(settings: Settings, server: EmbeddedServer | None) -> Client:
    if server is not None:
        return await connect((await server.join()).address, "default")
    try:
        return await connect(str(settings.temporal), settings.namespace)
    except RuntimeError as refused:
        raise CommandError(
            f"no Temporal server answers at {settings.temporal}; start it, or leave out --temporal", INFRASTRUCTURE
        ) from refused


def _models_file(settings: Settings) -> ModelsFile:
    try:
        return read_models_file(settings.models_path, required=settings.models_file is not None)
    except ModelsFileInvalid as invalid:
        raise CommandError(str(invalid), INVALID) from invalid


def _standing(known: Known, file: ModelsFile) -> _Standing:
    """Return the model as it is now: nobody looks after its status while no session calls it."""
    rules = file.rules(known.view.model)
    return _Standing(known.view, known.health.settled(terms_of(rules), time.time()), rules)


# for people


_COLUMNS = (
    Column("Model", whole=True),
    Column("Status", whole=True),
    Column("Answered", right=True),
    Column("Median", right=True),
    Column("Calls", right=True),
)


def _row(one: _Standing) -> list[str]:
    health = one.health
    return [
        one.view.model,
        health.status,
        _percent(health.success_rate),
        _seconds(health.median_latency_ms),
        f"{health.answered + health.failed:,}",
    ]


def _limits_in_words(view: ModelView) -> str:
    """Return ``600 requests/min (models.yaml)``, limits of one source together; empty without any."""
    sources = dict.fromkeys(view.sources.values())
    told = {
        source: ", ".join(
            f"{getattr(view.limits, name):,.10g} {UNITS[name]}" for name in UNITS if view.sources.get(name) == source
        )
        for source in sources
    }
    return "; ".join(f"{limits} ({source})" for source, limits in told.items())


def _how(one: _Standing) -> list[str]:
    return [_why(one), *_what_to_do(one)]


def _why(one: _Standing) -> str:
    health, model = one.health, one.view.model
    until = "" if health.status != "quarantined" or health.until is None else f" until {_moment(health.until)} UTC"
    why = f": {health.reason}" if health.reason else ""
    return f"{model} is {_IN_WORDS.get(health.status, health.status)}{until}{why}"


_IN_WORDS = {"unknown": "not known well enough to say how it is"}


def _what_to_do(one: _Standing) -> list[str]:
    health, command = one.health, f"  {command_name()} models"
    if health.status == "quarantined":
        over = health.until is not None and health.until <= time.time()
        when = "Its time is over: the next call" if over else "Nothing need be done: after that a single call"
        return [
            f"{when} tries it, and if that is answered, all go on. To let calls go out at once:",
            f"{command} reset {one.view.model}",
        ]
    if health.status == "failed":
        return ["A person has to mend that. Calls go out, and the first one answered shows that it is mended."]
    if health.status == "degraded" and health.troubles and health.troubles[-1].error_class in LIMITING:
        return [
            "Calls go out, and wait where it asks for patience. A limit provokes fewer of these:",
            f"{command} limit {one.view.model} --requests-per-minute N",
        ]
    if health.streak:
        return [f"Calls go out. Failures in a row: {len(health.streak)} of the {one.rules.failure_threshold} allowed."]
    return ["Calls go out."]


def _calls(one: _Standing) -> list[str]:
    health = one.health
    if not _was_called(health):
        return ["No call has been made yet."]
    latest = f", {_percent(health.latest_success_rate)} of the latest {len(health.latest)}" if health.latest else ""
    lines = [
        f"Answered: {health.answered:,} of {health.answered + health.failed:,} calls "
        f"({_percent(health.success_rate)}{latest}); its limits, and what is about a text, are not counted as failures."
    ]
    if health.by_class:
        counts = sorted(health.by_class.items(), key=lambda pair: (-pair[1], pair[0]))
        lines.append(f"Not answered: {', '.join(f'{number:,} × {name}' for name, number in counts)}.")
    if health.latencies_ms:
        median, p90 = _seconds(health.median_latency_ms), _seconds(health.p90_latency_ms)
        latest = counted(len(health.latencies_ms), "answer")
        lines.append(f"Latency of the latest {latest}: median {median}, 90th percentile {p90}.")
    if health.tokens_per_call is not None:
        lines.append(f"Tokens per call, input and output: {health.tokens_per_call:,.0f}.")
    return lines


def _limits(one: _Standing) -> list[str]:
    view = one.view
    lines = [f"Limits: {_limits_in_words(view) or 'none known'}."]
    if view.calls_per_minute is not None:
        share = f", shared by {counted(view.sessions, 'session')}" if view.sessions else ""
        lines.append(f"At most {view.calls_per_minute:,.1f} calls a minute go out{share}.")
    if view.trouble:
        lines.append(f"But {view.trouble}")
    return lines


def _rules(rules: ModelRules) -> list[str]:
    timeout = "LLM_RESPONSE_TIMEOUT" if rules.timeout_s is None else f"{rules.timeout_s:g} s"
    return [
        f"By models.yaml: left alone for {rules.quarantine_s:g} s after "
        f"{counted(rules.failure_threshold, 'failure')} in a row; a call may take {timeout}."
    ]


def _list_history(health: Health) -> None:
    if health.troubles:
        write("Latest failures (UTC):")
        latest = list(reversed(health.troubles))[:SHOWN_FAILURES]
        write(table(_FAILURES, [[_moment(past.at), past.message] for past in latest]))
    if health.quarantines:
        write("\nLatest quarantines (UTC):")
        past = list(reversed(health.quarantines))[:SHOWN_QUARANTINES]
        write(
            table(
                _QUARANTINES,
                [[_moment(one.since), _moment(one.ended_at), one.reason] for one in past],
            )
        )


_FAILURES = (Column("When", whole=True), Column("What"))
_QUARANTINES = (Column("Since", whole=True), Column("Until", whole=True), Column("Why"))


def _never(model: str) -> str:
    return f"nothing is known of a model {model!r}: it was never called; {command_name()} models lists those that were"


def _say(text: str) -> None:
    """Print a sentence in lines of at most 80 columns, or a command, which is indented, in one."""
    for line in text.splitlines():
        whole = not line or line.startswith(" ")
        for part in [line] if whole else wrap(line, WIDTH, break_long_words=False, break_on_hyphens=False):
            write(part)


def _tell(view: ModelView, text: str, as_json: bool) -> int:
    if as_json:
        write(json.dumps(view.model_dump(), ensure_ascii=False))
    else:
        _say(text)
    return COMPLETE


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _seconds(milliseconds: float | None) -> str:
    return "–" if milliseconds is None else f"{milliseconds / 1000:.1f} s"


def _moment(seconds: float | None) -> str:
    return "still" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


# for programs


def _facts(one: _Standing) -> dict[str, Any]:
    health, view = one.health, one.view
    return {
        "model": view.model,
        "status": health.status,
        "reason": health.reason,
        "since": _iso(health.since),
        "until": _iso(health.until),
        "answered": health.answered,
        "failed": health.failed,
        "by_class": health.by_class,
        "success_rate": health.success_rate,
        "latest_success_rate": health.latest_success_rate,
        "median_latency_ms": health.median_latency_ms,
        "p90_latency_ms": health.p90_latency_ms,
        "tokens_per_call": health.tokens_per_call,
        "limits": view.limits.model_dump(),
        "sources": view.sources,
        "calls_per_minute": view.calls_per_minute,
        "sessions": view.sessions,
    }


def _history(one: _Standing) -> dict[str, Any]:
    return {
        "failures": [past.model_dump() | {"at": _iso(past.at)} for past in one.health.troubles],
        "quarantines": [
            past.model_dump() | {"since": _iso(past.since), "ended_at": _iso(past.ended_at)}
            for past in one.health.quarantines
        ],
    }


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
