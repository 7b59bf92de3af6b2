"""The scale that a framework's text states for its scores ("from -1.0 to 1.0"); nothing where it is not plain."""

import re
from collections.abc import Sequence

Scale = tuple[float, float]

_NUMBER = r"[-−+]?\d+(?:\.\d+)?"
_COUNTED = r"quot|sentence|example|word|paragraph|page|phrase|passage|dimension|anchor|ax[ei]s|time"
_RANGE = (
    rf"(?P<low>{_NUMBER})\s*(?P<by>-|–|—|−|to|and|\.\.\.?)\s*(?P<high>{_NUMBER})(?![\w%]|\.\d)"
    rf"(?!\s+(?:\w+\s+)?(?:{_COUNTED}))"
)
_STATED = re.compile(
    rf"\b(?:scor(?:e|es|ed|ing)|scales?|rat(?:e|ed|ing)|intensity)\b(?P<between>[^\n;]{{0,60}}?)(?<![\w.]){_RANGE}",
    re.IGNORECASE,
)
_OTHER_QUANTITY = re.compile(r"confiden|salien|alpha|reliab|certain", re.IGNORECASE)


def stated_scales(texts: Sequence[str]) -> tuple[Scale, ...]:
    """Return the scales of the first text that states any, without the bands that lie within a wider one.

    Exactly one scale is a plain statement; several do not fit into each other.
    """
    for text in texts:
        found = {scale for match in _STATED.finditer(text) if (scale := _scale(match)) is not None}
        widest = tuple(sorted(scale for scale in found if not any(_holds(other, scale) for other in found)))
        if widest:
            return widest
    return ()


def scale_beside(label: str, texts: Sequence[str]) -> Scale | None:
    """Return the scale stated in brackets right after a dimension's label: ``**Fear** (0.0-2.0)``."""
    words = r"[\s_-]+".join(re.escape(word) for word in label.split())
    beside = re.compile(rf"\b{words}\b[*_]*\s*\(\s*{_RANGE}\s*\)", re.IGNORECASE)
    for text in texts:
        match = beside.search(text)
        if match:
            return _bounds(match)
    return None


def _scale(match: re.Match[str]) -> Scale | None:
    before = match.string[max(0, match.start() - 30) : match.start()].rsplit(".", 1)[-1]
    if _OTHER_QUANTITY.search(match["between"]) or _OTHER_QUANTITY.search(before):
        return None
    if match["by"].lower() == "and" and "between" not in match["between"].lower():
        return None
    return _bounds(match)


def _bounds(match: re.Match[str]) -> Scale | None:
    low, high = (float(match[part].replace("−", "-")) for part in ("low", "high"))
    return (low, high) if low < high else None


def _holds(outer: Scale, inner: Scale) -> bool:
    return outer != inner and outer[0] <= inner[0] and inner[1] <= outer[1]
