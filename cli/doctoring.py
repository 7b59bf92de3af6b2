"""``doctor``: what is not as it should be, what it means, what to do, and with --repair what can be put right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from textwrap import wrap

from temporalio.service import RPCError

from cli.display import counted, write
from cli.exits import COMPLETE, PARTIAL, command_name
from cli.preparing import has_usual_key
from cli.sessions import SESSION_PREFIX, session_meant
from cli.tables import WIDTH, wrapped
from discernus.audit.projections import disagreeing_tables
from discernus.experiments.freezing import SnapshotDamaged
from discernus.experiments.problems import InvalidDefinition
from discernus.reports.markdown import text
from discernus.sessions import layout
from discernus.sessions.costs import onlooker
from discernus.sessions.doctor import symptoms
from discernus.sessions.integrity.manifests import TABLES
from discernus.sessions.integrity.signing import KeyUnusable, read_private_key
from discernus.sessions.integrity.succession import FROZEN
from discernus.sessions.opening import StoreDamaged, state_of, store_id
from discernus.sessions.session import Session
from discernus.sessions.storekeeping import symptoms_of_store
from discernus.sessions.symptoms import Symptom
from discernus.settings import Settings
from engine.condition import troubles
from engine.connection import connect
from engine.server import EmbeddedServer, ServerError, find_binary
from engine.sessions import models_of

SERVER_PATIENCE_S = 10.0
MOST_SHOWN = 12  # symptoms of a kind in one session; --json lists all


@dataclass(frozen=True)
class Examined:
    """What an examination found. ``server`` is the address of the one that answered, None if none was asked."""

    sessions: int
    symptoms: tuple[Symptom, ...]
    server: str | None


def doctor(settings: Settings, name: str | None, *, repair: bool, as_json: bool) -> int:
    """Look at one session, or at all, and the store; return 0 if nothing is left to be done, else 3."""
    mended: list[Symptom] = []
    after = _examine(settings, name)
    while repair and any(one.mend for one in after.symptoms):
        before = after
        refused = dict(_mend(before))
        after = _examine(settings, name)
        left = {(one.session, one.place, one.kind) for one in after.symptoms}
        done = [one for one in before.symptoms if one.mend and (one.session, one.place, one.kind) not in left]
        mended += done
        if not done:
            for place, why in refused.items():
                write(wrapped(f"{place} could not be repaired: {why}"), error=True)
            break
    healthy = all(one.known for one in after.symptoms)
    if as_json:
        told = {
            "healthy": healthy,
            "sessions": after.sessions,
            "server": after.server,
            "repaired": [_for_programs(one) for one in mended],
            "findings": [_for_programs(one) for one in after.symptoms],
        }
        write(json.dumps(told, ensure_ascii=False))
    else:
        for line in _lines(after, mended):
            write(line)
    return COMPLETE if healthy else PARTIAL


def _examine(settings: Settings, name: str | None) -> Examined:
    sessions = _sessions(settings, name)
    found = [] if name is not None else symptoms_of_store(settings)
    for session in sessions:
        own = symptoms(session, onlooker(settings.projects_dir))
        if all(one.known or one.place not in (layout.SESSION, layout.STATUS) for one in own):
            tables = [] if any(map(_is_of_what_tables_rest_on, own)) else list(disagreeing_tables(session))
            named = {one.file for one in tables}
            own = [*(one for one in own if one.file not in named), *tables, *_keys(settings, session)]
        found += own
    found += _installation(settings)
    on_server, address = asyncio.run(_server(settings, {session.folder.name for session in sessions}))
    return Examined(len(sessions), (*found, *on_server), address)


def _sessions(settings: Settings, name: str | None) -> list[Session]:
    if name is not None:
        folders = [session_meant(settings, name).folder]
    else:
        folders = sorted(settings.projects_dir.glob(f"*/experiments/*/sessions/{SESSION_PREFIX}*"))
        folders = [folder for folder in folders if (folder / "system_state/session.json").is_file()]
    return [Session(folder, settings.mirror_dir) for folder in folders]


def _is_of_what_tables_rest_on(one: Symptom) -> bool:
    """Return whether it is about an answer or a score: a table that is made of what is damaged would be damaged too."""
    if one.kind == "temporary file" or one.file in TABLES:
        return False
    return one.file.startswith((f"{layout.ARCHIVE}/", f"{layout.EXTRACTED}/", *FROZEN))


def _keys(settings: Settings, session: Session) -> Iterator[Symptom]:
    """Yield the models of a session that is not finished, and that nobody can call from here."""
    if state_of(session) != "unfinished":
        return
    try:
        models = models_of(session)
    except (SnapshotDamaged, InvalidDefinition):  # the session's own symptoms name it
        return
    for model in models:
        if not has_usual_key(settings, model):
            what = f"no key for {model} is set here"
            cure = "set the vendor's key (OPENAI_API_KEY, GEMINI_API_KEY, …) before the session goes on"
            yield Symptom("key", model, what, "calls to it cannot be made from here", cure, session.folder.name)


def _installation(settings: Settings) -> Iterator[Symptom]:
    if settings.temporal is None:
        try:
            find_binary(settings.temporal_cli_path)
        except ServerError as missing:
            what, _, cure = str(missing).partition("; ")
            yield Symptom("server", "temporal", what, "nothing can be run", cure)
    if settings.signing_key is not None:
        try:
            read_private_key(settings.signing_key, settings.projects_dir)
        except KeyUnusable as unusable:
            what, _, cure = str(unusable).partition("; ")
            yield Symptom("signing key", str(settings.signing_key), what, "no session can be sealed with it", cure)


async def _server(settings: Settings, names: set[str]) -> tuple[list[Symptom], str | None]:
    """Return what a server says of these sessions, and its address; nothing where none is up, and none is started."""
    address, namespace = settings.temporal, settings.namespace
    try:
        if address is None:
            facts = EmbeddedServer(settings.state_folder, settings.temporal_cli_path).facts()
            if facts is None:
                return [], None
            address, namespace = facts.address, "default"
        async with asyncio.timeout(SERVER_PATIENCE_S):
            client = await connect(address, namespace)
            found = await troubles(client, store_id(settings.projects_dir))
    except (ServerError, StoreDamaged):  # the symptoms of the store name them
        return [], None
    except (RuntimeError, TimeoutError, OSError, RPCError) as failed:
        said = str(failed).splitlines()[0] if str(failed) else "no answer in time"
        what = f"it does not answer: {said[:200]}"
        cure = (
            "start it, or correct DISCERNUS_TEMPORAL" if settings.temporal else "run the session again: it starts anew"
        )
        return [Symptom("server", address or "embedded", what, "nothing is known of its workflows", cure)], None
    there = [one for one in found if one.session in names]
    return [Symptom("workflow", one.place, one.what, one.means, one.cure, one.session) for one in there], address


def _mend(found: Examined) -> Iterator[tuple[str, str]]:
    """Put right what can be; yield what refused, and why."""
    for one in found.symptoms:
        if one.mend is not None:
            try:
                one.mend()
            except OSError as refused:
                yield one.place, refused.strerror or str(refused)


def _for_programs(one: Symptom) -> dict[str, object]:
    return {
        "kind": one.kind,
        "session": one.session,
        "place": one.place,
        "what": one.what,
        "means": one.means,
        "cure": one.cure,
        "repairable": one.mend is not None,
        "known": one.known,
    }


def _lines(found: Examined, mended: list[Symptom]) -> Iterator[str]:
    left = [one for one in found.symptoms if not one.known]
    verdict = counted(len(left), "finding") if left else "healthy"
    looked_at = counted(found.sessions, "session")
    server = f"the server at {found.server} was asked" if found.server else "no server is up, and none was started"
    yield wrapped(f"{verdict}: {looked_at} looked at; {server}")
    if mended:
        yield f"\nRepaired ({len(mended)})"
        yield from (line for one in mended for line in _symptom(one, after="done"))
    for session in dict.fromkeys(one.session for one in left):
        of_it = [one for one in left if one.session == session]
        yield f"\n{session or 'The store'} ({len(of_it)})"
        yield from _by_kind(of_it)
    known = [one for one in found.symptoms if one.known]
    if known:
        yield f"\nKnown; nothing has to be mended ({len(known)})"
        yield from _by_kind(known)
    can_be = sum(one.mend is not None for one in left)
    if can_be:
        yield "\n" + wrapped(f"{can_be} of these can be put right: {command_name()} doctor --repair")


def _by_kind(found: list[Symptom]) -> Iterator[str]:
    for kind in dict.fromkeys(one.kind for one in found):
        alike = [one for one in found if one.kind == kind]
        yield from (line for one in alike[:MOST_SHOWN] for line in _symptom(one))
        if len(alike) > MOST_SHOWN:
            yield f"  and {len(alike) - MOST_SHOWN} more of that kind; --json lists all"


def _symptom(one: Symptom, after: str | None = None) -> Iterator[str]:
    yield f"  {one.kind}: {one.place}"
    yield _indented(f"{one.what} ({one.means})")
    can = "--repair: " if one.mend and after is None else f"{after}: " if after else ""
    yield _indented(f"→ {can}{one.cure}")


def _indented(said: str) -> str:
    plain = unescape(text(said))
    return "\n".join(
        wrap(
            plain,
            WIDTH,
            initial_indent="    ",
            subsequent_indent="      ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    )
