"""The steps of a session, given a model behind the gateway: what is judged, read, projected, calculated and sealed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from discernus.experiments.freezing import SnapshotDamaged
from discernus.llm import gateway
from discernus.sessions import layout
from discernus.sessions.calls import Calls, Complete
from discernus.sessions.layout import Call
from discernus.sessions.owners import Owner
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.analysis import Asked, TryAgain, analyse, extract_by_model
from discernus.stages.calculation import calculate
from discernus.stages.planning import read_plan
from discernus.stages.preflight import preflight
from discernus.stages.projection import project_tables
from discernus.stages.reading import Read, read_answer
from discernus.stages.records import session_records
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise
from tests.fake_vendor import FakeVendor
from tests.stand_ins import Model, failure, opened, question, scores

SETTINGS = Settings(retry_max_attempts=4, retry_base_delay_s=1.0, retry_max_delay_s=60.0)
PROSE = "The speaker is calm throughout; nothing more can be said."


class Desk:
    """A session, the model that answers it, and the calls between them; ``restart`` is another process."""

    def __init__(self, session: Session, owners: Path, model: Complete, minimum_free_bytes: int = 0) -> None:
        self.session = session
        self.model: Any = model
        self.owner = Owner(owners)
        self.calls = Calls(self.owner, model, minimum_free_bytes=minimum_free_bytes)

    async def ask(self, number: int = 1, ask: int = 0, *, again: bool = False) -> Asked:
        return await analyse(self.session, self.calls, SETTINGS, number, ask, again=again)

    async def ask_to_the_end(self, number: int = 1, *, again: bool = False, most: int = 50) -> tuple[Asked, int]:
        """Ask as the engine would, again after each passing failure; return how it ended and how often it waited."""
        for waited in range(most):
            try:
                return await self.ask(number, again=again), waited
            except TryAgain:
                continue
        raise AssertionError(f"still failing after {most} attempts")

    async def analyse_and_read(self, number: int) -> Read:
        await self.ask(number)
        return read_answer(self.session, number, 0, final=True)

    def restart(self, *says: Any) -> Desk:
        owners = self.owner.folder
        self.owner.close()
        return Desk(Session(self.session.folder), owners, Model(*says) if says else self.model)


def desk(tmp_path: Path, *says: Any, minimum_free_bytes: int = 0, **experiment: Any) -> Desk:
    return Desk(opened(tmp_path, **experiment), tmp_path / "owners", Model(*says), minimum_free_bytes)


def rows(session: Session) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(session.store.get(layout.RESULTS).decode("utf-8-sig"))))


# judging failures


async def test_a_passing_failure_is_tried_four_times_and_then_parked(tmp_path: Path) -> None:
    at = desk(tmp_path, failure("server_error"))
    outcome, waited = await at.ask_to_the_end()
    assert (outcome.status, outcome.passing, waited) == ("parked", True, 3)
    assert "(4 attempts)" in outcome.reason
    assert len(at.model.asked) == 4
    parked = at.session.parked(1)
    assert parked is not None
    assert (parked.error_class, parked.passing, parked.passes, parked.failures) == ("server_error", True, 1, 4)


async def test_attempts_are_counted_over_processes_since_the_archive_counts_them(tmp_path: Path) -> None:
    at = desk(tmp_path, failure("timeout"))
    asked = 0
    for _ in range(3):
        with pytest.raises(TryAgain):
            await at.ask()
        asked += len(at.model.asked)
        at = at.restart(failure("timeout"))
    outcome, waited = await at.ask_to_the_end()
    assert (outcome.status, waited, asked + len(at.model.asked)) == ("parked", 0, 4)


async def test_waiting_for_a_limit_or_an_overload_uses_up_no_attempts(tmp_path: Path) -> None:
    waits = [failure(name) for name in ("rate_limit", "overload") * 6]
    at = desk(tmp_path, *waits, failure("server_error"), failure("timeout"), *waits, failure("server_error"), scores())
    outcome, waited = await at.ask_to_the_end()
    assert (outcome.status, waited) == ("answered", 27)
    assert at.session.parked(1) is None


async def test_what_waiting_cannot_cure_is_parked_at_once_and_not_tried_again(tmp_path: Path) -> None:
    at = desk(tmp_path, failure("model_not_found"))
    first, second = await at.ask(), await at.ask()
    again = await at.ask(again=True)
    assert [outcome.status for outcome in (first, second, again)] == ["parked"] * 3
    assert not first.passing
    assert second.reason == first.reason
    assert len(at.model.asked) == 1


@pytest.mark.parametrize("error_class", ["authentication", "quota", "budget"])
async def test_what_only_a_person_can_mend_stops_the_session_and_parks_nothing(
    tmp_path: Path, error_class: str
) -> None:
    at = desk(tmp_path, failure(error_class), scores())
    stopped = await at.ask()
    assert (stopped.status, at.session.parked(1)) == ("stop", None)
    assert error_class in stopped.reason
    assert (await at.ask()).status == "answered"


async def test_a_full_disk_stops_the_session_before_anything_is_sent(tmp_path: Path) -> None:
    at = desk(tmp_path, scores(), minimum_free_bytes=2**62)
    stopped = await at.ask()
    assert stopped.status == "stop"
    assert "free where answers are archived" in stopped.reason
    assert at.model.asked == []


async def test_the_vendors_own_delay_is_kept_and_ours_doubles_up_to_its_limit(tmp_path: Path) -> None:
    at = desk(tmp_path, failure("rate_limit", retry_after_s=17), *[failure("overload")] * 9)
    delays = []
    for _ in range(10):
        with pytest.raises(TryAgain) as raised:
            await at.ask()
        delays.append(raised.value.delay_s)
    assert 17 <= delays[0] <= 17.25
    for delay, least in zip(delays[1:], (2, 4, 8, 16, 32, 60, 60, 60, 60), strict=True):
        assert least <= delay <= least * 1.25


async def test_a_call_under_way_elsewhere_is_looked_for_again_soon(tmp_path: Path) -> None:
    at = desk(tmp_path, scores())
    with Owner(tmp_path / "owners") as other:
        at.session.archive.claim(Call(1), question(), "k", other)
        with pytest.raises(TryAgain) as raised:
            await at.ask()
    assert (raised.value.error_class, raised.value.delay_s, at.model.asked) == ("under_way", 2.0, [])


async def test_a_damaged_answer_parks_its_analysis_and_costs_nothing(tmp_path: Path) -> None:
    at = desk(tmp_path, scores())
    await at.ask()
    at.session.store.put(Call(1).response, b"tampered with")
    outcome = await at.ask()
    assert (outcome.status, outcome.passing, len(at.model.asked)) == ("parked", False, 1)
    parked = at.session.parked(1)
    assert parked is not None
    assert parked.error_class == "archive_damaged"


async def test_the_one_more_pass_tries_four_times_more_and_is_the_last(tmp_path: Path) -> None:
    at = desk(tmp_path, failure("server_error"))
    await at.ask_to_the_end()
    assert (await at.ask()).status == "parked"
    assert len(at.model.asked) == 4
    outcome, waited = await at.ask_to_the_end(again=True)
    assert (outcome.status, waited, len(at.model.asked)) == ("parked", 3, 8)
    parked = at.session.parked(1)
    assert parked is not None
    assert (parked.passes, parked.failures) == (2, 8)
    await at.ask(again=True)
    assert len(at.model.asked) == 8


async def test_what_is_released_is_tried_afresh_and_forgotten_once_it_is_answered(tmp_path: Path) -> None:
    at = desk(tmp_path, failure("model_not_found"), *[failure("server_error")] * 3, scores())
    await at.ask()
    assert at.session.release_parked() == 1
    outcome, waited = await at.ask_to_the_end()
    assert (outcome.status, waited) == ("answered", 3)
    assert at.session.parked(1) is None
    assert at.session.release_parked() == 0


async def test_an_answer_that_came_after_all_counts_although_its_analysis_is_parked(tmp_path: Path) -> None:
    at = desk(tmp_path, failure("server_error"))
    await at.ask_to_the_end()
    parked = at.session.parked(1)
    assert parked is not None
    at.session.release_parked()
    other = at.restart(scores())
    await other.ask()
    other.session.park(parked)
    at = other.restart(scores(0.9))
    outcome = await at.ask()
    assert (outcome.status, outcome.reused, at.model.asked) == ("answered", True, [])
    assert at.session.parked(1) is None


# asking again, and the second model


async def test_an_unusable_answer_is_asked_for_twice_more_with_a_correction(tmp_path: Path) -> None:
    at = desk(tmp_path, PROSE, PROSE, scores(0.25))
    for ask in range(2):
        await at.ask(ask=ask)
        assert read_answer(at.session, 1, ask, final=False).next == "ask_again"
        assert at.session.extracted(1) is None
    await at.ask(ask=2)
    read = read_answer(at.session, 1, 2, final=True)
    assert (read.next, read.scored, set(read.scores)) == ("done", 10, {0.25})
    texts = [" ".join(message.content for message in asked.messages) for asked in at.model.asked]
    assert "could not be read" not in texts[0]
    assert "could not be read" in texts[1]
    assert at.session.store.names(layout.ARCHIVE).count("response_001_ask2.txt") == 1
    extracted = at.session.extracted(1)
    assert extracted is not None
    assert extracted.call == "001_ask2"


async def test_an_answer_that_is_usable_is_never_asked_for_again(tmp_path: Path) -> None:
    at = desk(tmp_path, scores(without=("urgency",)))
    await at.ask()
    read = read_answer(at.session, 1, 0, final=False)
    assert (read.next, read.scored) == ("done", 9)


async def test_of_all_asks_the_best_reading_is_kept(tmp_path: Path) -> None:
    at = desk(tmp_path, scores(0.1, without=("urgency",)), scores(0.2), PROSE)
    for ask in range(3):
        await at.ask(ask=ask)
    read = read_answer(at.session, 1, 2, final=True)
    extracted = at.session.extracted(1)
    assert extracted is not None
    assert (read.scored, extracted.call) == (10, "001_ask1")
    assert set(extracted.extraction.scores.values()) == {0.2}


async def test_an_answer_that_never_was_usable_ends_as_missing(tmp_path: Path) -> None:
    at = desk(tmp_path, PROSE, documents=1)
    for ask in range(3):
        await at.ask(ask=ask)
    read = read_answer(at.session, 1, 2, final=True)
    assert (read.next, read.scored, set(read.scores)) == ("done", 0, {None})
    assert seal(at.session).status == "partial"


VAGUE = "Of urgency there is 0.7 here, of patience 0.2; common cause I would put at 0.4."


async def test_what_structure_cannot_read_a_second_model_reads(tmp_path: Path) -> None:
    second = json.dumps({"scores": {"urgency": 0.7, "patience": 0.2, "common_cause": 0.4, "rivalry": 0.99}})
    at = desk(tmp_path, VAGUE, second, extraction_model="openai/reader")
    await at.ask()
    assert read_answer(at.session, 1, 0, final=False).next == "second_model"
    outcome = await extract_by_model(at.session, at.calls, SETTINGS, 1, 0)
    assert outcome.status == "answered"
    assert at.model.asked[1].model == "openai/reader"
    assert VAGUE in at.model.asked[1].messages[-1].content
    read = read_answer(at.session, 1, 0, final=False)
    extracted = at.session.extracted(1)
    assert extracted is not None
    assert (read.next, read.scored, extracted.second_call) == ("done", 3, "001_extraction")
    assert extracted.extraction.scores == {"urgency": 0.7, "patience": 0.2, "common_cause": 0.4}
    assert extracted.extraction.route == "second_model"
    assert at.session.store.exists(f"{layout.ARCHIVE}/response_001_extraction.txt")
    assert (await extract_by_model(at.session, at.calls, SETTINGS, 1, 0)).reused


async def test_a_second_model_that_cannot_be_had_leaves_the_first_reading_and_parks_no_analysis(tmp_path: Path) -> None:
    at = desk(tmp_path, VAGUE, failure("model_not_found"), extraction_model="openai/reader")
    await at.ask()
    assert (await extract_by_model(at.session, at.calls, SETTINGS, 1, 0)).status == "parked"
    assert at.session.parked(1) is None
    assert read_answer(at.session, 1, 0, final=True).next == "done"


# the same, with a vendor at the wire and the real gateway


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeVendor]:
    with FakeVendor(tmp_path_factory.mktemp("vendor")) as running:
        yield running


@pytest.fixture
def wired(vendor: FakeVendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    vendor.control(reset=True)
    for name, value in vendor.env().items():
        monkeypatch.setenv(name, value)
    return Desk(opened(tmp_path), tmp_path / "owners", gateway.complete)


async def test_a_vendors_answer_is_archived_and_read_and_asked_for_once(wired: Desk, vendor: FakeVendor) -> None:
    before = len(vendor.requests())
    assert not (await wired.ask()).reused
    assert (await wired.ask()).reused
    read = read_answer(wired.session, 1, 0, final=False)
    assert (read.next, read.scored) == ("done", 10)
    assert len(vendor.requests()) - before == 1
    (call,) = (found for found in [wired.session.archive.look_up(Call(1))] if found)
    assert call[0].model_answered == "scribe-2026-01-01"


async def test_a_vendors_refusals_are_waited_for_parked_or_stop_the_session(wired: Desk, vendor: FakeVendor) -> None:
    vendor.control(sequence=["rate_limit", "status_500", "status_404", "status_401"], retry_after_s=9)
    with pytest.raises(TryAgain) as limited:
        await wired.ask()
    assert limited.value.error_class == "rate_limit"
    assert 9 <= limited.value.delay_s <= 9.25
    with pytest.raises(TryAgain) as failed:
        await wired.ask()
    assert failed.value.error_class == "server_error"
    parked = await wired.ask()
    assert (parked.status, parked.passing) == ("parked", False)
    assert (await wired.ask(2)).status == "stop"
    assert (await wired.ask(2)).status == "answered"
    errors = [error["error_class"] for error in wired.session.archive.failures(Call(1))]
    assert errors == ["rate_limit", "server_error", "model_not_found"]
    assert vendor.env()["OPENAI_API_KEY"] not in wired.session.store.get(Call(2).error(1)).decode()


# the plan


async def test_the_plan_tells_what_is_done_parked_and_left(tmp_path: Path) -> None:
    at = desk(tmp_path, scores(), documents=3, runs=2)
    session = at.session
    await at.analyse_and_read(1)
    await at.ask(2)  # answered, and not read yet
    for number, error in ((3, "server_error"), (4, "model_not_found")):
        await at.restart(failure(error)).ask_to_the_end(number)
    stretch = read_plan(session, 1, 6, again=False)
    assert [todo.number for todo in stretch.todo] == [2, 5, 6]
    assert (stretch.done, stretch.parked, stretch.parked_passing) == (1, 2, 1)
    assert (stretch.cost_usd, stretch.unpriced) == (0.01, 0)
    assert [todo.number for todo in read_plan(session, 1, 6, again=True).todo] == [2, 3, 5, 6]
    assert [todo.number for todo in read_plan(session, 4, 5, again=False).todo] == [5]
    session.release_parked()
    assert [todo.number for todo in read_plan(session, 1, 6, again=False).todo] == [2, 3, 4, 5, 6]
    assert stretch.todo[0].label == "address-00002/scribe/run-1"


async def test_the_one_more_pass_takes_nothing_up_twice(tmp_path: Path) -> None:
    at = desk(tmp_path, failure("server_error"))
    await at.ask_to_the_end()
    await at.ask_to_the_end(again=True)
    stretch = read_plan(at.session, 1, 1, again=True)
    assert (stretch.todo, stretch.parked, stretch.parked_passing) == ((), 1, 0)


async def test_a_damaged_answer_hides_no_plan_and_no_table_and_its_numbers_are_not_reported(tmp_path: Path) -> None:
    at = desk(tmp_path, scores())
    await at.analyse_and_read(1)
    await at.analyse_and_read(2)
    assert seal(at.session).status == "complete"
    at.session.store.put(Call(1).response, scores(0.9).encode())
    session = at.restart().session
    stretch = read_plan(session, 1, 2, again=False)
    assert (stretch.done, stretch.unpriced) == (2, 1)
    calculate(session)
    synthesise(session)
    by_number = {row["analysis"]: row for row in rows(session)}
    assert by_number["1"]["urgency_score"] == ""
    assert by_number["2"]["urgency_score"] == "0.5"
    damaged, whole = session_records(session)
    assert (damaged.status, whole.status) == ("parked", "scored")
    assert damaged.reason.startswith("archive_damaged: ")
    assert (seal(session).status, seal(session).scored) == ("partial", 1)


async def test_metadata_that_cannot_be_read_stops_no_report(tmp_path: Path) -> None:
    at = desk(tmp_path, scores())
    await at.analyse_and_read(1)
    await at.analyse_and_read(2)
    at.session.store.put(Call(1).metadata, b'{"torn')
    calculate(at.session)
    synthesise(at.session)
    sealed = seal(at.session)
    assert (sealed.status, sealed.scored, sealed.cost_usd) == ("partial", 1, 0.01)


def test_preflight_names_the_frozen_file_that_is_not_what_was_frozen(tmp_path: Path) -> None:
    session = opened(tmp_path)
    preflight(session, Settings(projects_dir=session.folder.parents[4]))
    session.store.put("corpus/address-00002.txt", b"another text")
    with pytest.raises(SnapshotDamaged, match=r"corpus/address-00002\.txt"):
        preflight(Session(session.folder), Settings(projects_dir=session.folder.parents[4]))


# tables


async def test_results_grow_by_a_row_for_each_analysis_that_is_read(tmp_path: Path) -> None:
    at = desk(tmp_path, scores(), documents=3)
    assert project_tables(at.session)[0] == 0
    assert rows(at.session) == []
    inode = at.session.folder.joinpath(layout.RESULTS).stat().st_ino
    for number in (2, 1, 3):
        await at.analyse_and_read(number)
        project_tables(at.session)
    assert project_tables(at.session)[0] == 3
    assert [row["analysis"] for row in rows(at.session)] == ["2", "1", "3"]
    assert at.session.folder.joinpath(layout.RESULTS).stat().st_ino == inode  # appended to, not written anew


@pytest.mark.parametrize("left", [b"number,docu", b"number\n1\n2\n", b""])
async def test_a_table_that_is_not_as_it_was_left_is_written_anew(tmp_path: Path, left: bytes) -> None:
    at = desk(tmp_path, scores())
    await at.analyse_and_read(1)
    project_tables(at.session)
    whole = at.session.store.get(layout.RESULTS)
    at.session.store.put(layout.RESULTS, left)
    project_tables(at.session)
    assert at.session.store.get(layout.RESULTS) == whole


async def test_a_torn_last_row_is_nothing_that_anybody_appends_to(tmp_path: Path) -> None:
    at = desk(tmp_path, scores())
    await at.analyse_and_read(1)
    project_tables(at.session)
    torn = at.session.store.get(layout.RESULTS)[:-9]
    at.session.store.put(layout.RESULTS, torn)
    at = at.restart(scores())
    await at.analyse_and_read(2)
    project_tables(at.session)
    assert [row["analysis"] for row in rows(at.session)] == ["1", "2"]
    assert all(row["urgency_score"] == "0.5" for row in rows(at.session))


async def test_two_writers_in_turn_leave_each_row_once(tmp_path: Path) -> None:
    at = desk(tmp_path, scores(), documents=4)
    other = Session(at.session.folder)
    for number, session in enumerate([at.session, other, at.session, other], start=1):
        await at.analyse_and_read(number)
        project_tables(session)
    assert sorted(row["analysis"] for row in rows(at.session)) == ["1", "2", "3", "4"]


async def test_calculating_twice_changes_nothing(tmp_path: Path) -> None:
    at = desk(tmp_path, scores(), scores(0.3))
    await at.analyse_and_read(1)
    calculate(at.session)
    tables = (layout.RESULTS, layout.DICTIONARY, layout.CALL_LOG, layout.EXTRACTION_LOG)
    before = [at.session.store.get(name) for name in tables]
    calculate(Session(at.session.folder))
    assert [at.session.store.get(name) for name in tables] == before


async def test_missing_is_missing_everywhere(tmp_path: Path) -> None:
    at = desk(tmp_path, scores(0.5, without=("urgency",), patience=None), failure("model_not_found"), documents=3)
    await at.analyse_and_read(1)
    await at.ask(2)
    calculate(at.session)
    first, second, third = rows(at.session)
    assert (first["urgency_score"], first["patience_score"], first["rivalry_score"]) == ("", "", "0.5")
    assert first["steadiness"] == ""
    assert {row["rivalry_score"] for row in (second, third)} == {""}
    assert "model_not_found" in str(second)
    assert "not analysed yet" in str(third)


# the seal


async def test_a_session_that_has_not_changed_keeps_its_seal(tmp_path: Path) -> None:
    at = desk(tmp_path, scores())
    await at.analyse_and_read(1)
    first = seal(at.session)
    assert first.gaps["not_analysed"] == [2]
    assert (first.version, first.status, first.scored, first.parked) == (1, "partial", 1, 0)
    again = seal(Session(at.session.folder))
    assert (again.version, again.root_sha256) == (1, first.root_sha256)
    await at.analyse_and_read(2)
    second = seal(at.session)
    assert (second.version, second.status, second.scored) == (2, "complete", 2)
    assert second.root_sha256 != first.root_sha256
    assert json.loads(at.session.store.get(layout.seal(1)))["root_sha256"] == first.root_sha256
    assert at.session.noted_status()[0] == "complete"


async def test_a_seal_has_the_hash_of_every_file_but_those_that_go_on_changing(tmp_path: Path) -> None:
    at = desk(tmp_path, scores(), documents=1)
    await at.analyse_and_read(1)
    (at.session.folder / "logs").mkdir()
    (at.session.folder / "logs/operational.jsonl").write_text("{}\n")
    (at.session.folder / "llm_archive/.tmp-0123").write_text("half")
    sealed = seal(at.session)
    files = json.loads(at.session.store.get(layout.seal(sealed.version)))["files"]
    assert {"experiment_snapshot.md", "llm_archive/response_001.txt", "extracted/extracted_001.json"} <= set(files)
    assert not [name for name in files if name.startswith("logs/") or ".tmp-" in name or "seal_" in name]
    (at.session.folder / "logs/operational.jsonl").write_text("{}\n{}\n")
    assert seal(at.session).version == 1


async def test_a_call_in_doubt_is_counted_in_the_seal(tmp_path: Path) -> None:
    at = desk(tmp_path, scores(), documents=1)
    with Owner(tmp_path / "owners") as dead:
        intent = at.session.archive.claim(Call(1), question(), "k", dead)
    assert intent.deadline > datetime.now(UTC) + timedelta(seconds=60)
    await at.analyse_and_read(1)
    assert (seal(at.session).status, seal(at.session).in_doubt) == ("complete", 1)
