"""Nothing that a model, a corpus or a vendor wrote acts in a report, on a page or on a terminal; all of it is read."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from discernus.reports.analysis_page import analysis_page
from discernus.reports.data import (
    AnsweringVersion,
    BudgetUse,
    CallInDoubt,
    Destination,
    FailureCount,
    ModelCost,
    ParkedAnalysis,
    ReportData,
    SessionFile,
    StandIn,
)
from discernus.reports.markdown import text
from discernus.reports.report import final_report
from discernus.sessions.archive import Archive
from discernus.sessions.layout import Call
from discernus.sessions.owners import Owner
from discernus.sessions.store import LocalStore
from tests.stand_ins import answer, question
from tests.test_reports_final import FRAMEWORK, TEXT, data

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    '<a href="javascript:alert(1)">here</a>',
    "[here](javascript:alert(1))",
    "[here][1]\n\n[1]: javascript:alert(1)",
    "![](https://tracker.example/1.png)",
    "<javascript:alert(1)>",
    "```\n</code></pre><script>alert(1)</script>",
    "``` html\n<script>alert(1)</script>\n```",
    "~~~\n<iframe src='https://evil.example'></iframe>",
    "`<b>` | <script>alert(1)</script> | `",
    "a cell | another | and | more",
    "\\| <script>alert(1)</script>",
    "\\<script\\>alert(1)\\</script\\>",
    "<!-- <script>alert(1)</script> -->",
    "--> <script>alert(1)</script>",
    "<!DOCTYPE html><style>*{display:none}</style>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;",
    "<?php evil ?> <![CDATA[<script>]]>",
    "# A heading\n\n## Limitations\n\nNone.",
    "\n\n---\n\n> quoted\n\n1. first\n2. second",
    "*bold* **bolder** _it_ ~~gone~~ <https://evil.example>",
)


class Acting(HTMLParser):
    """Gathers from HTML whatever would act, load or lead somewhere, and the words that are shown."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [f"{tag} {name}={value}" for name, value in attrs if name != "style"]  # a column's alignment

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.found.append(f"comment {data}")

    def handle_decl(self, decl: str) -> None:
        self.found.append(f"declaration {decl}")

    def handle_pi(self, data: str) -> None:
        self.found.append(f"instruction {data}")

    def unknown_decl(self, data: str) -> None:
        self.found.append(f"declaration {data}")


def rendered(markdown: str) -> Acting:
    """Return what a viewer makes of it that lets HTML through as it is."""
    viewer = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    acting = Acting()
    acting.feed(viewer.render(markdown))
    acting.close()
    return acting


PLAIN = rendered(final_report(data())).tags | rendered(analysis_page(data().records[0], FRAMEWORK, TEXT)).tags


def hostile_report(hostile: str) -> ReportData:
    """Return a session in which all that others write is hostile."""
    plain = data()
    bad = plain.records[0].model_copy(
        update={
            "model_answered": hostile,
            "labels": {"worldview": hostile},
            "evidence": {"hope": (hostile, TEXT)},
            "missing": {"fear": hostile},
            "derived_missing": {"balance": hostile},
        }
    )
    parked = plain.records[1].model_copy(update={"status": "parked", "reason": hostile, "scores": {}, "call": None})
    policy = plain.experiment.model_copy(update={"data_policy": None, "title": hostile})
    return replace(
        plain,
        experiment=policy,
        records=(bad, parked, *plain.records[2:]),
        parked=(ParkedAnalysis(2, "refusal", hostile),),
        in_doubt=(CallInDoubt("004", hostile, "2026-01-01T00:00:00Z", hostile),),
        costs=(ModelCost(hostile, "analysis", 1, 1, 1),),
        price_sources={hostile: (hostile,)},
        budgets=(BudgetUse("project", hostile, 1.0, 0.5),),
        advice=(hostile,),
        stand_ins=(StandIn("analysis", hostile, hostile, 1, 2, {hostile: 1}),),
        answering_versions=tuple(AnsweringVersion("m", hostile, f"00{n}", "2026-01-01T00:00:00", 1) for n in (1, 2)),
        failures=(FailureCount("refusal", hostile, 1, {"parked": 1}),),
        destinations=(Destination(hostile, hostile, hostile, "the call"),),
        limits=(hostile,),
        versions={"discernus": hostile},
        files=(SessionFile(hostile, "a" * 64),),
        warnings=(hostile,),
    )


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_that_others_wrote_acts_in_a_report(hostile: str) -> None:
    acting = rendered(final_report(hostile_report(hostile)))
    assert acting.found == []
    assert acting.tags <= PLAIN
    assert " ".join(hostile.split()) in " ".join("".join(acting.words).split())  # and every character of it is shown


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_that_others_wrote_acts_on_a_page_and_no_table_falls_apart(hostile: str) -> None:
    page = analysis_page(hostile_report(hostile).records[0], FRAMEWORK, hostile)
    acting = rendered(page)
    assert acting.found == []
    assert acting.tags <= PLAIN
    for table in re.findall(r"(?:^\|.*\n?)+", page, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


@given(st.text(st.sampled_from("<>!-[]()`~*_#|\\&;:'\"/= \n\tax1.+{}$"), max_size=40))
def test_whatever_is_written_is_shown_as_it_is_and_forms_nothing(written: str) -> None:
    assert not set("<>`|[]*\\") & set(text(written))  # whatever a viewer's dialect makes of a backslash before them
    for line in (text(written), f"- {text(written)}", f"before {text(written)} after"):
        acting = rendered(line)
        assert acting.found == []
        assert acting.tags <= {"p", "ul", "li"}
        assert " ".join(written.split()) in " ".join("".join(acting.words).split())


def test_text_that_is_nothing_but_text_stays_readable_in_the_file_itself() -> None:
    for plain in (
        "fear_score",
        "we'll mend “the bridge”",
        '"so be it," he said; 5 + 5 = 10',
        "v1.5",
        "-0.25",
        "É 🜚 שלום",
    ):
        assert text(plain) == plain


def test_no_address_becomes_a_link_and_no_dollars_a_formula() -> None:
    assert (
        text("see https://evil.example or WWW.evil.example") == "see https:&#47;/evil.example or WWW&#46;evil.example"
    )
    assert text("$x$ costs 5") == "&#36;x&#36; costs 5"
    assert text("zero\u200bwidth\ufeff") == "zero\ufffdwidth\ufffd"
    assert text("a / b: c") == "a / b: c"


def test_a_terminal_is_told_nothing_and_no_line_is_turned_around() -> None:
    shown = text("red\x1b[31m\x07 back\u202e\u2066 \x9b2J")
    assert shown == "red\ufffd&#91;31m\ufffd back\ufffd\ufffd \ufffd2J"


def test_the_archive_keeps_an_answer_as_it_came(tmp_path: Path) -> None:
    archive = Archive(LocalStore(tmp_path / "session"))
    hostile = "\n".join(HOSTILE)
    with Owner(tmp_path / "owners") as owner:
        intent = archive.claim(Call(1), question(), "k", owner)
        archive.commit(Call(1), intent, question(), answer(hostile))
    assert archive.store.get(Call(1).response).decode() == hostile
