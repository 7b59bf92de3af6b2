"""The marker phrases that a framework's own text names for a dimension: what stands in quotes under its heading."""

import re
from collections.abc import Iterable, Sequence

from discernus.experiments.roles import snake_case

_HEADING = re.compile(
    r"^\s{0,3}(?:#{1,6}\s+(?P<heading>.+?)\s*#*|(?:[-*+]\s+|\d+[.)]\s+)?\*\*(?P<bold>[^*\n]+)\*\*(?P<rest>.*))$"
)
_DOUBLE = re.compile(r'"([^"\n]+)"|“([^”\n]+)”|„([^“”\n]+)[“”]|«([^»\n]+)»')
_SINGLE = re.compile(r"(?<!\w)'((?:[^'\n]|(?<=\w)'(?=\w))+)'(?!\w)|‘((?:[^’\n]|(?<=\w)’(?=\w))+)’(?!\w)")
_MARKER_WORDS = {
    "marker",
    "indicator",
    "cue",
    "phrase",
    "language",
    "example",
    "keyword",
    "term",
    "vocabulary",
    "signal",
}
_FILLERS = {"dimension", "anchor", "linguistic", "the", "of", "for", "and", "lexical", "typical", "positive"}


def markers_of(name: str, label: str, names: Iterable[str], prose: str, prompts: Sequence[str]) -> tuple[str, ...]:
    """Return a dimension's marker phrases, lower case, in the framework's order, without repetition.

    They are looked for under the dimension's heading in the prose, else after ``Label:`` in the prompts, where the
    other dimensions' ``names`` end its part. Empty if the framework quotes none.
    """
    wanted = {_words(name), _words(label)}
    from_prose = _phrases(_below_headings(prose, wanted))
    if from_prose:
        return from_prose
    labels = [other.replace("_", " ") for other in names]
    for prompt in prompts:
        from_prompt = _phrases(_after_label(prompt, (name.replace("_", " "), label), labels))
        if from_prompt:
            return from_prompt
    return ()


def _below_headings(prose: str, wanted: set[tuple[str, ...]]) -> str:
    """Return what stands under the headings and bold lines that name the dimension, those for markers preferred."""
    sections: dict[bool, list[str]] = {True: [], False: []}
    current: list[str] | None = None
    for line in prose.splitlines():
        heading = _HEADING.match(line)
        if heading:
            words = _words(heading["heading"] or heading["bold"])
            bare = tuple(word for word in words if word not in _MARKER_WORDS | _FILLERS)
            current = sections[bool(_MARKER_WORDS & set(words))] if bare in wanted or words in wanted else None
            line = heading["rest"] or ""
        if current is not None:
            current.append(line)
    return "\n".join(sections[True] or sections[False])


def _after_label(prompt: str, own: Sequence[str], labels: Sequence[str]) -> str:
    """Return the part of a prompt from ``Label:`` to the next dimension's label, or to the end of its sentence."""
    start = next((match for label in own if (match := _label_pattern(label).search(prompt))), None)
    if start is None:
        return ""
    rest = prompt[start.end() :]
    ends = [match.start() for label in labels if (match := _label_pattern(label).search(rest))]
    if ends:
        return rest[: min(ends)]
    last = re.search(r"[\"'”’»)]\s*\.\s+(?=[A-Z])|\n\s*\n", rest)
    return rest[: last.end()] if last else rest


def _label_pattern(label: str) -> re.Pattern[str]:
    words = [re.escape(word.rstrip("s")) + "s?" for word in label.split()]
    return re.compile(r"\b" + r"[\s_-]+".join(words) + r"\b\*{0,3}(?:\s?\([^)\n]{0,80}\))?\*{0,3}\s?:", re.IGNORECASE)


def _words(text: str) -> tuple[str, ...]:
    """Return a heading's words without numbers, brackets, case and plural, as headings name dimensions loosely."""
    plain = snake_case(re.sub(r"\([^)]*\)|^\W*\d+[.)]?", " ", text.split(":")[0]))
    return tuple(word.rstrip("s") or word for word in plain.split("_") if word)


def _phrases(text: str) -> tuple[str, ...]:
    pattern = _DOUBLE if _DOUBLE.search(text) else _SINGLE
    found = (next(group for group in match.groups() if group) for match in pattern.finditer(text))
    cleaned = (clean_marker(phrase) for phrase in found)
    return tuple(dict.fromkeys(phrase for phrase in cleaned if phrase))


def clean_marker(phrase: str) -> str:
    """Return a phrase as a marker: lower case, single spaces, no punctuation at its ends."""
    return " ".join(phrase.lower().split()).strip(" .,;:!?…")
