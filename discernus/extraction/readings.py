"""What the JSON of an answer says about each dimension, read by structure: keys, nesting and named array items.

Each value found becomes a reading with the strength of its place; nothing is decided here about conflicts or scales.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from discernus.experiments.framework import Role
from discernus.extraction import reasons
from discernus.extraction.json_text import Clash, Found, number
from discernus.extraction.names import Key, Vocabulary, canon, label_name
from discernus.extraction.stated_scales import StatedScale, stated_scale

Frame = tuple[int, ...]
_TYPE_WORDS = frozenset({"number", "float", "integer", "int", "string", "array", "object", "boolean"})


class Reading(NamedTuple):
    """One value that stands for a dimension's score. ``value`` None is an explicit null, unless ``invalid`` says why it
    is no score.
    """

    dimension: str
    value: float | None
    invalid: str | None
    strength: Literal["explicit", "bare", "doubtful"]
    how: Literal["bare", "in_text", "repaired", "block"]
    frame: Frame
    container: tuple[int, tuple[str, ...]]  # ordinal of the JSON value, keys above
    synonym: bool = False  # the key says intensity, rating or value, where a key beside it may say score


@dataclass
class Readings:
    """All that the JSON of one answer says, before any of it is judged."""

    scores: list[Reading] = field(default_factory=list)
    measures: dict[tuple[str, str], set[float]] = field(default_factory=dict)  # (role, dimension)
    evidence: dict[str, dict[str, None]] = field(default_factory=dict)
    labels: dict[str, set[str]] = field(default_factory=dict)
    documents: dict[Frame, set[str]] = field(default_factory=dict)
    contract_paths: set[tuple[str, ...]] = field(default_factory=set)
    scales: list[StatedScale] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)  # dimension → reason, where a repair dropped a written value


class _Place(NamedTuple):
    """Where the walk stands: the keys above, and what they say about the values below."""

    path: tuple[str, ...]
    key: Key
    frame: Frame
    dimension: str | None = None
    role: Role | None = None
    excluded: bool = False
    doubtful: bool = False  # under two dimensions, or under an unknown key within one


_TOP = Key("")


def read(found: tuple[Found, ...], vocabulary: Vocabulary) -> Readings:
    """Return everything the JSON values say about the dimensions of that vocabulary."""
    readings = Readings()
    for ordinal, each in enumerate(found):
        _walk(each, ordinal, vocabulary, readings)
    return readings


def _walk(found: Found, ordinal: int, vocabulary: Vocabulary, readings: Readings) -> None:
    kept: Counter[tuple[str, float | None]] = Counter()
    trusted = _Trust(found)
    first = len(readings.scores)
    stack: list[tuple[Any, _Place]] = [(found.value, _Place((), _TOP, (ordinal,)))]
    while stack:
        node, place = stack.pop()
        if isinstance(node, dict):
            place = _named(node, place, vocabulary, readings)
            stack.extend((value, _below(place, vocabulary.key(key))) for key, value in reversed(node.items()))
        elif isinstance(node, list):
            frames = ((*place.frame, index) for index in range(len(node)))
            items = [(item, place._replace(frame=frame)) for item, frame in zip(node, frames, strict=True)]
            stack.extend(reversed(items))
        elif isinstance(node, Clash):
            stack.extend((value, place) for value in node.values)
        else:
            if found.written is not None:
                kept[place.key.canon, number(node)] += 1
            _leaf(node, place, trusted, vocabulary, readings)
    if found.written is not None:
        _count_losses(found.written - kept, first, vocabulary, readings)


class _Trust:
    """Whether a value of a JSON text literally stands in it: always so, unless the text was repaired."""

    def __init__(self, found: Found) -> None:
        self.how = found.how
        self._written = found.written

    def holds(self, key: Key, value: float | None) -> bool:
        return self._written is None or (key.canon, value) in self._written


def _count_losses(
    lost: Counter[tuple[str, float | None]], first: int, vocabulary: Vocabulary, readings: Readings
) -> None:
    """Mark the dimensions whose written values are not in the repaired JSON; all of it where they have no name."""
    for name, value in lost:
        key = vocabulary.key(name)
        if value is None or key.role not in (None, "score"):
            continue
        if key.dimension is not None:
            readings.lost[key.dimension] = reasons.CONFLICT
        elif key.role == "score":
            readings.lost |= {reading.dimension: reasons.BROKEN for reading in readings.scores[first:]}


def _named(node: dict[str, Any], place: _Place, vocabulary: Vocabulary, readings: Readings) -> _Place:
    """Return the place of an object that names its own dimension ({"name": "Fear", "score": 0.4}), noting documents."""
    named: set[str] = set()
    for text, value in node.items():
        if not isinstance(value, str) or len(value) > 300:
            continue
        key = vocabulary.key(text)
        if key.document and value.strip():
            readings.documents.setdefault(place.frame, set()).add(value.strip())
        if key.names and (dimension := vocabulary.aliases.get(canon(value))) is not None:
            named.add(dimension)
    if len(named) != 1:
        return place._replace(doubtful=True) if named else place
    dimension = named.pop()
    other = place.dimension is not None and place.dimension != dimension
    return place._replace(dimension=dimension, doubtful=place.doubtful or other)


def _below(place: _Place, key: Key) -> _Place:
    dimension, role = place.dimension, place.role
    doubtful, excluded = place.doubtful, place.excluded
    if key.dimension is not None:
        doubtful = doubtful or (dimension is not None and dimension != key.dimension)
        dimension = key.dimension
    elif key.role is None and not key.neutral:
        excluded = excluded or key.excludes
        doubtful = doubtful or dimension is not None
    if key.role is not None and role != "evidence" and (role in (None, "score") or key.role != "score"):
        role = key.role
    return _Place((*place.path, key.canon), key, place.frame, dimension, role, excluded, doubtful)


def _leaf(node: Any, place: _Place, trust: _Trust, vocabulary: Vocabulary, readings: Readings) -> None:
    for path, field_ in vocabulary.paths.get(place.key.canon, ()):
        if place.path[-len(path) :] == path and not place.excluded:
            if field_.role == "label":
                _text(readings.labels, label_name(field_), node)
                return
            if field_.dimension is not None:
                if path == place.path and len(place.frame) == 1:
                    readings.contract_paths.add(path)
                named = place._replace(dimension=field_.dimension, role=field_.role, doubtful=False)
                _keep(node, named, True, trust, readings)
                return
    if place.key.scale and (scale := stated_scale(node, place.frame, place.dimension)):
        readings.scales.append(scale)
    _keep(node, place, False, trust, readings)


def _keep(node: Any, place: _Place, in_contract: bool, trust: _Trust, readings: Readings) -> None:
    if place.dimension is None or place.excluded:
        return
    if place.role == "evidence":
        if (
            isinstance(node, str)
            and node.strip()
            and (in_contract or place.key.quotes or place.key.dimension is not None)
        ):
            readings.evidence.setdefault(place.dimension, {})[node.strip()] = None
    elif place.key.dimension is None and place.key.role is None and not in_contract:
        return
    elif place.role in ("confidence", "salience"):
        value = number(node)
        if value is not None and not place.doubtful and trust.holds(place.key, value):
            readings.measures.setdefault((place.role, place.dimension), set()).add(value)
    elif place.role in ("score", None):
        _score(node, place, in_contract, trust, readings)


def _score(node: Any, place: _Place, in_contract: bool, trust: _Trust, readings: Readings) -> None:
    assert place.dimension is not None
    explicit = in_contract or place.role == "score"
    value = number(node)
    invalid = None
    if value is None and node is not None:
        if not explicit or (isinstance(node, str) and node.strip().lower() in _TYPE_WORDS):
            return
        invalid = reasons.NOT_A_NUMBER + _shown(node)
    elif not trust.holds(place.key, value):
        invalid = reasons.BROKEN
    strength: Literal["explicit", "bare", "doubtful"] = "explicit" if explicit else "bare"
    if place.doubtful:
        strength = "doubtful"
    container = (place.frame[0], place.path[:-1])
    synonym = place.key.role == "score" and "score" not in place.key.canon and not in_contract
    readings.scores.append(
        Reading(place.dimension, value, invalid, strength, trust.how, place.frame, container, synonym)
    )


def _shown(node: Any) -> str:
    """Return the value as it reads in an answer, short: 'high', true."""
    if isinstance(node, bool):
        return str(node).lower()
    text = str(node)
    return repr(text if len(text) <= 40 else text[:37] + "…")


def _text(kept: dict[str, set[str]], name: str, node: Any) -> None:
    if isinstance(node, (str, int, float)) and not isinstance(node, bool) and str(node).strip():
        kept.setdefault(name, set()).add(str(node).strip())
