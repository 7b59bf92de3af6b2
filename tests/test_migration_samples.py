"""The recorded trees of older programs, migrated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from discernus.migration.account import Account
from discernus.migration.migrate import migrate
from discernus.sessions.costs import sessions_of
from discernus.sessions.layout import Call
from tests.migrations import scores_of


@pytest.fixture(scope="module")
def projects(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Account]]:
    projects = tmp_path_factory.mktemp("samples")
    trees = {"A_soar_2_cff_poc": "soar", "E_ecf_validation_llm_archive": "ecf"}
    return projects, {to: migrate(shared / "legacy_sessions" / tree, projects, to) for tree, to in trees.items()}


class TestSamples:
    """The two recorded trees, against what was counted and read by hand."""

    def test_counts_are_those_that_were_counted(self, projects: tuple[Path, dict[str, Account]], shared: Path) -> None:
        _, accounts = projects
        expected = json.loads((shared / "legacy_sessions/EXPECTED.json").read_text())["folders"]
        soar, ecf = accounts["soar"], accounts["ecf"]
        assert soar.counts["files"] == expected["A_soar_2_cff_poc"]["files"]
        assert {one.name: (one.analyses, one.others) for one in soar.sessions} == {
            "session_20250711_230804": (0, 1),
            "session_20250712_063226": (0, 0),
            "session_20250712_071356": (0, 0),
            "session_20250712_125417": (8, 4),
            "session_20250712_131208": (0, 0),
        }
        table = expected["E_ecf_validation_llm_archive"]["sessions"]
        assert {(one.name, one.analyses, one.planned) for one in ecf.sessions} == {
            (one["session_id"], one["pairs"], one["expected_pairs"]) for one in table
        }
        assert ecf.counts["signatures valid"] == 45
        events = {
            one["session_id"]: one["events"]
            for one in expected["E_ecf_validation_llm_archive"]["session_table"]["sessions_of_3_or_more_events"]
        }
        assert {one.id: sum(one.events.values()) for one in ecf.mentions if one.id in events} == {
            name: count for name, count in events.items() if name not in {one.name for one in ecf.sessions}
        }
        begun = [one for one in ecf.mentions if one.begun_by is not None]
        assert len(ecf.mentions) == 6  # of twelve, two have their answers here, and four are commands that began one
        assert len(begun) == 2
        (began,) = [one.began_at for one in soar.sessions if one.name == "session_20250712_063226"]
        assert str(began).startswith("2025-07-12T10:32:26")  # the logs beside it prove UTC-4
        assert soar.balanced
        assert ecf.balanced

    def test_every_text_has_the_hash_that_its_prompt_stated(self, projects: tuple[Path, dict[str, Account]]) -> None:
        assert all("with the hash" in where for where in projects[1]["ecf"].documents["ecf_validation"].values())

    def test_recovered_scores_are_those_that_were_read_by_hand(
        self, projects: tuple[Path, dict[str, Account]], shared: Path
    ) -> None:
        folder = shared / "llm_responses"
        index = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
        by_answer = {(folder / one["file"]).read_text(): one for one in index if one["scores"]}
        compared = set()
        for project in ("soar", "ecf"):
            for session in sessions_of(projects[0], project):
                for analysis in session.plan:
                    extracted = session.extracted(analysis.number)
                    found = session.archive.look_up(Call(analysis.number))
                    if extracted is None or found is None or found[1] not in by_answer:
                        continue
                    known = by_answer[found[1]]
                    compared.add(known["file"])
                    assert extracted.extraction.scores == pytest.approx(known["scores"], abs=1e-9)
                    assert extracted.extraction.confidence == pytest.approx(known["confidence"], abs=1e-9)
        assert len(compared) == 3

    def test_every_salvageable_analysis_has_all_its_scores(self, projects: tuple[Path, dict[str, Account]]) -> None:
        rows = [
            row
            for project in ("soar", "ecf")
            for session in sessions_of(projects[0], project)
            for row in scores_of(session)
            if row["answer_file"]
        ]
        assert [row["status"] for row in rows] == ["scored"] * 35
        assert {row["model_requested"] for row in rows} == {"unrecorded/unknown"}
