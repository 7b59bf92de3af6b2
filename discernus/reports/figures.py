"""The report's figures, each with the numbers it was drawn from: means and intervals, documents, runs, models, cost.

They are computed by the same functions as the tables, and each has its own table, since a figure alone cannot be
checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING

from discernus.experiments.framework import Dimension
from discernus.reports.data import ReportData
from discernus.reports.drawing import COLOURS, INK, MARKERS, Drawing, name_of
from discernus.reports.groups import Group
from discernus.reports.markdown import NONE, number, usd
from discernus.statistics.consistency import ONE_WAY
from discernus.statistics.descriptives import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GROUPS_DRAWN = 12  # each with figures of its own
COMPARED = len(COLOURS)  # models in one figure
DOCUMENTS_DRAWN = 60
STROKES = 200  # documents on a line; the range of more is drawn
NUMBERS_IN_CELLS = 16  # dimensions beyond which a cell has no room for its number
WIDTH = 7.2  # inches
LOWEST = -0.5  # of a coefficient in a figure: one of less says no more than that the runs disagree
SPREAD, ROOM = 0.25, 0.8  # of the distance between two dimensions: between two models at most, and for all of them

INTERVAL = "its 95 % interval, as in the table of dimensions"


@dataclass(frozen=True)
class Figure:
    """A figure: its title (plain text), what is to be known to read it, its SVG, and its numbers as a table."""

    title: str
    caption: str
    svg: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class _Scale:
    """Where a score of each dimension is drawn: as it is, or where scales differ, as its place on its own scale."""

    dimensions: tuple[Dimension, ...]

    @property
    def shared(self) -> bool:
        return len({(one.low, one.high) for one in self.dimensions}) == 1

    @property
    def limits(self) -> tuple[float, float]:
        return (self.dimensions[0].low, self.dimensions[0].high) if self.shared else (0.0, 1.0)

    @property
    def label(self) -> str:
        low, high = self.limits
        if self.shared:
            return f"score, on a scale of {low:g} to {high:g}"
        return "place on the dimension's own scale (0 lowest, 1 highest)"

    def place(self, dimension: Dimension, value: float) -> float:
        return value if self.shared else (value - dimension.low) / (dimension.high - dimension.low)

    def length(self, dimension: Dimension, value: float) -> float:
        return value if self.shared else value / (dimension.high - dimension.low)


def figures_of(data: ReportData, groups: list[Group]) -> list[Figure]:
    """Return the figures of a session; none of what has no number."""
    dimensions = tuple(one for one in data.framework.dimensions if one.high > one.low)
    drawn = [group for group in groups if any(record.scores for record in group.records)]
    if not dimensions:
        return list(_costs(data))
    scale = _Scale(dimensions)
    found = [_profile(group, scale, f"profile-{at}") for at, group in enumerate(drawn[:GROUPS_DRAWN], start=1)]
    found += list(_comparison(drawn, scale))
    found += [_heatmap(group, scale, f"documents-{at}") for at, group in enumerate(drawn[:GROUPS_DRAWN], start=1)]
    largest = _largest_spread(drawn[:GROUPS_DRAWN], scale)
    for at, group in enumerate(drawn[:GROUPS_DRAWN], start=1):
        found += _agreement(group, scale, f"runs-{at}", largest)
        found += _consistency(group, scale, f"consistency-{at}")
    return [*found, *_costs(data)]


def _profile(group: Group, scale: _Scale, key: str) -> Figure:
    """Draw each document's mean, and over them the mean with its interval, on each dimension."""
    rows = []
    with _by_dimension(scale) as drawing:
        for at, dimension in enumerate(scale.dimensions):
            own = [mean for mean in group.means(dimension.name).values() if mean is not None]
            _each(drawing.axes, [scale.place(dimension, mean) for mean in own], at)
            rows.append(_mean_drawn(drawing.axes, group, dimension, scale, at))
    title = f"Dimension profile: {_titled(group)}"
    caption = f"Dot: mean over documents, each with its mean over runs (strokes{_RANGE}). Line: {INTERVAL}. {_APPLIES}"
    headings = ("dimension", "documents", "mean", "interval from", "to")
    return Figure(title, caption, drawing.svg(key, title), headings, tuple(rows))


_RANGE = f"; of more than {STROKES}, a thin line from the lowest to the highest"
_APPLIES = "It holds beyond these documents only if they were drawn at random, and may reach beyond the scale."


def _each(axes: Axes, places: list[float], height: float) -> None:
    """Draw a stroke for each document; of very many, whose strokes nobody could tell apart, their range."""
    if len(places) <= STROKES:
        axes.plot(places, [height] * len(places), linestyle="", marker="|", markersize=9, color=INK, alpha=0.45)
    else:
        axes.plot([min(places), max(places)], [height, height], color=INK, alpha=0.45, linewidth=0.7)


