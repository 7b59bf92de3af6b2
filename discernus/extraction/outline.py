"""Scores that an answer in prose labels line by line: a dimension's heading, and below it a line ``Score: 0.7``.

Read by form alone, and only where it leaves no choice: the heading is exactly one dimension's name or label, the line
says that it is the score, and holds one number. A line that says so and holds anything else makes the score unclear.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from discernus.experiments.framework import Dimension, Role
from discernus.extraction.json_text import number
from discernus.extraction.names import Key, Vocabulary, canon, words

_NUMBER = r"[-+−]?(?:\d+(?:\.\d+)?|\.\d+)"
_LINE = re.compile(r"(?P<indent>[ \t]*)(?P<mark>#{1,6}[ \t]+|[-*+•][ \t]+|\d{1,3}[.)][ \t]+)?(?P<rest>.*)")
_BOLD = re.compile(r"(?:\*\*|__)(?P<label>[^*\n]{1,160}?)(?:\*\*|__)(?P<after>.*)")
_AFTER_BOLD = re.compile(r"[ \t]*(?P<aside>\([^()]*\))?[ \t]*(?::(?P<text>.*)|[–—-].*)?")  # a dash may be a minus
_BEFORE_COLON = re.compile(r"(?P<label>(?:\([^()\n]{0,80}\)|[^:()|\n]){1,120}):(?P<text>.*)")  # no colon of an aside
_ENUMERATION = re.compile(r"^\W*(?:\d{1,3}|[A-Za-z])[.)][ \t]+")
_ASIDE = re.compile(r"\(([^()]*)\)")
_RANGE = re.compile(rf"[ \t]*({_NUMBER})[ \t]*(?:-|–|—|to)[ \t]*({_NUMBER})[ \t]*")
_VALUE = re.compile(rf"[ \t*_`]*({_NUMBER})(?:[ \t]*/[ \t]*({_NUMBER}))?[*_`]*(?P<rest>.*)", re.DOTALL)
_COMMENT = re.compile(r"[ \t]*(?:[.;,]?[ \t]*$|[(;,–—.-][^\d]*$)", re.DOTALL)
_NO_LABEL = (">", '"', "'", "“", "‘", "«", "{", "}", "[", "]")  # quotations, and JSON, which is read as JSON
_CELL_MARKS = " \t*_`"
# Labels within a dimension's section that do not begin another one.
_WITHIN = frozenset(
    {"analysis", "assessment", "reasoning", "rationale", "justification", "explanation", "interpretation"}
)
_WITHIN |= {"note", "notes", "observations", "description", "definition", "discussion", "summary"}
_ROLE_WORDS = frozenset({"score", "rating", "value", "intensity", "confidence", "certainty", "salience", "level"})
_ROLE_WORDS |= {"raw", "final", "numeric", "assigned"}
_ROLES: tuple[Role, ...] = ("score", "confidence", "salience")


@dataclass
class Outline:
    """What labelled lines say: (role, dimension) → the values; None among them is a line that could not be read."""

    values: dict[tuple[Role, str], list[float | None]] = field(default_factory=dict)

    @property
    def disagrees(self) -> bool:
        """Whether some dimension has two different scores, as where an answer holds two analyses."""
        return any(len({*values} - {None}) > 1 for (role, _), values in self.values.items() if role == "score")

    def add(self, role: Role, dimension: str, value: float | None) -> None:
        self.values.setdefault((role, dimension), []).append(value)

    def only(self, role: Role, dimensions: Iterable[str]) -> dict[str, float]:
        """Return the one value of a role for each of the dimensions that has one alone."""
        found = {name: {*self.values.get((role, name), ())} for name in dimensions}
        return {
            name: value for name, values in found.items() if len(values) == 1 for value in values if value is not None
        }


class _Label(NamedTuple):
    """A line's label without numbering and asides, what the asides say, and the text after it."""

    name: str
    asides: tuple[str, ...]
    text: str
    rank: int  # the lower, the more a section under it holds
    mark: str


class _Section(NamedTuple):
    dimension: str
    rank: int
    mark: str


def read_outline(answer: str, dimensions: tuple[Dimension, ...], vocabulary: Vocabulary, *, ended: bool) -> Outline:
    """Return what the labelled lines and tables of an answer say.

    ``ended`` says that the answer is known to be whole; else a number at its very end may be the half of one.
    """
    reader = _Reader({dimension.name: dimension for dimension in dimensions}, vocabulary)
    lines = answer.splitlines(keepends=True)
    if not ended and lines and not lines[-1].endswith("\n"):
        lines.pop()
    for line in lines:
        reader.line(line.rstrip("\n"))
    _read_tables(lines, reader)
    return reader.outline


