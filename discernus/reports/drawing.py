"""Figures as SVG that stands in a page: the same bytes each time, in the page's own colours, with a text for those who
cannot see it.

What matplotlib writes is read again as XML and written anew from a few kinds of elements, so that nothing a name may
hold becomes markup. Ids get the figure's own name before them, since many figures share a page.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SVG = "http://www.w3.org/2000/svg"
XLINK = "{http://www.w3.org/1999/xlink}href"
INK = "#0a0b0c"  # stands for the page's own colour of text, light or dark
LONGEST_NAME = 36  # characters
# Okabe and Ito's colours, which the colour-blind tell apart; in place of those that vanish on black or white, a grey
# and a dark gold. Each also has a marker of its own.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7F7F7F", "#B8860B")
MARKERS = ("o", "s", "^", "D", "v", "P")

_KEPT = {"svg", "g", "path", "rect", "text", "tspan", "use", "defs", "clipPath", "title", "desc"}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, read aloud
    "text.parse_math": False,  # a $ in a name is a $
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "discernus",  # ids of the same figure are the same each time
    "font.size": 9.0,
    "legend.frameon": False,
}
_lock = threading.Lock()  # matplotlib's settings are the whole process's


def name_of(value: str) -> str:
    """Return a name on one line, short enough for an axis, without what no XML may hold."""
    shown = "".join(one if one.isprintable() else "\ufffd" for one in " ".join(value.split()))
    return shown if len(shown) <= LONGEST_NAME else shown[: LONGEST_NAME - 1] + "…"


class Drawing:
    """One figure with one pair of axes, drawn on within a ``with`` block; ``svg`` gives it afterwards.

    ``width`` and ``height`` are in inches.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.axes: Axes

    def __enter__(self) -> Drawing:
        import matplotlib  # heavy, and a report alone needs it
        from matplotlib.figure import Figure

        _lock.acquire()
        self._settings: Any = matplotlib.rc_context(_SETTINGS)
        self._settings.__enter__()
        self._figure = Figure(figsize=(self.width, self.height), layout="constrained")
        self._figure.patch.set_alpha(0.0)
        self.axes = self._figure.add_subplot()
        self.axes.patch.set_alpha(0.0)
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self._written = self._save()
        finally:
            self._settings.__exit__(*error)
            _lock.release()

    def _save(self) -> bytes:
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a script that the font lacks: the reader's own fonts have it
            self._figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        return file.getvalue()

    def svg(self, key: str, title: str) -> str:
        """Return the figure as an SVG element whose ids begin with ``key``; ``title`` says what it shows."""
        root = ElementTree.fromstring(self._written)
        _keep(root)
        for element in root.iter():
            _attributes(element, key)
        root.attrib.pop("version", None)
        root.set("role", "img")
        root.set("aria-label", title)
        ElementTree.register_namespace("", SVG)
        ElementTree.register_namespace("xlink", XLINK[1:].partition("}")[0])
        return ElementTree.tostring(root, encoding="unicode").strip()


def _keep(element: ElementTree.Element) -> None:
    for child in list(element):
        if child.tag.removeprefix(f"{{{SVG}}}") in _KEPT:
            _keep(child)
        else:
            element.remove(child)


def _attributes(element: ElementTree.Element, key: str) -> None:
    for name, value in list(element.attrib.items()):
        changed = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", value)
        if name == "id":
            changed = f"{key}-{value}"
        elif name == XLINK:
            changed = f"#{key}-{value.removeprefix('#')}"
        element.set(name, changed.replace(INK, "currentColor"))