def _mean_drawn(
    axes: Axes, group: Group, dimension: Dimension, scale: _Scale, height: float, style: int = 0
) -> tuple[str, ...]:
    """Draw a mean with its interval; return its row."""
    mean = group.mean(dimension.name)
    low, high, colour = mean.interval.low, mean.interval.high, COLOURS[style]
    if low is not None and high is not None:
        ends = [scale.place(dimension, end) for end in (low, high)]
        axes.plot(ends, [height, height], color=colour, linewidth=1.8)
    if mean.value is not None:
        axes.plot([scale.place(dimension, mean.value)], [height], linestyle="", marker=MARKERS[style], color=colour)
    return (dimension.label, str(mean.documents), number(mean.value), number(low), number(high))


def _comparison(groups: list[Group], scale: _Scale) -> Iterator[Figure]:
    """Draw the means of several models or variants side by side; nothing where there is one."""
    compared = groups[:COMPARED]
    if len(compared) < 2:
        return
    rows = []
    with _by_dimension(scale, 0.34 + 0.12 * len(compared)) as drawing:
        for at, dimension in enumerate(scale.dimensions):
            for style, group in enumerate(compared):
                height = at + min(SPREAD, ROOM / len(compared)) * (style - (len(compared) - 1) / 2)
                rows.append((_titled(group), *_mean_drawn(drawing.axes, group, dimension, scale, height, style)))
        for style, group in enumerate(compared):
            label = name_of(f"{group.model}, {group.variant}")
            drawing.axes.plot([], [], marker=MARKERS[style], color=COLOURS[style], linewidth=1.8, label=label)
        drawing.axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    title = "Models and variants compared"
    more = f" The first {len(compared)} of {len(groups)} are drawn." if len(groups) > len(compared) else ""
    caption = (
        f"Means over documents; line: {INTERVAL}. The documents are the same, so whether intervals overlap does not "
        f"show whether the models differ.{more}"
    )
    headings = ("model and variant", "dimension", "documents", "mean", "interval from", "to")
    yield Figure(title, caption, drawing.svg("comparison", title), headings, tuple(rows))


def _heatmap(group: Group, scale: _Scale, key: str) -> Figure:
    """Draw each document's mean on each dimension as a coloured cell; a missing one stays empty, with a dash."""
    documents = group.documents[:DOCUMENTS_DRAWN]
    means = [group.means(dimension.name) for dimension in scale.dimensions]
    drawing = Drawing(WIDTH, 1.6 + 0.27 * len(documents))
    with drawing:
        _cells(drawing.axes, documents, means, scale)
    title = f"Documents and dimensions: {_titled(group)}"
    more = f" The first {len(documents)} of {len(group.documents)}." if len(group.documents) > len(documents) else ""
    caption = f"Means over runs. Colour: {scale.label}, dark is low, light is high. {NONE}: no score.{more}"
    rows = tuple((document, *(number(mean[document]) for mean in means)) for document in documents)
    return Figure(title, caption, drawing.svg(key, title), ("document", *(one.label for one in scale.dimensions)), rows)


def _cells(axes: Axes, documents: tuple[str, ...], means: list[dict[str, float | None]], scale: _Scale) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    low, high = scale.limits
    for column, (dimension, mean) in enumerate(zip(scale.dimensions, means, strict=True)):
        for line, document in enumerate(documents):
            value = mean[document]
            if value is None:
                axes.text(column, line, NONE, ha="center", va="center")
                continue
            share = min(max((scale.place(dimension, value) - low) / (high - low), 0.0), 1.0)
            axes.add_patch(Rectangle((column - 0.5, line - 0.5), 1, 1, facecolor=colormaps["cividis"](share)))
            if len(scale.dimensions) <= NUMBERS_IN_CELLS:
                ink = "#ffffff" if share < 0.46 else "#000000"  # where both contrast alike with cividis
                axes.text(column, line, number(value, 2), ha="center", va="center", color=ink, fontsize=7.5)
    axes.set_xlim(-0.5, len(scale.dimensions) - 0.5)
    axes.set_ylim(len(documents) - 0.5, -0.5)
    axes.set_xticks(range(len(scale.dimensions)), [name_of(one.label) for one in scale.dimensions])
    axes.tick_params(axis="x", rotation=35, top=True, labeltop=True, bottom=False, labelbottom=False)
    for label in axes.get_xticklabels():
        label.set(ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(documents)), [name_of(document) for document in documents])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _largest_spread(groups: list[Group], scale: _Scale) -> float:
    """Return how far the figures of agreement reach: as far for each group, so that they can be compared."""
    found = ((one, group.spread(one.name).largest) for group in groups for one in scale.dimensions)
    return max((scale.length(one, largest) for one, largest in found if largest is not None), default=0.0)


