"""The workflows on the real server with stub steps: slots, pauses, parking, passes, and what the Web UI is told."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.message import Message
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.service import RPCError

from activities.border import (
    EXTRACT_BY_MODEL,
    LATEST_SHOWN,
    PREFLIGHT,
    READ_PLAN,
    CallOutcome,
    Checked,
    Progress,
    SealOutcome,
    SessionKey,
    SessionStart,
)
from engine import connection, sessions
from tests.stand_ins import opened
from tests.stub_steps import COST_USD, NAMES, Handle, Stubs, running, serving, session, session_start, until
from workflows import policies
from workflows.experiment import ExperimentWorkflow

LARGEST_PAYLOAD = 2 * 1024
LARGEST_PAGE = 32 * 1024
MOST_EVENTS = 12  # per analysis, with extraction, over the session's workflow and its batches

STOP = CallOutcome(status="stop", reason="model 'openai/scribe' needs OPENAI_API_KEY; set it")
PASSING = CallOutcome(status="parked", reason="status 503 (4 attempts)", passing=True)
HELD = CallOutcome(status="held")
LASTING = CallOutcome(status="parked", reason="there is no such model")


async def progress(handle: Handle) -> Progress:
    return await handle.query(ExperimentWorkflow.progress)


async def status(handle: Handle) -> str:
    return (await progress(handle)).status


async def settled(stubs: Stubs, *, running: int) -> None:
    """Wait until so many calls run, and a little longer, in which one more would have been seen."""
    await until(lambda: stubs.running >= running, f"{running} calls run")
    for _ in range(20):
        await asyncio.sleep(0.02)
        assert stubs.running == running


# slots


@pytest.mark.parametrize(("concurrency", "batch_size"), [(7, 10), (1, 10), (5, 30)])
async def test_calls_fill_every_slot_and_never_one_more(client: Client, concurrency: int, batch_size: int) -> None:
    stubs = Stubs()
    stubs.gate.clear()
    async with session(client, stubs, analyses=30, batch_size=batch_size, concurrency=concurrency) as handle:
        await settled(stubs, running=concurrency)
        stubs.gate.set()
        outcome = await handle.result()
    assert (outcome.status, outcome.scored, stubs.most) == ("complete", 30, concurrency)
    assert len(stubs.calls) == 30


async def test_slots_hold_over_batches_that_end_at_different_times_and_over_pauses(client: Client) -> None:
    stubs = Stubs(latency_s=0.02, hold_at=(5, 20, 35))
    stubs.readings = {number: ["ask_again", "ask_again"] for number in range(3, 40, 7)}
    async with session(client, stubs, analyses=40, batch_size=6, concurrency=5) as handle:
        for calls in stubs.hold_at:
            await until(lambda calls=calls: len(stubs.calls) >= calls, f"{calls} calls were made")
            await handle.execute_update(ExperimentWorkflow.pause, "by hand")
            stubs.gate.set()
            await until(lambda: stubs.running == 0, "all calls have ended")
            stubs.gate.clear()
            await handle.execute_update(ExperimentWorkflow.resume)
            await until(lambda: stubs.running, "calls are made again")
            await asyncio.sleep(0.3)
            stubs.gate.set()
        outcome = await handle.result()
    assert (outcome.status, stubs.most, len(stubs.calls)) == ("complete", 5, 40 + 2 * 6)


async def test_the_last_batch_gets_the_slots_of_those_that_have_ended(client: Client) -> None:
    stubs = Stubs(done=set(range(1, 13)))
    stubs.gate.clear()
    async with session(client, stubs, analyses=24, batch_size=12, concurrency=6) as handle:
        await settled(stubs, running=6)
        stubs.gate.set()
        await handle.result()
    assert stubs.most == 6


# pauses


async def test_a_pause_starts_nothing_more_at_once_and_resuming_goes_on(client: Client) -> None:
    stubs = Stubs()
    stubs.gate.clear()
    async with session(client, stubs, analyses=30, batch_size=10, concurrency=4) as handle:
        await settled(stubs, running=4)
        paused = await handle.execute_update(ExperimentWorkflow.pause, "lunch")
        assert paused.status == "paused"
        assert stubs.notes == [("paused", "lunch")]
        stubs.gate.set()
        await until(lambda: len(stubs.done) == 4, "the calls in flight were finished and read")
        await asyncio.sleep(0.5)
        assert len(stubs.calls) == 4
        standing = await progress(handle)
        assert (standing.status, standing.reason, standing.stage) == ("paused", "lunch", "analysis")
        assert (await handle.execute_update(ExperimentWorkflow.pause, "again")).status == "paused"
        assert (await progress(handle)).reason == "lunch"
        assert (await handle.execute_update(ExperimentWorkflow.resume)).status == "running"
        assert stubs.notes[-1] == ("running", "")
        outcome = await handle.result()
    assert (outcome.status, len(stubs.calls), stubs.most) == ("complete", 30, 4)


async def test_a_session_paused_before_its_batches_start_makes_no_call_until_it_is_resumed(client: Client) -> None:
    stubs = Stubs()
    stubs.ready.clear()
    async with session(client, stubs, analyses=6, batch_size=2, concurrency=3) as handle:
        await handle.execute_update(ExperimentWorkflow.pause, "not yet")
        stubs.ready.set()
        await until(lambda: counts_children(handle, 2), "the batches have started")
        await asyncio.sleep(0.3)
        assert stubs.calls == []
        await handle.execute_update(ExperimentWorkflow.resume)
        assert (await handle.result()).status == "complete"


class Tardy(Stubs):
    """Steps whose preflight notes, as the real one does, that the session runs: here after whatever came meanwhile."""

    @activity.defn(name=PREFLIGHT)
    async def preflight(self, key: SessionKey) -> Checked:
        checked = await super().preflight(key)
        self.notes.append(("running", ""))
        return checked


async def test_a_pause_is_not_overwritten_by_a_preflight_that_ends_after_it(client: Client) -> None:
    stubs = Tardy()
    stubs.ready.clear()
    async with session(client, stubs, analyses=6, batch_size=2, concurrency=3) as handle:
        await handle.execute_update(ExperimentWorkflow.pause, "not yet")
        assert stubs.notes == [("paused", "not yet")]
        stubs.ready.set()
        await until(lambda: counts_children(handle, 2), "the batches have started")
        assert stubs.notes == [("paused", "not yet"), ("running", ""), ("paused", "not yet")]
        await handle.execute_update(ExperimentWorkflow.resume)
        assert stubs.notes[-1] == ("running", "")
        assert (await handle.result()).status == "complete"


async def counts_children(handle: Handle, least: int) -> bool:
    return len((await handle.describe()).raw_description.pending_children) >= least


async def was_told(client: Client, batch_id: str) -> bool:
    """Return whether a batch that may not have started yet has been told its slots."""
    try:
        events = await events_of(client, batch_id)
    except RPCError:
        return False
    return any(event.HasField("workflow_execution_signaled_event_attributes") for event in events)


@workflow.defn(name="Experiment")
class TurnsAround(ExperimentWorkflow):
    """A session that hears of a resumption, or a pause, at the very moment when a batch has been ordered to start."""

    @workflow.run
    async def run(self, start: SessionStart) -> SealOutcome:
        return await super().run(start)

    async def _start_batch(self, index: int, *, again: bool) -> None:
        turn = self.resume() if self._status == "paused" else self.pause("at the very moment")
        turning = asyncio.create_task(turn) if index == 0 else turn.close()
        await super()._start_batch(index, again=again)
        if turning is not None:
            await turning


@pytest.mark.parametrize("paused", [True, False])
async def test_a_batch_that_is_being_started_hears_of_a_pause_and_of_its_end(client: Client, paused: bool) -> None:
    stubs = Stubs(analyses=4)
    stubs.ready.clear()
    start = session_start(next(NAMES), analyses=4, batch_size=4, concurrency=2)
    async with running(client, stubs, start, TurnsAround) as handle:
        if paused:
            await handle.execute_update(ExperimentWorkflow.pause, "not yet")
        else:
            stubs.gate.clear()
        stubs.ready.set()
        if not paused:
            await until(lambda: was_told(client, f"{handle.id}/batch-001"), "the batch was told", timeout_s=20)
            stubs.gate.set()
            await until(lambda: stubs.running == 0, "calls that had begun have ended")
            await asyncio.sleep(0.3)
            assert len(stubs.calls) <= 2
            await handle.execute_update(ExperimentWorkflow.resume)
        async with asyncio.timeout(20):
            assert (await handle.result()).status == "complete"


async def test_what_only_a_person_can_mend_pauses_the_session_and_is_tried_again(client: Client) -> None:
    stubs = Stubs(outcomes={3: [STOP, STOP]})
    async with session(client, stubs, analyses=12, batch_size=4, concurrency=2) as handle:
        for stops in (1, 2):
            await until(lambda stops=stops: stubs.notes.count(("paused", STOP.reason)) == stops, "it is paused")
            await until(lambda: stubs.running == 0, "calls in flight have ended")
            assert (await progress(handle)).reason == STOP.reason
            made = len(stubs.calls)
            await asyncio.sleep(0.3)
            assert len(stubs.calls) == made < 14
            await handle.execute_update(ExperimentWorkflow.resume)
        outcome = await handle.result()
        assert (await progress(handle)).parked == 0
    assert (outcome.status, len(stubs.asked(3)), len(stubs.calls)) == ("complete", 3, 14)


async def test_a_second_model_that_only_a_person_can_mend_pauses_the_session_too(client: Client) -> None:
    stubs = Stubs(readings={2: ["second_model", "second_model"]}, second_outcomes={2: [STOP]})
    start = {"analyses": 4, "concurrency": 2, "extraction_models": ("openai/reader",)}
    async with session(client, stubs, **start) as handle:
        await until(lambda: stubs.notes == [("paused", STOP.reason)], "it is paused")
        assert 2 not in stubs.done
        await handle.execute_update(ExperimentWorkflow.resume)
        outcome = await handle.result()
    assert outcome.status == "complete"
    assert Counter(name for name, order in stubs.calls if order.number == 2) == {"analyse": 2, "extract_by_model": 2}


async def test_nothing_can_be_paused_once_every_call_has_been_made(client: Client) -> None:
    stubs = Stubs()
    async with session(client, stubs, analyses=2) as handle:
        await handle.result()
        with pytest.raises((WorkflowUpdateFailedError, RPCError)):
            await handle.execute_update(ExperimentWorkflow.pause, "too late")
        assert await status(handle) == "complete"


# parking


async def test_what_was_parked_for_a_passing_reason_gets_exactly_one_more_pass(client: Client) -> None:
    stubs = Stubs(outcomes={5: [PASSING, PASSING, PASSING], 6: [LASTING, LASTING], 17: [PASSING]})
    async with session(client, stubs, analyses=20, batch_size=5, concurrency=4) as handle:
        outcome = await handle.result()
        standing = await progress(handle)
    assert [order.again for order in stubs.asked(5)] == [False, True]
    assert [order.again for order in stubs.asked(6)] == [False]
    assert [order.again for order in stubs.asked(17)] == [False, True]
    assert (outcome.status, outcome.scored, outcome.parked) == ("partial", 18, 2)
    assert (standing.done, standing.parked, standing.status) == (18, 2, "partial")
    last_first = max(i for i, (_, order) in enumerate(stubs.calls) if not order.again)
    first_again = min(i for i, (_, order) in enumerate(stubs.calls) if order.again)
    assert last_first < first_again
    assert len(stubs.calls) == 22


@pytest.mark.parametrize("passing", [False, True])
async def test_what_a_person_has_mended_during_a_pause_is_taken_up_in_the_same_run(
    client: Client, passing: bool
) -> None:
    stubs = Stubs(outcomes={2: [LASTING], 5: [STOP], **({3: [PASSING]} if passing else {})})
    async with session(client, stubs, analyses=6, batch_size=3, concurrency=1) as handle:
        await until(lambda: stubs.notes, "it has paused itself")
        del stubs.parked[2]  # released
        await handle.execute_update(ExperimentWorkflow.resume)
        outcome = await handle.result()
    assert (outcome.status, outcome.parked) == ("complete", 0)
    assert len(stubs.asked(2)) == 2
    assert {number: len(stubs.asked(number)) for number in (1, 4, 6)} == {1: 1, 4: 1, 6: 1}


async def test_a_batch_that_is_ended_from_outside_is_run_again_and_repeats_nothing_that_was_done(
    client: Client,
) -> None:
    stubs = Stubs()
    async with session(client, stubs, analyses=12, batch_size=6, concurrency=4) as handle:
        await until(lambda: len(stubs.done) >= 2, "two analyses are done")
        stubs.gate.clear()
        await until(lambda: stubs.running, "a call is held")
        await client.get_workflow_handle(f"{handle.id}/batch-001").terminate("by hand")
        await asyncio.sleep(0.2)
        stubs.gate.set()
        outcome = await handle.result()
    assert (outcome.status, outcome.scored) == ("complete", 12)
    assert len(stubs.calls) <= 12 + 4  # what was in flight in the terminated batch is asked again; here nobody archives
    assert stubs.events[-1] == "seal"


async def test_a_batch_that_is_ended_again_and_again_ends_the_session_with_its_reason(client: Client) -> None:
    stubs = Stubs()
    stubs.gate.clear()
    async with session(client, stubs, analyses=4, batch_size=4, concurrency=2) as handle:
        child = f"{handle.id}/batch-001"
        for calls in (2, 4):
            await until(lambda calls=calls: len(stubs.calls) == calls, "the batch is at work")
            await client.get_workflow_handle(child).terminate("by hand")
        with pytest.raises(WorkflowFailureError) as ended:
            await handle.result()
    assert "ended from outside, twice; run the session again" in str(ended.value.cause)
    assert "seal" not in stubs.events


async def test_a_call_that_a_pause_held_back_is_made_after_it_and_nothing_is_parked(client: Client) -> None:
    stubs = Stubs(outcomes={2: [HELD]}, second_outcomes={3: [HELD]}, readings={3: ["second_model"] * 2})
    async with session(client, stubs, analyses=4, concurrency=2, extraction_models=("openai/reader",)) as handle:
        outcome = await handle.result()
    assert (outcome.status, len(stubs.asked(2)), len(stubs.asked(3))) == ("complete", 2, 2)
    assert stubs.most <= 2


async def test_a_second_model_that_is_away_for_a_while_gets_one_more_pass_too(client: Client) -> None:
    stubs = Stubs(second_outcomes={3: [PASSING]}, readings={3: ["second_model"] * 2})
    async with session(client, stubs, analyses=4, concurrency=2, extraction_models=("openai/reader",)) as handle:
        outcome = await handle.result()
        assert (await progress(handle)).parked == 0
    seconds = [order.again for name, order in stubs.calls if name == EXTRACT_BY_MODEL]
    assert (outcome.status, seconds) == ("complete", [False, True])


async def test_an_answer_that_cannot_be_read_is_parked_and_holds_nobody_up(client: Client) -> None:
    stubs = Stubs(readings={2: ["unreadable"]})
    async with session(client, stubs, analyses=4, concurrency=2) as handle:
        outcome = await handle.result()
        standing = await progress(handle)
    assert (outcome.status, standing.done, standing.parked, len(stubs.calls)) == ("partial", 3, 1, 4)


# reading


async def test_an_answer_is_read_as_soon_as_it_is_there(client: Client) -> None:
    stubs = Stubs()
    async with session(client, stubs, analyses=8, concurrency=1) as handle:
        await until(lambda: len(stubs.done) >= 2, "the first answers are read")
        stubs.gate.clear()
        await until(lambda: stubs.running == 1, "a call is held")
        assert len(stubs.done) < 8
        stubs.gate.set()
        await handle.result()
    first_read = stubs.events.index("read 1")
    assert first_read < stubs.events.index("answered 8")
    assert stubs.events[-3:] == ["calculate", "synthesise", "seal"]


async def test_an_unusable_answer_is_asked_for_twice_more_in_slots_of_its_own(client: Client) -> None:
    stubs = Stubs(latency_s=0.01, readings={2: ["ask_again"] * 5, 4: ["ask_again", "done"]})
    async with session(client, stubs, analyses=6, concurrency=2) as handle:
        outcome = await handle.result()
    assert [order.ask for order in stubs.asked(2)] == [0, 1, 2]
    assert [order.ask for order in stubs.asked(4)] == [0, 1]
    assert (outcome.status, len(stubs.calls), stubs.most) == ("complete", 9, 2)


async def test_a_second_model_reads_what_structure_could_not_in_a_slot_of_its_own(client: Client) -> None:
    stubs = Stubs(readings={2: ["second_model"]}, second_outcomes={2: [LASTING]})
    start = {"analyses": 3, "concurrency": 1, "extraction_models": ("openai/reader",)}
    async with session(client, stubs, **start) as handle:
        outcome = await handle.result()
    assert [name for name, order in stubs.calls if order.number == 2] == ["analyse", "extract_by_model"]
    assert (outcome.status, stubs.most, stubs.parked) == ("complete", 1, {})


async def test_what_is_done_already_is_not_asked_for(client: Client) -> None:
    stubs = Stubs(done={1, 2, 3, 5}, parked={4: (False, 2)})
    async with session(client, stubs, analyses=6, batch_size=3) as handle:
        await handle.result()
        standing = await progress(handle)
    assert [order.number for _, order in stubs.calls] == [6]
    assert (standing.done, standing.parked, standing.planned) == (5, 1, 6)


async def test_the_tables_grow_while_analyses_arrive(client: Client) -> None:
    stubs = Stubs()
    async with session(client, stubs, analyses=18, batch_size=3, concurrency=1) as handle:
        await until(lambda: "project" in stubs.events, "the tables were written")
        await handle.result()
    assert stubs.events.index("project") < stubs.events.index("calculate")


# what is told


async def test_progress_tells_counts_cost_and_the_latest_scores_in_a_small_answer(client: Client) -> None:
    stubs = Stubs(outcomes={7: [LASTING], 9: [CallOutcome(status="answered", cost_usd=None)]})
    async with session(client, stubs, analyses=90, batch_size=10, concurrency=8) as handle:
        await handle.result()
        standing = await progress(handle)
    assert (standing.planned, standing.done, standing.parked, standing.in_flight) == (90, 89, 1, 0)
    assert standing.cost_usd == pytest.approx(88 * COST_USD)
    assert standing.unpriced == 1
    assert (standing.stage, standing.status) == ("sealed", "partial")
    assert 0 < len(standing.latest) <= LATEST_SHOWN
    numbers = [scored.number for scored in standing.latest]
    assert len(set(numbers)) == len(numbers)
    assert all(len(scored.scores) == 10 for scored in standing.latest)


async def test_the_web_ui_is_told_in_markdown_where_the_session_stands(client: Client) -> None:
    stubs = Stubs(outcomes={3: [STOP]})
    async with session(client, stubs, analyses=12, concurrency=1) as handle:
        await until(lambda: stubs.notes, "it is paused")
        paused = await details(handle)
        assert f"bench / speeches / {handle.id.rpartition('/')[2]}" in paused
        assert f"**Paused:** {STOP.reason}" in paused
        assert "**analysis, paused:** 2 of 12 analyses done" in paused
        await handle.execute_update(ExperimentWorkflow.resume)
        await handle.result()
        sealed = await details(handle)
    assert "**sealed, complete:** 12 of 12 analyses done; 0.1200 USD" in sealed
    assert "Paused" not in sealed
    assert "012 address-00012/scribe/run-1   0.87 " in sealed


async def details(handle: Handle) -> str:
    told = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return str(told.current_details)


async def test_a_session_is_found_by_what_it_is_about(client: Client, tmp_path: Path) -> None:
    opened_session = opened(tmp_path, documents=2)
    facts = opened_session.facts
    queue = sessions.own_queue(opened_session)
    stubs = Stubs(outcomes={1: [STOP]}, analyses=2)
    async with serving(client, queue, stubs):
        handle = await sessions.start(client, opened_session, queue, 2)
        joined = await sessions.start(client, opened_session, queue, 2)
        assert joined.result_run_id == handle.result_run_id or joined.id == handle.id
        await until(lambda: stubs.notes, "it is paused")
        (found,) = await open_sessions(client, facts.store)
        assert (found.workflow_id, found.queue, found.models) == (opened_session.name, queue, ("openai/scribe",))
        description = await handle.describe()
        attributes = description.typed_search_attributes
        assert attributes[connection.PROJECT] == "bench"
        assert attributes[connection.EXPERIMENT] == "speeches"
        assert attributes[connection.SESSION] == facts.session
        assert attributes[connection.STATUS] == "paused"
        assert attributes[connection.MODELS] == ["openai/scribe"]
        assert await description.static_summary() == "speeches: 2 analyses with openai/scribe"
        await sessions.resume(handle)
        await handle.result()
        assert (await handle.describe()).typed_search_attributes[connection.STATUS] == "complete"
    listed = f"DiscernusProject = 'bench' AND DiscernusStatus = 'complete' AND DiscernusSession = '{facts.session}'"
    await until(lambda: counts(client, listed, 1), "the list shows it as complete")
    await until(
        lambda: counts(client, f"{connection.STORE.name} = '{facts.store}' AND ExecutionStatus = 'Running'", 0), "-"
    )


async def open_sessions(client: Client, store: str) -> list[sessions.Running]:
    found: list[sessions.Running] = []

    async def look() -> bool:
        found[:] = await sessions.running(client, store)
        return bool(found)

    await until(look, "the session is listed")
    return found


async def counts(client: Client, query: str, expected: int) -> bool:
    return (await client.count_workflows(query)).count == expected


async def test_calls_carry_ids_that_a_person_can_read(client: Client) -> None:
    stubs = Stubs(readings={2: ["ask_again"]})
    async with session(client, stubs, analyses=2) as handle:
        await handle.result()
    scheduled = {
        event.activity_task_scheduled_event_attributes.activity_id
        for event in await events_of(client, f"{handle.id}/batch-001")
        if event.HasField("activity_task_scheduled_event_attributes")
    }
    assert scheduled == {
        "analyse/address-00001/scribe/run-1/001",
        "analyse/address-00002/scribe/run-1/002",
        "analyse/address-00002/scribe/run-1/002/ask-1",
    }


# sizes


async def events_of(client: Client, workflow_id: str) -> list[HistoryEvent]:
    return [event async for event in client.get_workflow_handle(workflow_id).fetch_history_events()]


def payloads_in(message: Message) -> Iterator[Payload]:
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        if field.message_type.GetOptions().map_entry:
            values = [one for one in value.values() if isinstance(one, Message)]
        else:
            values = value if field.is_repeated else [value]
        for one in values:
            yield from payloads_in(one)


async def test_only_references_cross_the_workflows_and_histories_stay_small(client: Client) -> None:
    longest = "document-" + "x" * 26 + "{number:05d}/" + "m" * 40 + "/" + "v" * 40 + "/run-12"
    stubs = Stubs(label=longest)
    async with session(client, stubs, analyses=300, concurrency=64) as handle:
        outcome = await handle.result()
    assert outcome.scored == 300
    parent = await events_of(client, handle.id)
    batches = [await events_of(client, f"{handle.id}/batch-{index:03d}") for index in (1, 2)]
    sizes: list[int] = []
    pages: list[int] = []
    for event in itertools.chain(parent, *batches):
        of_plan = READ_PLAN.encode() in event.SerializeToString()
        for payload in payloads_in(event):
            (pages if of_plan else sizes).append(len(payload.data))
    assert len(sizes) > 600
    assert max(sizes) < LARGEST_PAYLOAD
    assert LARGEST_PAYLOAD < max(pages) < LARGEST_PAGE
    events = len(parent) + sum(map(len, batches))
    total = sum(event.ByteSize() for event in itertools.chain(parent, *batches))
    print(f"{events / 300:.1f} events and {total / 300:.0f} bytes of history per analysis; {len(parent)} in the parent")  # noqa: T201
    assert events / 300 < MOST_EVENTS
    assert max(len(batch) for batch in batches) < 51_200 / 10
    assert policies.BATCH_SIZE == 150
