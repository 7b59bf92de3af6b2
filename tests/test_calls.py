"""One call, paid at most once: looked up, joined, claimed, asked, archived, whatever the disk or the caller does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from discernus.llm.errors import CallFailed
from discernus.sessions import calls as calls_module
from discernus.sessions import layout
from discernus.sessions.archive import Archive, ArchiveDamaged, UnderWay
from discernus.sessions.calls import Calls, NoRoom, Obtained
from discernus.sessions.layout import Call
from discernus.sessions.owners import Owner
from discernus.sessions.store import LocalStore
from tests.stand_ins import Model, answer, failure, question

CALL = Call(17)
KEY = "a" * 64
SESSION = "p/e/s"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(LocalStore(tmp_path / "session"))


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(tmp_path / "owners")


def calls_of(owner: Owner, model: Model, *, minimum_free_bytes: int = 0) -> Calls:
    return Calls(owner, model, minimum_free_bytes=minimum_free_bytes)


async def obtain(calls: Calls, archive: Archive, call: Call = CALL, key: str = KEY) -> Obtained:
    return await calls.obtain(archive, SESSION, call, key, question())


async def until(condition: Any, timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  what is waited for is in the code under test
            await asyncio.sleep(0.002)


async def test_an_answer_is_archived_before_it_is_reported_and_never_asked_for_again(
    archive: Archive, owner: Owner
) -> None:
    model = Model("the answer")
    calls = calls_of(owner, model)
    first = await obtain(calls, archive)
    assert archive.store.get(CALL.response) == b"the answer"
    again = await obtain(calls, archive)
    assert (first.text, first.reused) == ("the answer", False)
    assert (again.text, again.reused) == ("the answer", True)
    assert len(model.asked) == 1
    assert (await obtain(calls_of(owner, Model("other")), archive)).text == "the answer"


async def test_every_attempt_at_a_call_carries_the_same_key_to_the_vendor(archive: Archive, owner: Owner) -> None:
    model = Model(failure("server_error"), "a", "b")
    calls = calls_of(owner, model)
    with pytest.raises(CallFailed):
        await obtain(calls, archive)
    await obtain(calls, archive)
    await obtain(calls, archive, Call(17, ask=1))
    assert model.keys[0] == model.keys[1]
    assert model.keys[0] == f"{KEY[:32]}-p/e/s-017"
    assert model.keys[2] != model.keys[1]


async def test_the_same_call_asked_for_twice_at_once_is_one_request(archive: Archive, owner: Owner) -> None:
    model = Model("the answer")
    model.gate.clear()
    calls = calls_of(owner, model)
    asking = [asyncio.create_task(obtain(calls, archive)) for _ in range(5)]
    await until(lambda: model.asked)
    assert calls.in_flight == 1
    model.gate.set()
    assert {obtained.text for obtained in await asyncio.gather(*asking)} == {"the answer"}
    assert len(model.asked) == 1
    assert calls.in_flight == 0


async def test_a_call_that_fails_fails_for_all_who_joined_it(archive: Archive, owner: Owner) -> None:
    model = Model(failure("server_error"))
    model.gate.clear()
    calls = calls_of(owner, model)
    asking = [asyncio.create_task(obtain(calls, archive)) for _ in range(3)]
    await until(lambda: model.asked)
    model.gate.set()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [CallFailed] * 3
    assert len(archive.failures(CALL)) == 1


async def test_cancelling_the_caller_does_not_cancel_the_call(archive: Archive, owner: Owner) -> None:
    model = Model("paid for")
    model.gate.clear()
    calls = calls_of(owner, model)
    asking = asyncio.create_task(obtain(calls, archive))
    await until(lambda: model.asked)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert calls.in_flight == 1
    model.gate.set()
    await calls.settle()
    found = archive.look_up(CALL, KEY)
    assert found is not None
    assert found[1] == "paid for"


async def test_settling_waits_until_every_call_in_flight_is_archived(archive: Archive, owner: Owner) -> None:
    model = Model("paid for")
    model.gate.clear()
    calls = calls_of(owner, model)
    asking = [asyncio.create_task(obtain(calls, archive, Call(number))) for number in range(1, 6)]
    await until(lambda: len(model.asked) == 5)
    settling = asyncio.create_task(calls.settle())
    await asyncio.sleep(0.02)
    assert not settling.done()
    model.gate.set()
    await settling
    assert all(archive.store.exists(Call(number).response) for number in range(1, 6))
    await asyncio.gather(*asking)


async def test_a_failure_is_archived_before_it_is_reported_and_settles_its_intent(
    archive: Archive, owner: Owner
) -> None:
    calls = calls_of(owner, Model(failure("rate_limit", retry_after_s=2), "then an answer"))
    with pytest.raises(CallFailed):
        await obtain(calls, archive)
    (error,) = archive.failures(CALL)
    assert (error["error_class"], error["attempt"], error["owner"]) == ("rate_limit", 1, owner.id)
    assert archive.store.names(layout.INTENTS) == []
    assert (await obtain(calls, archive)).record.attempt == 2


async def test_the_intent_is_there_while_the_request_is_out_and_gone_afterwards(archive: Archive, owner: Owner) -> None:
    model = Model("x")
    model.gate.clear()
    asking = asyncio.create_task(obtain(calls_of(owner, model), archive))
    await until(lambda: model.asked)
    intent = json.loads(archive.store.get(CALL.intent(1)))
    assert (intent["call"], intent["owner"], intent["content_key"]) == ("017", owner.id, KEY)
    model.gate.set()
    await asking
    assert archive.store.names(layout.INTENTS) == []


async def test_an_answer_that_the_disk_will_not_take_is_held_until_it_does(
    archive: Archive, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model("paid for")
    calls = calls_of(owner, model)
    refused = 0
    real = LocalStore.put_if_absent

    def put_if_absent(self: LocalStore, name: str, data: bytes, *, with_next: bool = False) -> bool:
        nonlocal refused
        if name == CALL.response and refused < 3:
            refused += 1
            raise OSError(28, "No space left on device")
        return real(self, name, data, with_next=with_next)

    monkeypatch.setattr(LocalStore, "put_if_absent", put_if_absent)
    monkeypatch.setattr(calls_module, "HOLD_S", 0.01)
    obtained = await obtain(calls, archive)
    assert refused == 3
    assert (obtained.text, len(model.asked)) == ("paid for", 1)
    found = archive.look_up(CALL, KEY)
    assert found is not None
    assert found[1] == "paid for"


async def test_a_failure_that_the_disk_will_not_take_is_held_until_it_does(
    archive: Archive, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = LocalStore.put, 0

    def put(self: LocalStore, name: str, data: bytes, *, durable: bool = True) -> None:
        nonlocal refused
        if refused < 2:
            refused += 1
            raise OSError(28, "No space left on device")
        real(self, name, data, durable=durable)

    monkeypatch.setattr(LocalStore, "put", put)
    monkeypatch.setattr(calls_module, "HOLD_S", 0.01)
    with pytest.raises(CallFailed):
        await obtain(calls_of(owner, Model(failure("server_error"))), archive)
    assert len(archive.failures(CALL)) == 1
    assert refused == 2


async def test_a_mirror_that_will_not_take_an_answer_holds_nothing_up(owner: Owner, tmp_path: Path) -> None:
    (tmp_path / "mirror").write_text("a file where the folder should be")
    archive = Archive(LocalStore(tmp_path / "session"), LocalStore(tmp_path / "mirror"))
    async with asyncio.timeout(30):
        obtained = await obtain(calls_of(owner, Model("paid for")), archive)
    assert obtained.text == "paid for"
    assert archive.look_up(CALL, KEY) is not None


async def test_nothing_is_asked_where_its_answer_would_find_no_room(archive: Archive, owner: Owner) -> None:
    model = Model("x")
    calls = calls_of(owner, model, minimum_free_bytes=2**62)
    with pytest.raises(NoRoom, match="MB are free where answers are archived; make room, then run the same"):
        await obtain(calls, archive)
    assert model.asked == []
    assert archive.store.names(layout.INTENTS) == []


async def test_an_archived_answer_needs_no_room(archive: Archive, owner: Owner) -> None:
    await obtain(calls_of(owner, Model("x")), archive)
    model = Model("y")
    assert (await obtain(calls_of(owner, model, minimum_free_bytes=2**62), archive)).text == "x"
    assert model.asked == []


async def test_a_disk_that_takes_no_intent_lets_nothing_be_sent(
    archive: Archive, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_if_absent(*_: object, **__: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalStore, "put_if_absent", put_if_absent)
    model = Model("x")
    calls = calls_of(owner, model)
    with pytest.raises(OSError, match="No space"):
        await obtain(calls, archive)
    assert model.asked == []
    assert calls.in_flight == 0


async def test_a_damaged_answer_is_never_silently_asked_for_again(archive: Archive, owner: Owner) -> None:
    model = Model("x")
    calls = calls_of(owner, model)
    await obtain(calls, archive)
    archive.store.put(CALL.response, b"tampered with")
    with pytest.raises(ArchiveDamaged):
        await obtain(calls, archive)
    archive.store.put(CALL.response, b"x")
    with pytest.raises(ArchiveDamaged):
        await obtain(calls, archive, key="b" * 64)
    assert len(model.asked) == 1


async def test_a_call_under_way_at_another_process_is_not_asked_for_here(
    archive: Archive, owner: Owner, tmp_path: Path
) -> None:
    with Owner(tmp_path / "owners") as other:
        intent = archive.claim(CALL, question(), KEY, other)
        model = Model("ours")
        calls = calls_of(owner, model)
        with pytest.raises(UnderWay):
            await obtain(calls, archive)
        assert model.asked == []
        archive.commit(CALL, intent, question(), answer("theirs"))
    obtained = await obtain(calls, archive)
    assert (obtained.text, obtained.reused, model.asked) == ("theirs", True, [])


async def test_an_answer_that_arrives_between_look_up_and_claim_is_used(
    archive: Archive, owner: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Owner(tmp_path / "owners")
    real = Archive.claim

    def claim(self: Archive, *arguments: Any) -> Any:
        self.commit(CALL, real(self, CALL, question(), KEY, other), question(), answer("theirs"))
        return real(self, *arguments)

    monkeypatch.setattr(Archive, "claim", claim)
    model = Model("ours")
    obtained = await obtain(calls_of(owner, model), archive)
    assert (obtained.text, obtained.reused, model.asked) == ("theirs", True, [])
    assert archive.store.names(layout.INTENTS) == []