def _agreement(group: Group, scale: _Scale, key: str, largest: float) -> list[Figure]:
    """Draw how much the scores of one document differ from run to run; nothing where each was read once.

    The axis reaches a little beyond ``largest``.
    """
    spreads = {
        dimension: [sd for row in group.table(dimension.name) if (sd := describe(row).sd) is not None]
        for dimension in scale.dimensions
    }
    if not any(spreads.values()):
        return []
    rows = []
    with _by_dimension(scale, limited=False) as drawing:
        for at, (dimension, found) in enumerate(spreads.items()):
            spread = describe(found)
            _each(drawing.axes, [scale.length(dimension, sd) for sd in found], at)
            if spread.mean is not None:
                drawing.axes.plot([scale.length(dimension, spread.mean)], [at], marker="o", color=COLOURS[0])
            rows.append((dimension.label, str(spread.n), number(spread.mean), number(spread.maximum)))
        drawing.axes.set_xlim(0.0, 1.05 * largest if largest > 0 else 1.0)
        unit = "units of the score" if scale.shared else "shares of the dimension's own scale"
        drawing.axes.set_xlabel(f"SD over the runs of one document, in {unit}")
    title = f"Agreement over runs: {_titled(group)}"
    caption = (
        f"{group.consistency_name.capitalize()}. Stroke: one document{_RANGE}; dot: mean over documents; 0: all "
        "runs gave the same. It tells how far the runs repeat each other, not whether they are right."
    )
    headings = ("dimension", "documents with two runs or more", "mean SD", "largest SD")
    return [Figure(title, caption, drawing.svg(key, title), headings, tuple(rows))]


def _consistency(group: Group, scale: _Scale, key: str) -> list[Figure]:
    """Draw how far a language model's runs agree, as the table has it; nothing where no coefficient is defined."""
    found = {} if group.offline else {one: group.coefficients(one.name)[0] for one in scale.dimensions}
    if all(one.value is None for one in found.values()):
        return []
    rows = []
    with _by_dimension(scale, limited=False) as drawing:
        axes = drawing.axes
        for at, (dimension, one) in enumerate(found.items()):
            low, high = one.interval.low, one.interval.high
            if low is not None and high is not None:
                axes.plot([max(low, LOWEST), min(high, 1.0)], [at, at], color=COLOURS[0], linewidth=1.8)
            if one.value is not None:
                axes.plot([max(one.value, LOWEST)], [at], marker="o", color=COLOURS[0])
            rows.append((dimension.label, str(one.documents), number(one.value), number(low), number(high)))
        axes.set_xlim(LOWEST - 0.02, 1.02)
        axes.set_xlabel(f"{ONE_WAY[0]} over runs")
    title = f"{group.consistency_name.capitalize()}: {_titled(group)}"
    caption = (
        f"Dot: {ONE_WAY[0]}, of a single run; line: its 95 % interval, both as in the table of consistency. What is "
        f"below {LOWEST:g} is drawn there. It is neither accuracy nor intercoder reliability."
    )
    headings = ("dimension", "documents", ONE_WAY[0], "interval from", "to")
    return [Figure(title, caption, drawing.svg(key, title), headings, tuple(rows))]


def _costs(data: ReportData) -> Iterator[Figure]:
    """Draw what the calls cost that have a known price; nothing where none has, or none cost anything."""
    known = [each for each in data.costs if each.cost_usd]
    if not known:
        return
    drawing = Drawing(WIDTH, 0.9 + 0.3 * len(known))
    with drawing:
        names = [name_of(f"{each.model}, {each.purpose}") for each in known]
        drawing.axes.barh(range(len(known)), [each.cost_usd or 0.0 for each in known], color=COLOURS[0], height=0.6)
        drawing.axes.set_yticks(range(len(known)), names)
        drawing.axes.invert_yaxis()
        drawing.axes.set_xlabel("cost in USD")
    unpriced = sum(each.unpriced for each in data.costs)
    more = f" {unpriced:,} calls of unknown price are not in it." if unpriced else ""
    title = "Cost by model and purpose"
    rows = tuple((each.model, each.purpose, f"{each.calls:,}", usd(each.cost_usd)) for each in known)
    caption = f"Calls whose price is known.{more}"
    yield Figure(title, caption, drawing.svg("cost", title), ("model", "purpose", "calls", "cost in USD"), rows)


@contextmanager
def _by_dimension(scale: _Scale, step: float = 0.34, *, limited: bool = True) -> Iterator[Drawing]:
    """Yield a drawing with a line for each dimension, the first on top, ``step`` inches apart.

    ``limited``: its horizontal axis is the scale, with room for an interval that goes beyond it.
    """
    with Drawing(WIDTH, 1.0 + step * len(scale.dimensions)) as drawing:
        axes = drawing.axes
        yield drawing
        axes.set_yticks(range(len(scale.dimensions)), [name_of(one.label) for one in scale.dimensions])
        axes.set_ylim(len(scale.dimensions) - 0.5, -0.5)
        axes.grid(axis="y", color=INK, alpha=0.12)
        axes.tick_params(axis="y", length=0)
        if limited:
            low, high = scale.limits
            left, right = axes.get_xlim()
            margin = 0.02 * (high - low)
            axes.set_xlim(min(low - margin, left), max(high + margin, right))
            axes.set_xlabel(scale.label)


def _titled(group: Group) -> str:
    """Return the group's heading as plain text."""
    return unescape(group.title)
