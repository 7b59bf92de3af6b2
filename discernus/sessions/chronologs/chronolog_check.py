"""Whether a session's chronolog is what its writers wrote: its own chain, each segment's, and how they agree.

What no chain can tell: lines cut off at the end of every file that holds them, and a folder of which everything was
written anew. Manifests and seals can, for they hold lengths and hashes.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Set
from hashlib import sha256
from pathlib import Path

from discernus.sessions import layout
from discernus.sessions.chronologs.chains import Chain, Flaw
from discernus.sessions.chronologs.events import Event, GatheredEvent, Line, Lines, as_gathered, line_of, read_lines
from discernus.sessions.chronologs.segments import is_being_written

Whole = Chain[GatheredEvent]
Parts = dict[str, Chain[Event]]


def check(folder: Path, gathered: Lines[GatheredEvent] | None = None) -> list[Flaw]:
    """Return every altered, removed, added, reordered or torn line of the chronolog and its segments, by file.

    A torn line that was set aside and noted is no flaw, nor is one that its living writer has not finished.
    ``gathered`` are the chronolog's lines where they have been read. A segment that holds what they tell to the byte is
    not read line by line.
    """
    whole = Chain(layout.CHRONOLOG, read_gathered(folder) if gathered is None else gathered)
    told = as_gathered(whole.followed)
    paths = {path.stem: path for path in sorted((folder / layout.SEGMENTS).glob("*.jsonl")) if path.is_file()}
    sound = {segment for segment, path in paths.items() if segment in told and path.read_bytes() == told[segment]}
    known = frozenset(line.event.segment_sha256 for line in whole.followed)
    parts = {
        segment: Chain(path.relative_to(folder).as_posix(), read_lines(path, Event), known)
        for segment, path in paths.items()
        if segment not in sound
    }
    agreed, flaws = _compare(whole, parts, sound)
    broken = whole.flaws(agreed.get(whole.name, ()))
    flaws += broken or _passed_over(whole, parts)
    for part in parts.values():
        flaws += part.flaws(agreed.get(part.name, ()))
    flaws += [*_cut_off(whole, parts, sound), *_copies(whole, parts), *_torn(folder, whole, parts, sound)]
    certain = {flaw.place for flaw in flaws if flaw.kind != "inconsistent"}
    kept = (flaw for flaw in flaws if flaw.kind != "inconsistent" or flaw.place not in certain)
    return list({(flaw.kind, flaw.place): flaw for flaw in kept}.values())


def read_gathered(folder: Path) -> Lines[GatheredEvent]:
    """Return the chronolog's lines, not while somebody appends to them."""
    path = folder / layout.CHRONOLOG
    if not path.is_file():
        return Lines((), (), b"")
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        return read_lines(path, GatheredEvent)


def _compare(whole: Whole, parts: Parts, sound: Set[str]) -> tuple[dict[str, set[int]], list[Flaw]]:
    """Return by file the numbers of the lines that tell the same as the line gathered from or as them; and flaws."""
    agreed = {whole.name: {line.number for line in whole.followed if line.event.segment in sound}}
    flaws: list[Flaw] = []
    sources = {(line.event.segment, line.event.segment_sequence): line.event.segment_sha256 for line in whole.followed}
    differing: set[tuple[str, int]] = set()
    for line in whole.followed:
        segment, sequence = line.event.segment, line.event.segment_sequence
        part = parts.get(segment)
        source = part.at(sequence) if part is not None else None
        if part is None or source is None:
            continue  # sound, or one of the two is gone, which their lengths and chains tell
        same = _told(line) == _told(source)
        if same and line.event.segment_sha256 == source.sha256:
            agreed[whole.name].add(line.number)
            agreed.setdefault(part.name, set()).add(source.number)
            continue
        differing.add((segment, sequence))
        if not same or (segment, sequence - 1) not in differing:  # else it only names another hash of the line before
            true = _source_sha256(line, sources.get((segment, sequence - 1))) == line.event.segment_sha256
            flaws += _disagreement(whole, line, part, source, true=true)
    return agreed, flaws


def _told(line: Line[Event] | Line[GatheredEvent]) -> tuple[object, ...]:
    event = line.event
    return event.at, event.event, event.actor, event.facts


def _source_sha256(line: Line[GatheredEvent], previous: str | None) -> str:
    """Return the hash of the segment's line as the chronolog tells it."""
    event = line.event
    source = line_of(event.segment_sequence, event.at, event.event, event.actor, event.facts, previous)
    return sha256(source).hexdigest()


