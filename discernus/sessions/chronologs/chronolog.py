"""The session's chronolog: what happened in it, in time, each line chained to the one before.

Every process writes a segment of its own; ``gather`` chains what they have gained into SESSION_CHRONOLOG.jsonl. A
line is on disk within milliseconds, and noting never fails: an answer that was paid for matters more than its event.
Facts are names, hashes, counts and costs; never texts, never secrets. What is not known is null.

event                 facts
session_opened        session, analyses, documents, models, runs, extends, migrated_from
session_resumed       session, released (parked analyses that are tried again)
status_noted          status, reason
call_sent             call, attempt, owner, model, content_key, deadline; the intent is durable, the request goes out
call_withdrawn        call, attempt; nothing was sent, for a rival's answer had come
call_answered         call, attempt, model_requested, model_answered, response_sha256, prompt_tokens, completion_tokens,
                      cost_usd, latency_ms, finish_reason, scored (false for a rival's late answer)
call_failed           call, attempt, model, error_class, kind, status, cost_usd, latency_ms
analysis_read         analysis, call, second_call, response_sha256, extracted_sha256 (of the file of scores), route,
                      status, scored, missing
analysis_parked       analysis, call, error_class, passing, passes, failures
analysis_released     analysis, call
stage_completed       stage, root_sha256 (of the files that it left)
files_superseded      stage, version, files
sealed                version, root_sha256, seal_sha256, status, scored, parked, not_analysed, no_score, damaged,
                      in_doubt, cost_usd
steps_repeated        version (of the seal that a crash cut off), names (of files that were computed again behind it)
text_redacted         kind, record, documents, files
answer_asked_again    call, model, folder, cost_usd, response_sha256 (in the chronolog of what was asked again)
migrated              source, calls
line_torn             file, line, bytes, sha256, kept (where the bytes of a line cut off by a crash are)
"""

from __future__ import annotations

import heapq
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import JsonValue

from discernus.sessions import layout
from discernus.sessions.chronologs import segments
from discernus.sessions.chronologs.chronolog_check import check as check
from discernus.sessions.chronologs.events import Event, GatheredEvent, Line, Lines, as_gathered, line_of, read_lines
from discernus.sessions.chronologs.shared_file import SharedFile, torn_from
from discernus.sessions.owners import HOST
from discernus.sessions.store import LocalStore


@dataclass(frozen=True)
class Head:
    """How far the chronolog is chained: ``sequence`` and hash of its last line (0 and None while it is empty)."""

    sequence: int
    sha256: str | None


class Chronolog:
    """This process's segment of one session's chronolog; there is no file before something is noted."""

    def __init__(self, folder: Path, actor: str | None = None) -> None:
        self.folder = folder
        self._actor = actor

    def note(self, event: str, /, **facts: object) -> None:
        """Note an event and return at once; it is durable within milliseconds, later where the disk refuses."""
        segments.append(self.folder, event, self._actor or this_process(), facts)

    def flush(self) -> None:
        """Return once everything that was noted here is durable; raise OSError where the disk refuses it."""
        segments.flush(self.folder)


def this_process() -> str:
    """Return who acts where nobody is named: the program, its machine and its number, as ``worker@lab-4711``."""
    return f"{Path(sys.argv[0]).stem}@{HOST}-{os.getpid()}"


def chronolog_of(folder: Path, actor: str | None = None) -> Chronolog:
    """Return the chronolog of the session in the folder, as this process writes it; ``actor`` defaults to the latter.

    A forked child that uses it writes a segment of its own.
    """
    return Chronolog(folder.resolve(), actor)


def gather(folder: Path) -> Head:
    """Chain what the segments have gained into the session's chronolog, in order of time, and return its head.

    Lines that a crash has torn are set aside and noted. Repeating it changes nothing. Raises OSError.
    """
    own = chronolog_of(folder)
    own.flush()
    with SharedFile(own.folder / layout.CHRONOLOG) as shared:
        _mend(own, shared)
        gathered = read_lines(shared.path, GatheredEvent).read
        head = Head(gathered[-1].event.sequence, gathered[-1].sha256) if gathered else Head(0, None)
        lines = bytearray()
        for segment, line in _not_gathered(own.folder, gathered):
            chained = _chained(head, segment, line)
            head = Head(head.sequence + 1, sha256(chained).hexdigest())
            lines += chained + b"\n"
        if lines:
            shared.append(bytes(lines))
    return head


