"""The report as a page: every number of the Markdown report, figures that can be checked, and nothing that acts."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from discernus.experiments.framework import Dimension
from discernus.reports.data import ModelCost, ReportData
from discernus.reports.figures import STROKES, Figure, figures_of
from discernus.reports.groups import groups_of
from discernus.reports.html import html_report
from discernus.reports.markdown import NONE
from discernus.reports.report import final_report
from tests.test_reports_agreement import FRAMEWORK as CONSISTENT
from tests.test_reports_agreement import readings
from tests.test_reports_final import FRAMEWORK, data, experiment, records
from tests.test_reports_sanitising import HOSTILE, hostile_report

DRAWN = {"svg", "g", "path", "rect", "text", "tspan", "use", "defs", "clippath"}
ACTIVE = {"script", "iframe", "object", "embed", "img", "link", "form", "input", "base", "foreignobject", "image"}


class Page(HTMLParser):
    """What stands in a page: its elements with their attributes, and its words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.comments: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def page(session: ReportData) -> str:
    return html_report(session, final_report(session))


def figures(session: ReportData) -> dict[str, Figure]:
    return {figure.title.partition(":")[0]: figure for figure in figures_of(session, groups_of(session.records))}


def of_two_models() -> ReportData:
    second = [
        record.model_copy(update={"number": record.number + 6, "scores": {**record.scores, "hope": 0.75}})
        for record in records("b/two")
    ]
    return data(experiment=experiment("vendor/model-1", "b/two"), records=(*data().records, *second))


def with_framework(**changes: Any) -> ReportData:
    return data(framework=FRAMEWORK.model_copy(update=changes))


def test_the_same_session_gives_the_same_page_to_the_byte() -> None:
    assert page(of_two_models()) == page(of_two_models())


def test_every_line_of_the_markdown_report_is_on_the_page() -> None:
    markdown = final_report(of_two_models())
    shown = Page(page(of_two_models())).text
    for line in markdown.splitlines():
        for cell in line.split("|"):
            plain = " ".join(unescape(re.sub(r"[*`]|^#+ |^> |^ *- ", "", cell.strip())).split())
            if not re.fullmatch(r"[-: ]*", plain):
                assert plain in shown, line


def test_the_first_page_says_that_nothing_was_validated_before_anything_else_is_told() -> None:
    shown = Page(page(data())).text
    assert shown.index("Not validated against human coding.") < shown.index("What was run") < shown.index("Figures")


def test_the_contents_lead_to_each_section_and_all_ids_are_different() -> None:
    elements = Page(page(of_two_models())).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    leading = [str(attributes["href"]) for tag, attributes in elements if tag == "a"]
    sections = [attributes["id"] for tag, attributes in elements if tag == "h2" and "id" in attributes]
    assert leading == [f"#{key}" for key in sections]
    assert len(leading) == final_report(of_two_models()).count("\n## ") + 1  # the figures


def test_what_a_figure_uses_is_its_own() -> None:
    html = page(of_two_models())
    ids = set(re.findall(r'\bid="([^"]+)"', html))
    used = set(re.findall(r"url\(#([^)]+)\)", html)) | set(re.findall(r'xlink:href="#([^"]+)"', html))
    assert used
    assert used <= ids


def test_the_page_needs_nothing_else_and_forbids_itself_to_load_or_run_anything() -> None:
    html = page(of_two_models())
    elements = Page(html).elements
    assert not {tag for tag, _ in elements} & ACTIVE
    assert "default-src 'none'" in html
    addresses = [value for _, attributes in elements for name, value in attributes.items() if "href" in name]
    assert all(str(address).startswith("#") for address in addresses)
    assert not re.search(r"url\((?!#)|@import", html)


@pytest.mark.parametrize("hostile", [*HOSTILE, "$\\frac{1}{2}$", "a\x00b\x1b[31m", "]]>", "&amp;"])
def test_nothing_that_others_wrote_acts_on_the_page_or_in_a_figure(hostile: str) -> None:
    harmless = {(tag, name) for tag, found in Page(page(hostile_report("plain"))).elements for name in found}
    session = hostile_report(hostile)
    named = [
        record.model_copy(update={"model_requested": hostile, "variant": hostile, "document": hostile})
        for record in session.records[2:]
    ]
    dimensions = (Dimension(name="fear", label=hostile), Dimension(name="hope", label="Hope"))
    framework = session.framework.model_copy(update={"dimensions": dimensions})
    cost = (ModelCost(hostile, "analysis", 1, 1, 1, cost_usd=0.5),)
    bad = replace(session, framework=framework, records=(*session.records[:2], *named), costs=cost)
    found = Page(page(bad))
    assert not {tag for tag, _ in found.elements} & ACTIVE
    assert {(tag, name) for tag, own in found.elements for name in own} <= harmless
    assert found.comments == []


def test_a_figure_is_drawn_of_few_elements_says_what_it_shows_and_takes_the_pages_colours() -> None:
    for figure in figures(of_two_models()).values():
        root = ElementTree.fromstring(figure.svg)
        assert {element.tag.rpartition("}")[2].lower() for element in root.iter()} <= DRAWN
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"] == figure.title
        assert "currentColor" in figure.svg