def _disagreement(
    whole: Whole, line: Line[GatheredEvent], part: Chain[Event], source: Line[Event], *, true: bool
) -> Iterator[Flaw]:
    """Yield which of two lines that should tell the same was altered, by what the lines after them hold.

    ``true`` says whether the chronolog's line tells what it says that it was gathered from.
    """
    here, there = whole.held(line), part.held(source)
    gathered, written = whole.place(line.number), part.place(source.number)
    if here is False or (here is None and there) or (here == there and not true):
        yield Flaw("altered", gathered, f"{written}, from which it was gathered, tells something else")
    if there is False or (there is None and here):
        yield Flaw("altered", written, f"{gathered}, as which it was gathered, tells something else")
    if here == there and here is not False and true:
        yield Flaw("inconsistent", written, f"{gathered}, as which it was gathered, tells something else")


def _cut_off(whole: Whole, parts: Parts, sound: Set[str]) -> Iterator[Flaw]:
    """Yield the segments that have fewer lines than were gathered of them."""
    last: dict[str, Line[GatheredEvent]] = {}
    for line in whole.followed:
        segment = line.event.segment
        if segment in sound:
            continue
        if segment not in last or last[segment].event.segment_sequence < line.event.segment_sequence:
            last[segment] = line
    for segment, line in last.items():
        part = parts.get(segment)
        name = part.name if part is not None else f"{layout.SEGMENTS}/{segment}.jsonl"
        there = part.followed[-1] if part is not None and part.followed else None
        unreadable = 0
        if part is not None:
            unreadable = sum(there is None or number > there.number for number in part.lines.unreadable)
        have = (there.event.sequence if there is not None else 0) + unreadable
        if line.event.segment_sequence > have:
            what = f"{whole.place(line.number)} was gathered from it; {line.event.segment_sequence - have} are missing"
            yield Flaw("removed", f"{name}:{have + 1}", what)


def _copies(whole: Whole, parts: Parts) -> Iterator[Flaw]:
    """Yield the segments nothing was gathered of that begin with a line of another: no two processes write the same."""
    told = {line.event.segment_sha256: whole.place(line.number) for line in whole.followed}
    gathered = {line.event.segment for line in whole.followed}
    for segment, part in parts.items():
        first = part.followed[0] if part.followed else None
        if first is not None and segment not in gathered and first.sha256 in told:
            yield Flaw("added", part.place(first.number), f"{told[first.sha256]} was gathered from another segment's")


def _passed_over(whole: Whole, parts: Parts) -> Iterator[Flaw]:
    """Yield what an unbroken chronolog does not tell though it has later lines of the segment: it was written anew."""
    places: dict[str, dict[int, int]] = {}
    for line in whole.followed:
        places.setdefault(line.event.segment, {})[line.event.segment_sequence] = line.number
    for segment, numbers in places.items():
        part, last = parts.get(segment), max(numbers)
        for source in part.followed if part is not None else ():
            sequence = source.event.sequence
            if part is not None and sequence < last and sequence not in numbers:
                after = min(number for number in numbers if number > sequence)
                what = f"{part.place(source.number)} is missing before it"
                yield Flaw("removed", whole.place(numbers[after]), what)


def _torn(folder: Path, whole: Whole, parts: Parts, sound: Set[str]) -> Iterator[Flaw]:
    """Yield the last lines without an end, unless they are accounted for, and those that are not what was noted."""
    told: list[Event] = [line.event for line in whole.followed if line.event.segment in sound]
    events = (*told, *(line.event for part in parts.values() for line in part.followed))
    noted = {str(event.facts.get("file")): event.facts for event in events if event.event == "line_torn"}
    if whole.lines.torn:
        yield Flaw("torn", _end(whole), "a crash has cut it off; the next command that goes on sets it aside")
    for part in parts.values():
        torn, facts = part.lines.torn, noted.get(part.name)
        if facts is not None and sha256(torn).hexdigest() != facts.get("sha256"):
            yield Flaw("altered", _end(part), "it was cut off by a crash, and then noted with another hash")
        elif torn and facts is None and not is_being_written(folder / part.name):
            yield Flaw("torn", _end(part), "a crash has cut it off; the next command that goes on sets it aside")


def _end(chain: Whole | Chain[Event]) -> str:
    return chain.place(len(chain.lines.read) + len(chain.lines.unreadable) + 1)
