"""final_report.html: the Markdown report as one page that needs nothing else, with figures beside its tables.

Every sentence and number outside the figures is the Markdown report's own. What came of Markdown is sanitised again,
whatever was disarmed before; only then do figures and contents come in, which code alone has written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING

from discernus.reports.data import ReportData
from discernus.reports.figures import Figure, figures_of
from discernus.reports.groups import groups_of

if TYPE_CHECKING:
    from markdown_it.token import Token

AFTER = "Methods as run"  # the section that the figures follow
_TAGS = {
    *("h1", "h2", "h3", "h4", "p", "ul", "ol", "li", "blockquote", "strong", "em", "code", "pre", "br", "hr"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
_ATTRIBUTES = {"h2": {"id"}, "th": {"class"}, "td": {"class"}}
# Nothing is loaded and nothing runs, even if something had come through.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def html_report(data: ReportData, markdown: str) -> str:
    """Return the page; ``markdown`` is the final report of the same data."""
    tokens, headings = _parsed(markdown)
    figures = figures_of(data, groups_of(sorted(data.records, key=lambda record: record.number)))
    begin, place = _place(tokens, None), _place(tokens, AFTER)
    if figures:
        at = next((at for at, (_, title) in enumerate(headings) if title == AFTER), -1)
        headings.insert(at + 1, ("figures", "Figures"))
    title = " ".join((data.experiment.title or data.experiment.name).split())
    shown = [_sanitised(tokens[:begin]), _contents(headings), _sanitised(tokens[begin:place])]
    return _page(title, [*shown, _figures(figures), _sanitised(tokens[place:])])


def page_of(title: str, markdown: str) -> str:
    """Return any page of Markdown, made by code from disarmed text, as a page that needs nothing else."""
    tokens, _ = _parsed(markdown)
    return _page(title, [_sanitised(tokens)])


def _page(title: str, parts: Sequence[str]) -> str:
    style = files("discernus.reports").joinpath("report.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{style}</style>",
            "</head>",
            "<body>",
            "<main>",
            *parts,
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _parsed(markdown: str) -> tuple[list[Token], list[tuple[str, str]]]:
    """Return the report's tokens, its sections' headings with ids, and these with their titles, in order."""
    from markdown_it import MarkdownIt  # heavy enough that only a report should load it

    tokens = MarkdownIt("commonmark", {"html": False}).enable("table").parse(markdown)
    headings: list[tuple[str, str]] = []
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.tag == "h2":
            title = _plain(inline)
            key = f"{len(headings) + 1}-{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')}"
            token.attrSet("id", key)
            headings.append((key, title))
        elif token.type in ("th_open", "td_open") and "right" in str(token.attrs.pop("style", "")):
            token.attrSet("class", "number")
    return tokens, headings


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())


def _place(tokens: Sequence[Token], section: str | None) -> int:
    """Return where the section ends, the opening without one: at the next heading, or at the very end."""
    headings = [at for at, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h2"]
    titles = [None, *(_plain(tokens[at + 1]) for at in headings)]
    after = titles.index(section) if section in titles else len(headings)
    return headings[after] if after < len(headings) else len(tokens)


def _sanitised(tokens: Sequence[Token]) -> str:
    import nh3
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark").renderer
    html = renderer.render(tokens, MarkdownIt("commonmark").options, {})
    clean = nh3.clean(html, tags=_TAGS, attributes=_ATTRIBUTES, url_schemes=set(), link_rel=None)
    # A wide table scrolls by itself; what anybody wrote can hold no tag by now.
    return clean.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")


def _contents(headings: Sequence[tuple[str, str]]) -> str:
    items = "\n".join(f'<li><a href="#{escape(key)}">{escape(title)}</a></li>' for key, title in headings)
    return f'<nav aria-label="Contents">\n<h2>Contents</h2>\n<ol>\n{items}\n</ol>\n</nav>'


def _figures(figures: Sequence[Figure]) -> str:
    if not figures:
        return ""
    return '<h2 id="figures">Figures</h2>\n' + "\n".join(
        _figure(number, figure) for number, figure in enumerate(figures, start=1)
    )


def _figure(number: int, figure: Figure) -> str:
    return (
        f"<figure>\n{figure.svg}\n<figcaption><strong>Figure {number}. {escape(figure.title)}.</strong> "
        f"{escape(figure.caption)}</figcaption>\n<details>\n<summary>The numbers of figure {number}</summary>\n"
        f"{_table(figure.headings, figure.rows)}\n</details>\n</figure>\n"
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in headings)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    table = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return f'<div class="wide">{table}</div>'