def read_events(folder: Path, gathered: Lines[GatheredEvent] | None = None) -> Iterator[Event]:
    """Yield what happened: first what is gathered, then the rest of the segments, in order of time.

    The latter have ``sequence`` and ``previous`` of their segment. What is torn or cannot be read is left out.
    ``gathered`` are the chronolog's lines where they have been read.
    """
    if gathered is None:
        gathered = read_lines(folder / layout.CHRONOLOG, GatheredEvent)
    lines = gathered.read
    rest = _not_gathered(folder, lines)
    for line in lines:
        yield line.event
    for _, found in rest:
        yield found.event


def set_torn_aside(folder: Path, path: Path, offset: int) -> dict[str, object]:
    """Keep the bytes of a line that a crash has cut off, from ``offset`` on; return the facts of ``line_torn``."""
    whole = path.read_bytes()
    torn = whole[offset:]
    kept = layout.torn(path.stem, offset)
    LocalStore(folder).put_if_absent(kept, torn)
    return {
        "file": path.relative_to(folder).as_posix(),
        "line": whole[:offset].count(b"\n") + 1,
        "bytes": len(torn),
        "sha256": sha256(torn).hexdigest(),
        "kept": kept,
    }


def _mend(own: Chronolog, shared: SharedFile) -> None:
    """Set aside and note the lines that crashes have torn; from the chronolog they are cut off, segments stay."""
    ours = torn_from(shared.path)
    torn = [(path, offset) for path in _segment_paths(own.folder) if (offset := torn_from(path)) is not None]
    torn = [(path, offset) for path, offset in torn if not segments.is_being_written(path)]
    if ours is not None:
        torn.append((shared.path, ours))
    known = _noted_as_torn(own.folder) if torn else []
    for path, offset in torn:
        facts = set_torn_aside(own.folder, path, offset)
        if facts not in known:
            own.note("line_torn", **facts)
    own.flush()
    if ours is not None:
        shared.cut(ours)


def _noted_as_torn(folder: Path) -> list[dict[str, JsonValue]]:
    """Return the facts of every line that was noted as torn."""
    return [event.facts for event in read_events(folder) if event.event == "line_torn"]


def _segment_paths(folder: Path) -> list[Path]:
    store = LocalStore(folder)
    names = (name for name in store.names(layout.SEGMENTS) if name.endswith(".jsonl"))
    return [store.path(f"{layout.SEGMENTS}/{name}") for name in names]


def _counts(gathered: Iterable[Line[GatheredEvent]]) -> dict[str, int]:
    """Return how many lines of each segment are gathered."""
    counts: dict[str, int] = {}
    for line in gathered:
        counts[line.event.segment] = max(counts.get(line.event.segment, 0), line.event.segment_sequence)
    return counts


def _not_gathered(folder: Path, gathered: Sequence[Line[GatheredEvent]]) -> Iterator[tuple[str, Line[Event]]]:
    """Yield the lines that the segments have beyond those, in order of time, each segment's in its own order."""
    counts, told = _counts(gathered), as_gathered(gathered)

    def rest(path: Path) -> Iterator[tuple[str, Line[Event]]]:
        for line in read_lines(path, Event, told.get(path.stem, b"")).read:
            if line.event.sequence > counts.get(path.stem, 0):
                yield path.stem, line

    return heapq.merge(*map(rest, _segment_paths(folder)), key=lambda found: found[1].event.at)


def _chained(head: Head, segment: str, line: Line[Event]) -> bytes:
    """Return the next line of the chronolog, of a line of a segment."""
    event = line.event
    return line_of(
        head.sequence + 1,
        event.at,
        event.event,
        event.actor,
        event.facts,
        head.sha256,
        segment=segment,
        segment_sequence=event.sequence,
        segment_sha256=line.sha256,
    )
