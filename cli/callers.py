"""Who makes the calls of an embedded session, ready before anything is opened: its keys, and the proxy before it."""

from __future__ import annotations

from contextlib import AsyncExitStack

from cli.display import Display
from cli.exits import INFRASTRUCTURE, INVALID, CommandError
from cli.preparing import has_usual_key
from discernus.experiments.definition import Definition
from discernus.llm import proxy
from discernus.settings import DEFAULT_CONCURRENCY, Settings
from engine.caller import Caller, CallerFailed


def require_proxy(settings: Settings, models: tuple[str, ...]) -> None:
    """Raise CommandError where calls are to go through a proxy from here, and it does not answer.

    Of a fleet's workers, which make the calls elsewhere, each that has no proxy refuses the session's calls.
    """
    proxied = any(proxy.serves(settings, model) for model in models)
    if proxied and settings.proxy_url is not None and settings.temporal is None:
        unreachable = proxy.reachable(settings.proxy_url)
        if unreachable is not None:
            raise CommandError(unreachable, INFRASTRUCTURE)


async def ready_caller(
    settings: Settings, definition: Definition, models: tuple[str, ...], display: Display, stack: AsyncExitStack
) -> Caller:
    """Start the process that makes the calls; raise CommandError for keys that it lacks, before a session is opened."""
    concurrency = settings.concurrency or definition.experiment.concurrency or DEFAULT_CONCURRENCY
    caller = Caller(settings, models, concurrency)
    await caller.start()
    stack.push_async_callback(caller.close)
    if all(has_usual_key(settings, model) for model in models):
        return caller  # what the process finds is looked at as soon as it has
    display.say("looking for the models' keys")
    await require_keys(caller)
    return caller


async def require_keys(caller: Caller) -> None:
    """Raise CommandError for every model that cannot be called from here."""
    try:
        missing = await caller.missing_keys()
    except CallerFailed as failed:
        raise CommandError(str(failed), INFRASTRUCTURE) from failed
    if missing:
        raise CommandError("\n".join(_why_not(model, keys) for model, keys in missing.items()), INVALID)


def _why_not(model: str, keys: list[str]) -> str:
    if not keys:
        return f"error: model {model!r} belongs to no vendor that LiteLLM knows; write vendor/model, as openai/gpt-4o"
    return f"error: model {model!r} needs {', '.join(keys)}; set it, or run with --models offline/lexicon"