class _Reader:
    """Goes through the lines of an answer and knows whose section each of them is in."""

    def __init__(self, dimensions: dict[str, Dimension], vocabulary: Vocabulary) -> None:
        self.outline = Outline()
        self.vocabulary = vocabulary
        self._dimensions = dimensions
        self._section: _Section | None = None
        self._passed_over: int | None = None  # the rank of a heading such as "Example scores", until its part ends

    def line(self, line: str) -> None:
        """Read one line: a dimension's label opens a section, a label beside or above it closes it."""
        label = _label(line)
        if label is None:
            if re.fullmatch(r"[ \t]*(?:-{3,}|\*{3,}|_{3,}|={3,})[ \t]*", line):
                self._section = None
            return
        key = self.vocabulary.key(label.name)
        if self._passed_over is not None and label.rank > self._passed_over:
            return
        self._passed_over = label.rank if key.excludes and not label.text.strip() else None
        dimension = self.vocabulary.aliases.get(canon(label.name))
        if dimension is not None:
            self._section = _Section(dimension, label.rank, label.mark)
            for aside in label.asides:
                self._aside(aside, dimension)
        elif (about := self._about(label.name, key)) is not None:
            if label.text.strip():
                self.say(*about, label.text, label.asides)
        elif self._section is not None and key.role != "evidence" and self._closes(label):
            self._section = None

    def is_about(self, role: Role, name: str) -> bool:
        """Return whether a column's name has to do with a role, were it only ``weighted score``."""
        return self.vocabulary.key(name).role == role or not {role, f"{role}s"}.isdisjoint(words(name))

    def _about(self, name: str, key: Key) -> tuple[Role, str] | None:
        """Return the role and dimension of a label: ``Fear score``, or ``Score`` in that dimension's section."""
        if key.role not in _ROLES:
            return None
        if key.dimension is not None:
            return key.role, key.dimension
        if self._section is not None and _ROLE_WORDS.issuperset(words(name)):
            return key.role, self._section.dimension
        return None

    def say(self, role: Role, dimension: str, text: str, asides: tuple[str, ...] = ()) -> None:
        """Note what a line that is labelled with a role says of a dimension."""
        bounds = self._dimensions[dimension]
        low, high = (bounds.low, bounds.high) if role == "score" else (0.0, 1.0)
        ranges = [_RANGE.fullmatch(aside) for aside in asides]
        stated = [(number(found[1]), number(found[2])) for found in ranges if found]
        value = _value(text, high) if all(scale == (low, high) for scale in stated) else None
        self.outline.add(role, dimension, value)

    def _aside(self, aside: str, dimension: str) -> None:
        """Read what stands in brackets beside a dimension's label: ``Fear (score: 0.8)``."""
        name, colon, text = aside.partition(":")
        role = self.vocabulary.key(name).role
        if colon and role in _ROLES and _ROLE_WORDS.issuperset(words(name)):
            self.say(role, dimension, text)

    def _closes(self, label: _Label) -> bool:
        assert self._section is not None
        if canon(label.name) in _WITHIN or label.rank > self._section.rank:
            return False
        return label.rank < self._section.rank or label.mark == self._section.mark


def _label(line: str) -> _Label | None:
    """Return the label of a line: a heading, a bold beginning, a list's item, or words before a colon."""
    found = _LINE.fullmatch(line)
    if found is None or line.lstrip().startswith("|"):
        return None
    mark, rest = (found["mark"] or "").strip(), found["rest"].strip()
    if rest.startswith(_NO_LABEL):
        return None
    heading = mark.startswith("#")
    kind = "ordered" if mark[:1].isdigit() else mark
    rank = len(mark) if heading else 8 + len(found["indent"].expandtabs(4)) if mark else 7
    taken = _taken(rest.rstrip("# ") if heading else rest, whole=bool(mark))
    if taken is None:
        return None
    name, asides, text = taken
    return _Label(name, asides, text, rank, "" if heading else kind)


def _taken(rest: str, *, whole: bool) -> tuple[str, tuple[str, ...], str] | None:
    """Return a line's label, its asides and the text after it; ``whole``: the line may be the label altogether."""
    if bold := _BOLD.fullmatch(rest):
        if split := _BEFORE_COLON.fullmatch(bold["label"]):
            return *_plain(split["label"]), split["text"] + bold["after"]
        if after := _AFTER_BOLD.fullmatch(bold["after"]):
            return *_plain(f"{bold['label']} {after['aside'] or ''}"), after["text"] or ""
        return None
    if plain := _BEFORE_COLON.fullmatch(rest):
        return *_plain(plain["label"]), plain["text"]
    if whole and len(rest) <= 120:
        return *_plain(rest), ""
    return None


def _plain(label: str) -> tuple[str, tuple[str, ...]]:
    """Return a label without numbering, marks and asides, and the asides."""
    label = _ENUMERATION.sub("", label)
    return _ASIDE.sub(" ", label).strip(" \t*_`"), tuple(_ASIDE.findall(label))


def _value(text: str, high: float) -> float | None:
    """Return the one number a labelled text holds; None for anything else: two numbers, a range, words, a share."""
    found = _VALUE.fullmatch(text.strip())
    if found is None or not _COMMENT.fullmatch(found["rest"]):
        return None
    if found[2] is not None and number(found[2]) != high:
        return None
    return number(found[1])


def _read_tables(lines: list[str], reader: _Reader) -> None:
    """Read the tables whose header names each role at most once, by the rows whose first cell is a dimension."""
    for header, rows in _tables(lines):
        names = [_ASIDE.sub(" ", cell) for cell in header]
        columns = {role: [n for n, name in enumerate(names) if reader.is_about(role, name)] for role in _ROLES}
        plain = {role: found[0] for role, found in columns.items() if len(found) == 1 and found[0] > 0}
        plain = {role: n for role, n in plain.items() if _ROLE_WORDS.issuperset(words(names[n]))}
        for row in rows:
            dimension = reader.vocabulary.aliases.get(canon(_plain(row[0])[0]))
            if dimension is None or len(row) != len(header):
                continue
            for role, column in plain.items():
                if row[column].strip("-–— "):
                    reader.say(role, dimension, row[column], tuple(_ASIDE.findall(header[column])))


def _tables(lines: list[str]) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yield the cells of each Markdown table: those of its header, and those of its rows."""
    rows: list[list[str]] = []
    for line in [*lines, ""]:
        if line.lstrip().startswith("|") and line.rstrip().endswith("|"):
            rows.append([cell.strip(_CELL_MARKS) for cell in line.strip().strip("|").split("|")])
            continue
        if len(rows) > 2 and all(re.fullmatch(r"[ :-]*-[ :-]*", cell) for cell in rows[1]):
            yield rows[0], rows[2:]
        rows = []
