"""What went wrong with calls, counted: each failure once, with what was done about it, from the sessions' folders."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.exits import COMPLETE, CommandError
from cli.failures import errors
from cli.tables import Column, read_period, table
from discernus.llm.calls import ModelAnswer, ModelRequest
from discernus.llm.errors import CallFailed
from discernus.sessions.archive import DEADLINE_GRACE_S
from discernus.sessions.calls import Calls
from discernus.sessions.failures import Failure, failures_of, group, summary
from discernus.sessions.layout import Call
from discernus.sessions.opening import HIDDEN
from discernus.sessions.owners import Onlooker, Owner
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.analysis import Asked, TryAgain, analyse, extract_by_model
from discernus.stages.reading import read_answer
from tests.stand_ins import Model, answer, failure, opened, question, scores

SETTINGS = Settings(retry_max_attempts=4)
PROSE = "The speaker is calm throughout; nothing more can be said."
VAGUE = "Of urgency there is 0.7 here, of patience 0.2; common cause I would put at 0.4."
BROKEN = scores(0.5).replace(": 0.5,", ": 0.5", 1)


class Answering:
    """A model behind the gateway that gives one text, with whatever else is to be said of the answer."""

    def __init__(self, text: str, **more: Any) -> None:
        self.text, self.more = text, more

    async def __call__(self, request: ModelRequest, *, idempotency_key: str) -> ModelAnswer:
        return answer(self.text, model=request.model, **self.more)


class Study:
    """A session with the models that answer its calls; ``owners`` is where those at work can be seen."""

    def __init__(self, tmp_path: Path, **experiment: Any) -> None:
        self.session = opened(tmp_path, **experiment)
        self.settings = Settings(projects_dir=tmp_path / "projects")
        self.owners = tmp_path / "projects" / HIDDEN / "owners"

    async def ask(self, number: int, *says: Any, ask: int = 0) -> Asked:
        """Have an analysis answered by a model that says these things, in order, tried again until that is over."""
        model = says[0] if isinstance(says[0], Answering) else Model(*says)
        with Owner(self.owners) as owner:
            calls = Calls(owner, model, minimum_free_bytes=0)
            while True:
                try:
                    return await analyse(self.session, calls, SETTINGS, number, ask)
                except TryAgain:
                    if isinstance(model, Model) and len(model.asked) == len(model.says):
                        return Asked("held")

    async def read(self, number: int, *says: Any, ask: int = 0, final: bool = False) -> None:
        """The same, and read what was answered."""
        await self.ask(number, *says, ask=ask)
        read_answer(self.session, number, ask, final=final)

    async def call(self, call: Call, says: Any, model: str) -> None:
        """Make a call to any model."""
        request = question().model_copy(update={"model": model})
        with Owner(self.owners) as owner:
            complete = says if isinstance(says, Answering) else Model(says)
            calls = Calls(owner, complete, minimum_free_bytes=0)
            try:
                await calls.obtain(self.session.archive, self.session.name, call, "k", request)
            except CallFailed:
                return

    def failures(self) -> tuple[Failure, ...]:
        return failures_of(Session(self.session.folder), Onlooker(self.owners))

    def found(self) -> list[tuple[str, str, str]]:
        """Return the call, the class and the outcome of each failure."""
        return sorted((str(one.call), one.error_class, one.outcome) for one in self.failures())

    def backdate(self, call: Call, attempt: int, at: datetime) -> None:
        """Move a failure to another time."""
        error = json.loads(self.session.store.get(call.error(attempt)))
        self.session.store.put(call.error(attempt), json.dumps({**error, "at": at.isoformat()}).encode())


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


# attempts that brought no answer


async def test_where_nothing_went_wrong_nothing_is_found(study: Study) -> None:
    await study.read(1, scores())
    await study.read(2, f"Here it is:\n```json\n{scores()}\n```")
    assert study.failures() == ()


async def test_what_was_waited_out_is_recovered_after_so_many_attempts_and_seconds(study: Study) -> None:
    await study.read(1, failure("rate_limit"), failure("server_error"), scores())
    study.backdate(Call(1), 1, datetime.now(UTC) - timedelta(seconds=90))
    first, second = study.failures()
    assert [(one.error_class, one.outcome) for one in (first, second)] == [
        ("rate_limit", "recovered"),
        ("server_error", "recovered"),
    ]
    assert (first.attempt, first.first, first.answered_attempt) == (1, True, 3)
    assert (second.attempt, second.first, second.answered_attempt) == (2, False, 3)
    assert first.answered_after_s is not None
    assert 89 < first.answered_after_s < 120
    assert first.model == "openai/scribe"


async def test_what_is_parked_says_so_for_each_of_its_attempts(study: Study) -> None:
    assert (await study.ask(1, failure("timeout"), failure("server_error"))).status == "held"
    assert [one.outcome for one in study.failures()] == ["pending", "pending"]
    assert (await study.ask(1, failure("server_error"), failure("server_error"))).status == "parked"
    assert Counter((one.error_class, one.outcome) for one in study.failures()) == {
        ("timeout", "parked"): 1,
        ("server_error", "parked"): 3,
    }


async def test_what_was_parked_and_answered_after_all_is_recovered(study: Study) -> None:
    await study.ask(1, *[failure("server_error")] * 4)
    study.session.release_parked()
    assert {one.outcome for one in study.failures()} == {"pending"}
    await study.read(1, scores())
    assert [(one.outcome, one.answered_attempt) for one in study.failures()] == [("recovered", 5)] * 4


async def test_what_stops_a_session_says_so_until_it_is_mended(study: Study) -> None:
    assert (await study.ask(1, failure("quota"))).status == "stop"
    assert study.found() == [("001", "quota", "stopped the session")]
    await study.read(1, scores())
    assert study.found() == [("001", "quota", "recovered")]


async def test_a_call_that_another_model_answered_fell_back(study: Study) -> None:
    await study.ask(1, failure("model_not_found"))
    study.session.unpark(1)
    await study.call(Call(1, fallback=1), failure("permission"), "openai/second")
    await study.call(Call(1, fallback=2), scores(), "openai/third")
    read_answer(study.session, 1, 0, final=True, fallback=2)
    assert study.found() == [("001", "model_not_found", "fell back"), ("001_fallback1", "permission", "fell back")]
    assert {one.model for one in study.failures()} == {"openai/scribe", "openai/second"}


# calls in doubt


async def test_a_call_whose_process_died_is_in_doubt_until_it_is_answered(study: Study) -> None:
    with Owner(study.owners) as owner:
        study.session.archive.claim(Call(1), question(), "k", owner)
        assert study.failures() == ()  # it is under way
    assert study.found() == [("001", "in_doubt", "pending")]
    (doubtful,) = study.failures()
    assert "may have been paid for" in doubtful.message
    assert not doubtful.first
    await study.read(1, scores())
    assert study.found() == [("001", "in_doubt", "recovered")]


async def test_without_anybody_who_knows_the_living_what_is_not_settled_is_in_doubt(study: Study) -> None:
    with Owner(study.owners) as owner:
        study.session.archive.claim(Call(1), question(), "k", owner)
        assert [one.error_class for one in failures_of(study.session)] == ["in_doubt"]


async def test_a_living_process_whose_time_is_over_leaves_its_call_in_doubt(study: Study) -> None:
    late = -timedelta(minutes=1).total_seconds() - DEADLINE_GRACE_S
    with Owner(study.owners) as owner:
        study.session.archive.claim(Call(1), question(timeout_s=late), "k", owner)
        assert study.found() == [("001", "in_doubt", "pending")]


# answers that could not be used as they were


async def test_an_unusable_answer_that_was_asked_again_is_counted_once_for_each_ask(study: Study) -> None:
    await study.read(1, PROSE)
    assert study.failures() == ()  # nobody has judged it yet
    await study.read(1, PROSE, ask=1)
    assert study.found() == [("001", "invalid_structure", "pending")]
    await study.read(1, scores(), ask=2)
    assert study.found() == [
        ("001", "invalid_structure", "asked again"),
        ("001_ask1", "invalid_structure", "asked again"),
    ]


async def test_an_analysis_that_never_had_a_usable_answer_gave_nothing(study: Study) -> None:
    for ask in range(3):
        await study.read(1, PROSE, ask=ask, final=ask == 2)
    assert study.found() == [(name, "invalid_structure", "gave nothing") for name in ("001", "001_ask1", "001_ask2")]


async def test_a_refusal_is_counted_as_one(study: Study) -> None:
    await study.read(1, "I am sorry, but I cannot help with that.")
    await study.read(2, Answering("", finish_reason="content_filter"))
    assert study.found() == [("001", "refusal", "gave nothing"), ("002", "refusal", "gave nothing")]


async def test_broken_json_that_was_mended_is_repaired(study: Study) -> None:
    await study.read(1, BROKEN)
    assert study.found() == [("001", "invalid_structure", "repaired")]
    assert "was repaired" in study.failures()[0].message


async def test_an_answer_cut_off_after_its_scores_is_used_as_it_was(study: Study) -> None:
    await study.read(1, Answering(f"{scores()}\nAnd one more thing", finish_reason="length"))
    assert study.found() == [("001", "truncated", "used as it was")]
    assert "raise max_tokens" in study.failures()[0].message


@pytest.mark.parametrize(
    ("marks", "error_class"),
    [
        (("truncated", "runaway"), "runaway"),
        (("oversized",), "runaway"),
        (("truncated",), "truncated"),
        (("refusal", "truncated"), "refusal"),
        (("no_text",), "malformed_answer"),
    ],
)
async def test_what_validation_marked_is_counted_once_by_what_tells_most(
    study: Study, marks: tuple[str, ...], error_class: str
) -> None:
    await study.read(1, Answering(scores(), marks=marks))
    await study.read(2, Answering(scores(), marks=("active_content",)))  # nothing failed
    assert study.found() == [("001", error_class, "used as it was")]


async def test_an_answer_that_a_second_model_read_says_so_and_one_it_could_not_have_is_done_without(
    tmp_path: Path,
) -> None:
    study = Study(tmp_path, extraction_model="openai/reader")
    second = json.dumps({"scores": {"urgency": 0.7, "patience": 0.2, "common_cause": 0.4}})
    for number, reader in ((1, Answering(second, finish_reason="length")), (2, Model(failure("bad_request")))):
        await study.read(number, VAGUE)
        with Owner(study.owners) as owner:
            calls = Calls(owner, reader, minimum_free_bytes=0)
            await extract_by_model(study.session, calls, SETTINGS, number, 0)
        read_answer(study.session, number, 0, final=True)
    assert study.found() == [
        ("001", "invalid_structure", "read by a second model"),
        ("001_extraction", "truncated", "used as it was"),
        ("002", "invalid_structure", "gave nothing"),
        ("002_extraction", "bad_request", "done without"),
    ]


async def test_each_answer_that_a_second_model_was_to_read_is_its_own_matter(study: Study) -> None:
    await study.call(Call(1, "extraction"), failure("timeout"), "openai/reader")
    await study.call(Call(1, "extraction", ask=1), scores(), "openai/reader")
    await study.call(Call(1, "extraction", fallback=1, source=1), scores(), "openai/second-reader")
    assert study.found() == [("001_extraction", "timeout", "pending")]
    await study.call(Call(1, "extraction", fallback=1), scores(), "openai/second-reader")
    assert study.found() == [("001_extraction", "timeout", "fell back")]


async def test_prose_belongs_to_no_analysis(study: Study) -> None:
    await study.read(1, scores())
    await study.ask(2, failure("bad_request"))
    for number in (1, 2):
        await study.call(Call(number, "synthesis"), failure("timeout"), "openai/writer")
    assert study.found()[:1] == [("001_synthesis", "timeout", "pending")]
    assert study.found()[-1:] == [("002_synthesis", "timeout", "pending")]


async def test_an_answer_by_another_model_is_a_substitution_whatever_was_made_of_it(study: Study) -> None:
    await study.call(Call(1), Answering(scores(), substituted=True, model_answered="other-1"), "openai/scribe")
    assert study.found() == [("001", "substitution", "pending")]
    read_answer(study.session, 1, 0, final=True)
    assert study.found() == [("001", "substitution", "used as it was")]
    assert "'openai/scribe'" in study.failures()[0].message
    assert "'other-1' answered" in study.failures()[0].message


async def test_a_substitution_that_was_left_to_another_model_is_nothing_else_besides(study: Study) -> None:
    await study.call(Call(1), Answering(scores(), substituted=True, model_answered="other-1"), "openai/scribe")
    await study.call(Call(1, fallback=1), scores(), "openai/second")
    read_answer(study.session, 1, 0, final=True, fallback=1)
    assert study.found() == [("001", "substitution", "fell back")]


# an archive that does not hold what was archived


async def test_a_damaged_answer_is_found_by_its_hash_and_counted_once(study: Study) -> None:
    await study.ask(1, scores())
    await study.read(2, scores())
    study.session.store.put(Call(1).response, b"tampered with")
    study.session.store.put(Call(2).response, b"tampered with")
    assert study.found() == [("001", "archive_damaged", "pending"), ("002", "archive_damaged", "gave nothing")]
    assert {one.at for one in study.failures()} == {None}
    await study.ask(1, scores())
    (parked,) = [one for one in study.failures() if one.call == "001"]
    assert (parked.outcome, parked.model, parked.at is None) == ("parked", "openai/scribe", False)


async def test_an_answer_that_is_gone_though_it_was_read_is_damage(study: Study) -> None:
    await study.read(1, scores())
    study.session.store.remove(Call(1).response)
    (gone,) = study.failures()
    assert (gone.error_class, gone.outcome) == ("archive_damaged", "gave nothing")
    assert "response_001.txt is no longer in the archive" in gone.message


async def test_an_error_record_that_cannot_be_read_is_damage_and_hides_no_other(study: Study) -> None:
    await study.read(1, failure("overload"), failure("timeout"), scores())
    study.session.store.put(Call(1).error(1), b'{"call": "001"')
    assert study.found() == [("001", "archive_damaged", "recovered"), ("001", "timeout", "recovered")]


async def test_what_was_parked_without_any_failed_call_is_counted_by_its_reason(study: Study) -> None:
    await study.ask(1, failure("bad_request"))
    record = study.session.parked(1)
    assert record is not None
    study.session.park(record.model_copy(update={"number": 2, "call": "002", "error_class": "unreadable"}))
    assert study.found() == [("001", "bad_request", "parked"), ("002", "unreadable", "parked")]
    assert {one.model for one in study.failures()} == {"openai/scribe"}


# counting


async def test_failures_are_counted_by_what_is_asked_for(study: Study) -> None:
    await study.read(1, failure("rate_limit"), failure("timeout"), scores())
    await study.ask(2, failure("rate_limit"), failure("rate_limit"), failure("bad_request"))
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    for number, attempt, hours in ((1, 1, 0), (1, 2, 1), (2, 1, 0), (2, 2, 25), (2, 3, 25)):
        study.backdate(Call(number), attempt, noon + timedelta(hours=hours, minutes=7))
    every = study.failures()
    by_class = group(every, ("class",))
    assert [(one.error_class, one.count, one.outcomes) for one in by_class] == [
        ("rate_limit", 3, {"recovered": 1, "parked": 2}),
        ("bad_request", 1, {"parked": 1}),
        ("timeout", 1, {"recovered": 1}),
    ]
    assert (by_class[0].earliest_at, by_class[0].latest_at) == (
        noon + timedelta(minutes=7),
        noon + timedelta(hours=25, minutes=7),
    )
    assert (by_class[0].model, by_class[0].most_attempts, by_class[1].median_s) == (None, 3, None)
    assert [(one.day, one.count) for one in group(every, ("day",))] == [("2026-11-20", 3), ("2026-11-21", 2)]
    assert [(one.hour, one.error_class, one.count) for one in group(every, ("hour", "class"))] == [
        ("2026-11-20T12:00Z", "rate_limit", 2),
        ("2026-11-20T13:00Z", "timeout", 1),
        ("2026-11-21T13:00Z", "bad_request", 1),
        ("2026-11-21T13:00Z", "rate_limit", 1),
    ]
    assert [(one.error_class, one.model) for one in summary(study.session)] == [
        ("rate_limit", "openai/scribe"),
        ("bad_request", "openai/scribe"),
        ("timeout", "openai/scribe"),
    ]


async def test_the_share_counts_first_attempts_that_failed_in_passing_and_no_others(tmp_path: Path) -> None:
    study = Study(tmp_path, documents=6)
    await study.read(1, failure("rate_limit"), failure("timeout"), scores())  # counted once, recovered
    await study.ask(2, *[failure("server_error")] * 4)  # counted once, parked
    await study.ask(3, failure("bad_request"))  # not in passing
    await study.ask(4, failure("authentication"))
    await study.read(4, scores())  # answered, and not by trying again
    await study.ask(5, PROSE)
    await study.read(5, scores(), ask=1)  # its first attempt was answered
    with Owner(study.owners) as owner:
        study.session.archive.claim(Call(6), question(), "k", owner)  # nobody knows whether it failed
    await study.read(6, failure("timeout"), scores())
    groups = summary(study.session)
    assert (sum(one.first_failed for one in groups), sum(one.first_recovered for one in groups)) == (2, 1)


# the command


def said(capsys: pytest.CaptureFixture[str], study: Study, name: str | None = None, **more: Any) -> str:
    """Run the command and return what it wrote to its output."""
    asked: dict[str, Any] = {"since": None, "until": None, "by": "class,model", "form": "table", **more}
    assert errors(study.settings, name, **asked) == COMPLETE
    return capsys.readouterr().out


async def trouble(study: Study) -> None:
    """Let three things go wrong: one recovered, one repaired, one parked."""
    await study.read(1, failure("rate_limit"), BROKEN)
    model = f"vertex_ai/{'a-model-with-quite-a-long-name-' * 2}@20260101"
    await study.call(Call(2), failure("connection_error"), model)
    await study.ask(2, *[failure("timeout")] * 3)


async def test_the_table_fits_eighty_columns_and_tells_what_was_done(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    await trouble(study)
    text = said(capsys, study)
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith(f"6 failures in 2 calls of {study.session.name}")
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert "3 parked" in lines["timeout"]
    assert "1 repaired" in lines["invalid_structure"]
    assert "2 attempts at most" in " ".join(text.split())
    told = " ".join(text.split())
    assert "1 of 2 calls whose first attempt failed in passing was answered by trying again" in told
    assert "by trying again: 50.0 %; of the others 1 parked." in told


async def test_the_latest_three_messages_stand_below_each_with_its_cure(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    await trouble(study)
    text = " ".join(said(capsys, study).split("The latest messages:")[1].split())
    assert text.count(f"{study.session.name}, call") == 3
    assert "gave no answer: timeout" in text
    assert "name an extraction_model" in text
    assert "rate_limit" not in text


async def test_a_vendors_words_cannot_steer_the_terminal(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    await study.ask(1, CallFailed("bad_request", "no\x1b[2J\x07 [red]such[/red] thing"))
    text = said(capsys, study)
    assert "[red]such[/red] thing" in text
    assert "\x1b" not in text
    assert "\x07" not in text


async def test_a_share_is_never_rounded_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = Study(tmp_path, documents=3)
    for number in (1, 2):
        await study.read(number, failure("timeout"), scores())
    await study.ask(3, failure("timeout"))
    text = " ".join(said(capsys, study).split())
    assert "2 of 3 calls" in text
    assert "66.6 %; of the others 1 pending" in text


async def test_without_a_first_failure_there_is_no_share(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    await study.read(1, BROKEN)
    text = " ".join(said(capsys, study).split())
    assert "No call's first attempt failed in passing" in text
    assert "%" not in text


async def test_json_has_one_object_for_each_group_and_null_for_what_is_not_known(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    await trouble(study)
    rows = [json.loads(line) for line in said(capsys, study, form="json", by="class").splitlines()]
    by_class = {row["class"]: row for row in rows}
    assert list(by_class) == ["timeout", "connection_error", "invalid_structure", "rate_limit"]
    timeout, limit = by_class["timeout"], by_class["rate_limit"]
    assert (timeout["count"], timeout["outcomes"]["parked"], timeout["outcomes"]["recovered"]) == (3, 3, 0)
    assert (timeout["most_attempts"], timeout["median_recovery_s"]) == (None, None)
    assert (limit["most_attempts"], limit["first_attempts_failed"], limit["first_attempts_recovered"]) == (2, 1, 1)
    assert limit["median_recovery_s"] >= 0
    assert "model" not in limit


async def test_a_quarantine_is_a_failure_of_its_model_and_of_no_call(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    study.session.note_waiting("openai/scribe", "it failed 3 times in a row", datetime.now(UTC) + timedelta(minutes=5))
    text = said(capsys, study)
    assert text.startswith(f"1 failure in 0 calls of {study.session.name}")
    assert re.search(r"quarantine +openai/scribe +1 +1 did not answer again", text)
    assert "model 'openai/scribe' took no calls: it failed 3 times in a row" in text
    assert "None" not in text


async def test_csv_has_a_column_for_each_outcome(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    await trouble(study)
    rows = list(csv.DictReader(io.StringIO(said(capsys, study, form="csv"))))
    assert {row["class"]: row["parked"] for row in rows}["timeout"] == "3"
    assert {row["class"]: row["median_recovery_s"] for row in rows}["timeout"] == ""
    assert "used_as_it_was" in rows[0]


async def test_a_range_of_days_includes_both(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    await study.ask(1, failure("rate_limit"), failure("timeout"), failure("overload"), failure("bad_request"))
    last = datetime(2026, 11, 22, 23, 59, 59, tzinfo=UTC)
    for attempt in range(1, 5):
        study.backdate(Call(1), attempt, last + timedelta(days=attempt - 4))

    def classes(**more: Any) -> list[str]:
        return [json.loads(line)["class"] for line in said(capsys, study, form="json", by="class", **more).splitlines()]

    assert classes(since="2026-11-20", until="2026-11-21") == ["overload", "timeout"]
    assert classes(since="2026-11-22") == ["bad_request"]
    assert classes(until="2026-11-19T23:59:59") == []
    assert classes(until="2026-11-20T01:59:59+02:00") == []
    assert classes(until="2026-11-20T02:00:00+02:00") == ["rate_limit"]
    assert "nothing went wrong with a call of" in said(capsys, study, since="2026-11-23")


async def test_a_damage_of_unknown_time_is_in_any_range(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    await study.read(1, scores())
    study.session.store.put(Call(1).response, b"tampered with")
    text = said(capsys, study, since="2020-01-01", until="2020-01-02", by="class,day")
    assert "archive_damaged" in text
    assert "unknown" in text
    assert "time unknown" in text


async def test_an_experiment_a_session_or_everything_is_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    studies = [Study(tmp_path, name=name) for name in ("first", "second")]
    for study, error_class in zip(studies, ("bad_request", "timeout"), strict=True):
        await study.ask(1, failure(error_class))

    def classes(name: str | None) -> set[str]:
        return {json.loads(line)["class"] for line in said(capsys, studies[0], name, form="json").splitlines()}

    assert classes(None) == {"bad_request", "timeout"}
    assert classes("bench") == {"bad_request", "timeout"}
    assert classes("first") == classes("bench/first") == classes(studies[0].session.name) == {"bad_request"}
    with pytest.raises(CommandError, match="there is no experiment 'third'"):
        classes("third")


def test_where_nothing_is_found_it_says_so(tmp_path: Path, study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, study) == f"nothing went wrong with a call of {study.session.name}\n"
    assert said(capsys, study, form="json") == ""
    assert said(capsys, study, form="csv").startswith("class,model,count,recovered,asked_again,")
    empty = Settings(projects_dir=tmp_path / "elsewhere")
    errors(empty, None, since=None, until=None, by="class", form="table")
    assert "no session yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"by": "colour"}, "--by colour is unknown; it takes one or more of class, model, hour, day"),
        ({"by": ","}, "--by names nothing"),
        ({"form": "xml"}, "--format 'xml' is unknown; it is one of table, csv, json"),
        ({"since": "yesterday"}, "--since 'yesterday' is no date; write it as 2026-11-20"),
        ({"since": "2026-11-21", "until": "2026-11-20"}, "exchange them"),
    ],
)
def test_an_option_that_is_not_valid_is_named_with_what_is(study: Study, given: dict[str, str], told: str) -> None:
    asked: dict[str, Any] = {"since": None, "until": None, "by": "class", "form": "table", **given}
    with pytest.raises(CommandError, match=told):
        errors(study.settings, None, **asked)


# tables


def test_a_day_lasts_until_its_end_in_utc() -> None:
    day = read_period("2026-11-20", "2026-11-20")
    assert datetime(2026, 11, 20, tzinfo=UTC) in day
    assert datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC) in day
    assert datetime(2026, 11, 21, tzinfo=UTC) not in day
    assert datetime(2026, 11, 19, 23, 59, 59, tzinfo=UTC) not in day


def test_a_models_name_is_not_broken_inside_a_word_where_there_is_room() -> None:
    columns = [Column("Session", whole=True), Column("Model"), Column("Count", right=True), Column("What was done")]
    done = "19 recovered (median 3.2 s, 4 attempts at most), 1 asked again, 2 parked, 1 gave nothing"
    (name, *_) = text = table(columns, [["session_1", "anthropic/claude-sonnet-4-0", "12", done]]).splitlines()[1:]
    assert "anthropic/claude-sonnet-4-0" in name
    wide = table(columns, [["session_20261120_1015", "anthropic/claude-sonnet-4-0-in-a-wide-place-1", "1", done]])
    assert re.search(r" anthropic/ +1 ", wide)
    assert " claude-sonnet-4-0-in-a-wide-place-1 " in wide
    assert max(map(len, [*text, *wide.splitlines()])) <= 80


def test_a_table_keeps_numbers_and_whole_cells_together_and_folds_the_rest() -> None:
    text = table(
        [Column("Class", whole=True), Column("Model"), Column("Count", right=True), Column("What was done")],
        [["invalid_structure", "vendor/" + "m" * 60, "1234567", "done " * 20], ["timeout", "a/b", "1", "[bold]"]],
    )
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith("invalid_structure  vendor/")
    assert " 1234567  done" in lines[1]
    assert lines[-1].split() == ["timeout", "a/b", "1", "[bold]"]
    assert not any(line.endswith(" ") for line in lines)


def test_no_word_of_a_long_cell_is_lost_where_it_goes_on_in_the_next_line() -> None:
    row = ("malformed_answer", "anthropic/claude-sonnet-4-5", "2", "2 recovered (median 1.2 s, 2 attempts at most)")
    for heading in ("W", "What was done", "What was done about each of them"):
        headings = ("Class", "Model", "Count", heading)
        shown = table([Column(each) for each in headings], [row])
        assert max(map(len, shown.splitlines())) <= 80
        assert Counter(shown.split()) == Counter(" ".join((*headings, *row)).split())
