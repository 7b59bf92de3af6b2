"""The methods as run: what the session knows is counted, what only its author knows is a blank nobody overlooks."""

from __future__ import annotations

import re
from html import unescape

from discernus.reports.methods import methods
from tests.test_reports_final import data, records


def item(section: str, name: str) -> str:
    (line,) = [line for line in unescape(section).splitlines() if line.startswith(f"- **{name}")]
    return line.partition("**: ")[2]


def test_models_versions_days_and_routes_are_those_of_the_answers() -> None:
    first, second, *rest = records("vendor/model-1")
    first = first.model_copy(update={"model_answered": "model-1-0426", "answered_at": "2026-04-01T23:00:00.000+00:00"})
    second = second.model_copy(update={"answered_at": "2026-04-03T01:00:00.000+00:00", "route": "second_model"})
    parked = rest[0].model_copy(update={"status": "parked", "scores": {}, "call": None, "route": None})
    section = methods(data(records=(first, second, parked, *rest[1:])))
    assert item(section, "Models asked") == "vendor/model-1, answered as model-1-0426 (1) and vendor/model-1 (4)."
    assert item(section, "Days") == "2026-04-01 to 2026-04-03 (UTC); of 3 answers the time is not known."
    assert item(section, "Counts").startswith("6 analyses planned, 5 answered, 5 read, 5 with a score")
    assert item(section, "How scores").startswith("4 as JSON in the form asked for; 1 by a second model")


def test_what_only_the_author_knows_is_a_blank() -> None:
    section = unescape(methods(data()))
    blanks = re.findall(r"\*\*\[to be stated by the author: [^]]+\]\*\*", section)
    assert len(blanks) >= 7
    for name in ("Purpose", "Texts", "Validation", "Exclusions", "Deviations", "Personal data", "Funding"):
        assert "[to be stated by the author" in item(methods(data()), name)


def test_a_seed_that_was_asked_for_is_told_and_an_offline_method_is_called_one() -> None:
    assert item(methods(data()), "Seeds") == "none was asked of a model."
    seeded = tuple(record.model_copy(update={"parameters": {"seed": 7}}) for record in data().records)
    assert item(methods(data(records=seeded)), "Seeds") == "7 asked of vendor/model-1."
    assert item(methods(data()), "Service") == "not recorded."
    assert item(methods(data("offline/lexicon")), "Service") == "none; no model was asked over a network."
    assert "(a dictionary method, no language model)" in item(methods(data("offline/lexicon")), "Models asked")
