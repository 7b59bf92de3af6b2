"""Answers that could not be read as they stand: counted by model and variant, and told where there are many."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from cli.ending import end
from discernus.audit.audit import audit
from discernus.reports.overview import opening
from discernus.reports.readability import Reading, readability, section
from discernus.reports.report import final_report
from discernus.sessions import layout
from discernus.sessions.progress import ProgressReader
from discernus.sessions.session import Session
from discernus.stages.alerts import alerts_of
from discernus.statistics.proportions import wilson_interval
from tests.stand_ins import Model, opened, scores
from tests.test_checkpoints import answer_all, close
from tests.test_reports_final import cells, data, experiment, records

USELESS = "I would rather not say anything about this text."


def test_the_interval_of_a_share_is_wilsons() -> None:
    low, high = wilson_interval(81, 263)  # Newcombe (1998), Stat. Med. 17, table I: .2553 to .3662
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson_interval(0, 20)[0] == 0.0
    assert round(wilson_interval(0, 20)[1], 4) == 0.1611  # the same table


def test_each_model_and_variant_is_counted_by_itself_with_the_answers_that_were_asked_for_again() -> None:
    readings = [
        Reading("a/one", "default", 2, "contract_json", scored=True),
        Reading("a/one", "default", 0, "repaired_json", scored=True),
        Reading("a/one", "default", 0, None, scored=False),
        Reading("a/one", "brief", 0, "outline", scored=True),
        Reading("b/two", "default", 0, "second_model", scored=True),
        Reading("offline/lexicon", "default", 0, "contract_json", scored=True),
    ]
    first, brief, second = readability(readings)
    assert (first.answers, first.failed, first.repaired, first.troubled) == (5, 3, 1, 4)
    assert (brief.variant, brief.by_rules, brief.troubled) == ("brief", 1, 0)
    assert (second.model, second.by_model, second.share) == ("b/two", 1, 0.0)
    assert first.alarming(0.79)
    assert not first.alarming(0.8)


def report_of(*routes: str, threshold: float = 0.1) -> tuple[str, str]:
    """Return the opening and the section of a session whose answers were read this way."""
    read = tuple(
        record.model_copy(update={"route": route}) for record, route in zip(records("v/m"), routes, strict=True)
    )
    made = data(records=read, experiment=experiment("v/m").model_copy(update={"extraction_alert": threshold}))
    return unescape(opening(made, [])), unescape(section(read, threshold) or "")


def test_an_alert_stands_on_the_first_page_with_its_interval_and_only_above_the_threshold() -> None:
    routes = ("contract_json",) * 5 + ("repaired_json",)
    first, whole = report_of(*routes)
    said = "f 6 answers of v/m, variant default, 1 gave no score or had to be repaired: 16.7 % (95 % interval"
    assert f"**Warning:** o{said}" in first
    assert f"**Warning:** O{said} 3 % to 56.4 %), more than 10 %." in whole
    assert cells(whole, "v/m")[2:7] == ["6", "0", "1", "16.7 %", "3 % to 56.4 %"]
    quiet, table = report_of(*routes, threshold=0.2)
    assert "Warning" not in quiet + table
    assert "above 20 %" in table


def test_of_a_dictionary_method_there_is_nothing_to_read() -> None:
    assert section(records("offline/lexicon"), 0.1) is None
    assert "## Reading of answers" not in final_report(data("offline/lexicon"))


class Shown:
    def __init__(self) -> None:
        self.ended: dict[str, Any] = {}

    def end(self, said: dict[str, Any]) -> None:
        self.ended = said


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Session:
    session = opened(tmp_path_factory.mktemp("study"), documents=4, models=["openai/scribe"])
    answer_all(session, Model(scores(), scores(), USELESS, scores()[:-1]))
    close(session)
    return session


def test_ending_report_and_audit_say_the_same(troubled: Session) -> None:
    (said,) = alerts_of(troubled)
    shown: Any = Shown()
    end(ProgressReader(troubled, None).read(), troubled, shown)
    assert f"warning: {said}" in shown.ended["lines"]
    assert shown.ended["alerts"] == [said]
    assert f"of {len(troubled.plan)} answers" in said
    assert said in unescape(troubled.store.get(layout.REPORT).decode())
    (check,) = [one for one in audit(troubled).checks if one.name == "Readable answers"]
    assert check.verdict == "attention"
    assert [place.what for place in check.places] == [said]


def test_a_session_whose_answers_can_be_read_has_no_alert(tmp_path: Path) -> None:
    session = opened(tmp_path, models=["openai/scribe"])
    assert alerts_of(session) == []
    answer_all(session, Model(scores()))
    close(session)
    assert alerts_of(session) == []
    (check,) = [one for one in audit(session).checks if one.name == "Readable answers"]
    assert check.verdict == "pass"
    assert json.loads(session.store.get(layout.EXTRACTION_LOG).decode().splitlines()[0])["route"] == "contract_json"