def table_rows(markdown: str, heading: str, first: str) -> list[str]:
    """Return the cells of a row of the section's first table that has it."""
    part = markdown.partition(f"\n## {heading}\n")[2]
    line = next(line for line in part.splitlines() if line.startswith(f"| {first} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_figures_have_the_means_the_coefficients_and_the_intervals_of_the_tables() -> None:
    session = data(framework=CONSISTENT, records=tuple(readings()))
    report, drawn = final_report(session), figures(session)
    _, documents, mean, low, high = drawn["Dimension profile"].rows[0]
    told = table_rows(report, "Dimensions", "fear")
    assert (told[1], told[3], told[4]) == (f"{documents} of 8", mean, f"[{low}, {high}]")
    _, documents, value, low, high = drawn["Run-to-run consistency"].rows[0]
    told = table_rows(report, "Run-to-run consistency", "fear")
    assert (told[1], told[2]) == (documents, f"{value} [{low}, {high}]†")


def test_the_profile_has_no_interval_of_documents_too_few_to_draw_from() -> None:
    fear, hope = figures(data())["Dimension profile"].rows
    assert fear == ("Fear", "2", "0.600", NONE, NONE)
    assert hope == ("Hope", "3", "0.250", NONE, NONE)


def test_the_heatmap_has_a_row_for_each_document_and_a_dash_where_there_is_no_score() -> None:
    heatmap = figures(data())["Documents and dimensions"]
    assert heatmap.headings == ("document", "Fear", "Hope")
    assert heatmap.rows == (("d1", "0.500", "0.250"), ("d2", "0.700", "0.250"), ("d3", NONE, "0.250"))
    assert NONE in "".join(ElementTree.fromstring(heatmap.svg).itertext())


def test_agreement_is_shown_of_documents_read_twice_and_of_no_others() -> None:
    fear, hope = figures(data())["Agreement over runs"].rows
    assert fear == ("Fear", "2", "0.424", "0.424")  # the SD of 0.2 and 0.8, and of 0.4 and 1.0
    assert hope == ("Hope", "3", "0.000", "0.000")
    once = tuple(record for record in data().records if record.run == 1)
    assert "Agreement over runs" not in figures(data(records=once))


def test_an_offline_method_is_not_said_to_repeat_itself() -> None:
    caption = figures(data("offline/lexicon"))["Agreement over runs"].caption
    assert caption.startswith("Sentence-resampling stability.")


def test_of_very_many_documents_the_range_is_drawn_and_the_numbers_stay_the_same() -> None:
    one = data().records[0]
    many = [
        one.model_copy(update={"number": number, "document": f"d{number}", "scores": {"hope": number / 1000}})
        for number in range(1, STROKES + 2)
    ]
    fewer, more = (figures(data(records=tuple(some)))["Dimension profile"] for some in (many[:-1], many))
    assert fewer.svg.count("<use ") > STROKES > more.svg.count("<use ")
    assert [row[1] for row in more.rows] == ["0", str(STROKES + 1)]


def test_models_are_compared_where_there_are_several() -> None:
    assert "Models and variants compared" not in figures(data())
    rows = figures(of_two_models())["Models and variants compared"].rows
    hope = [(row[0].partition(",")[0], row[3]) for row in rows if row[1] == "Hope"]
    assert hope == [("vendor/model-1", "0.250"), ("b/two", "0.750")]


def test_dimensions_of_different_scales_are_drawn_by_their_place_and_listed_as_they_are() -> None:
    dimensions = (Dimension(name="fear", label="Fear", low=-1, high=3), FRAMEWORK.dimensions[1])
    profile = figures(with_framework(dimensions=dimensions))["Dimension profile"]
    assert profile.rows[0][2] == "0.600"
    assert "place on the dimension's own scale" in "".join(ElementTree.fromstring(profile.svg).itertext())


def test_a_cost_that_nobody_knows_is_not_drawn_as_none() -> None:
    known = ModelCost("a/one", "analysis", 3, 1, 1, cost_usd=0.25)
    unknown = ModelCost("b/two", "analysis", 4, 1, 1, cost_usd=None, unpriced=4)
    cost = figures(data(costs=(known, unknown)))["Cost by model and purpose"]
    assert [row[0] for row in cost.rows] == ["a/one"]
    assert "4 calls of unknown price are not in it." in cost.caption
    assert "Cost by model and purpose" not in figures(data(costs=(unknown,)))


def test_a_session_without_any_score_has_a_page_without_figures_of_scores() -> None:
    nothing = {"status": "parked", "scores": {}, "derived": {}, "labels": {}, "evidence": {}, "call": None}
    empty = data(records=tuple(record.model_copy(update=nothing) for record in data().records), costs=())
    assert figures(empty) == {}
    assert "Figures" not in Page(page(empty)).text


def test_figures_of_agreement_reach_as_far_for_every_model() -> None:
    steady = [
        record.model_copy(
            update={"number": record.number + 6, "scores": {"fear": 0.2 + record.run / 100, "hope": 0.25}}
        )
        for record in records("b/two")
    ]
    session = data(experiment=experiment("vendor/model-1", "b/two"), records=(*data().records, *steady))
    drawn = [one for one in figures_of(session, groups_of(session.records)) if one.title.startswith("Agreement over")]
    ticks = [re.findall(r">(0\.\d+)</text>", one.svg) for one in drawn]
    assert len(ticks) == 2
    assert ticks[0] == ticks[1]
    assert drawn[0].rows[0] != drawn[1].rows[0]
