"""The archive of calls: durable in the right order, verified when read, never overwritten, and all of it counted."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from discernus.llm.calls import ModelRequest, Usage
from discernus.llm.errors import CallFailed
from discernus.sessions import layout
from discernus.sessions import store as store_module
from discernus.sessions.archive import Archive, ArchiveDamaged, Intent, UnderWay
from discernus.sessions.layout import Call
from discernus.sessions.owners import HOST, Owner
from discernus.sessions.progress import ProgressReader
from discernus.sessions.questions import read_question
from discernus.sessions.session import Session
from discernus.sessions.store import LocalStore
from discernus.stages.records import all_calls
from tests.stand_ins import answer, failure, opened, question
from tests.test_store import Disk, wait_until

REPOSITORY = Path(__file__).resolve().parents[1]
CALL = Call(17)
KEY = "a" * 64
CLAIMANT = """
import sys, time
from pathlib import Path
from discernus.sessions.archive import Archive, UnderWay
from discernus.sessions.layout import Call
from discernus.sessions.owners import Owner
from discernus.sessions.store import LocalStore
from tests.stand_ins import question
folder, me = Path(sys.argv[1]), sys.argv[2]
archive = Archive(LocalStore(folder / "session"))
owner = Owner(folder / "owners")
(folder / f"ready-{me}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
won = []
for number in range(1, 31):
    try:
        archive.claim(Call(number), question(), "k", owner)
        won.append(str(number))
    except UnderWay:
        pass
print(" ".join(won), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(LocalStore(tmp_path / "session"))


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(tmp_path / "owners")


def claim(
    archive: Archive, owner: Owner, call: Call = CALL, key: str = KEY, request: ModelRequest | None = None
) -> Intent:
    return archive.claim(call, request or question(), key, owner)


def archived(archive: Archive, owner: Owner, call: Call, text: str, key: str = KEY) -> None:
    archive.commit(call, claim(archive, owner, call, key), question(), answer(text))


def overdue(archive: Archive, intent: Intent) -> None:
    """Let the time of an intent be over, whoever its owner is."""
    late = intent.model_copy(update={"deadline": datetime.now(UTC) - timedelta(seconds=1)})
    archive.store.put(CALL.intent(intent.attempt), late.model_dump_json().encode())


def cut_off_before_the_link(archive: Archive, owner: Owner, text: str) -> None:
    """Leave what an attempt leaves that dies after its metadata and before its response."""
    intent = claim(archive, owner)
    elsewhere = Archive(LocalStore(Path(f"{archive.store.path('')}-of-the-dead")))  # type: ignore[attr-defined]
    elsewhere.commit(CALL, intent, question(), answer(text, cost_usd=0.5))
    for name in (CALL.request, CALL.metadata):
        archive.store.put(name, elsewhere.store.get(name))


def test_an_answer_comes_back_as_it_was_with_all_that_is_known_of_it(archive: Archive, owner: Owner) -> None:
    text = "Zwölf: {“a”: 0.5}\r\n\x00 ￼ 🜚"
    intent = claim(archive, owner)
    archive.commit(
        CALL, intent, question(), answer(text, response_as_received=json.dumps({"choices": [text], "id": "x"}))
    )
    found = archive.look_up(CALL, KEY)
    assert found is not None
    record, said = found
    assert said == text
    assert record.response_sha256 == sha256(text.encode()).hexdigest()
    assert (record.number, record.attempt, record.owner, record.content_key) == (17, 1, owner.id, KEY)
    assert (record.cost_usd, record.prompt_tokens, record.completion_tokens) == (0.01, 100, 20)
    assert record.response_as_received == {"choices": [{"text_of": "response"}], "id": "x"}
    assert archive.store.names(layout.INTENTS) == []


def test_half_a_character_in_an_answer_does_not_lose_the_answer(archive: Archive, owner: Owner) -> None:
    text = json.loads('"whole \\ud83d\\ude00, half \\ud83d, {\\"a\\": 1}"')
    body = json.dumps({"text": text, "thoughts": "half \ud83d"})
    archive.commit(CALL, claim(archive, owner), question(), answer(text, response_as_received=body))
    found = archive.look_up(CALL, KEY)
    assert found is not None
    assert found[1] == 'whole 😀, half �, {"a": 1}'
    assert found[0].response_as_received == {"text": {"text_of": "response"}, "thoughts": "half �"}


def test_the_question_is_kept_with_its_texts_once_however_many_calls_share_them(archive: Archive, owner: Owner) -> None:
    archived(archive, owner, Call(1), "one")
    archived(archive, owner, Call(2), "two")
    asked = read_question(archive.store, Call(2).request)
    texts = [archive.store.get(layout.message(message["content_sha256"])).decode() for message in asked["messages"]]
    assert texts == [message.content for message in question().messages]
    assert asked["parameters"] == {"seed": 7}
    assert len(archive.store.names(f"{layout.ARCHIVE}/messages")) == 2


def test_request_and_metadata_are_durable_before_the_response_is_linked(
    archive: Archive, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(archive, owner, Call(1), "before")
    intent = claim(archive, owner)
    disk = Disk(monkeypatch)
    archive.commit(CALL, intent, question(), answer("paid for"))
    folder = archive.store.path(layout.ARCHIVE)  # type: ignore[attr-defined]
    names = ["request_017.json", "metadata_017.json", "response_017.txt"]
    expected = [event for name in names for event in (disk.synced(folder / name), ("link", name))]
    assert disk.events == [*expected, disk.synced(folder)]


def test_an_intent_is_durable_before_anything_is_sent(
    archive: Archive, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(archive, owner, Call(1))
    disk = Disk(monkeypatch)
    claim(archive, owner)
    folder = archive.store.path(layout.INTENTS)  # type: ignore[attr-defined]
    name = "017_try1.json"
    assert disk.events == [disk.synced(folder / name), ("link", name), disk.synced(folder)]


@pytest.mark.parametrize(
    ("file", "data"),
    [
        (CALL.response, b"another answer"),
        (CALL.metadata, b'{"call": "017", "resp'),
        (CALL.metadata, b""),
    ],
)
def test_an_answer_that_is_not_what_was_archived_is_never_used(
    archive: Archive, owner: Owner, file: str, data: bytes
) -> None:
    archived(archive, owner, CALL, "the answer")
    archive.store.put(file, data)
    with pytest.raises(ArchiveDamaged, match=r"response_017\.txt is not the answer that was archived"):
        archive.look_up(CALL, KEY)
    with pytest.raises(ArchiveDamaged):
        archive.look_up(CALL)


def test_an_answer_whose_metadata_has_gone_is_never_used(archive: Archive, owner: Owner) -> None:
    archived(archive, owner, CALL, "the answer")
    archive.store.remove(CALL.metadata)
    with pytest.raises(ArchiveDamaged):
        archive.look_up(CALL, KEY)


def test_another_calls_answer_and_metadata_under_this_calls_names_are_never_used(
    archive: Archive, owner: Owner
) -> None:
    archived(archive, owner, Call(18), "of another")
    archive.store.put(CALL.response, archive.store.get(Call(18).response))
    archive.store.put(CALL.metadata, archive.store.get(Call(18).metadata))
    with pytest.raises(ArchiveDamaged):
        archive.look_up(CALL, KEY)
    with pytest.raises(ArchiveDamaged):
        archive.look_up(CALL)


def test_an_answer_to_another_question_is_never_used(archive: Archive, owner: Owner) -> None:
    archived(archive, owner, CALL, "the answer")
    with pytest.raises(ArchiveDamaged, match="answers another question"):
        archive.look_up(CALL, "b" * 64)


def test_after_an_attempt_that_died_before_its_commit_the_next_one_commits_with_its_own_metadata(
    archive: Archive, owner: Owner, tmp_path: Path
) -> None:
    dead = Owner(tmp_path / "owners")
    cut_off_before_the_link(archive, dead, "what the dead one got")
    dead.close()
    assert archive.look_up(CALL, KEY) is None
    intent = claim(archive, owner)
    assert intent.attempt == 2
    archive.commit(CALL, intent, question(), answer("what the next one got"))
    found = archive.look_up(CALL, KEY)
    assert found is not None
    assert (found[1], found[0].attempt, found[0].owner) == ("what the next one got", 2, owner.id)
    assert archive.store.names(layout.INTENTS) == ["017_try1.json"]


def test_the_next_attempts_metadata_is_found_however_many_attempts_there_were(
    archive: Archive, owner: Owner, tmp_path: Path
) -> None:
    for _ in range(2):
        archive.record_failure(CALL, claim(archive, owner), question(), failure("server_error"))
    dead = Owner(tmp_path / "owners")
    cut_off_before_the_link(archive, dead, "lost")
    dead.close()
    archived(archive, owner, CALL, "found")
    found = archive.look_up(CALL, KEY)
    assert found is not None
    assert (found[1], found[0].attempt) == ("found", 4)


@pytest.mark.parametrize("late", ["late", "first"])
def test_a_rivals_late_answer_is_kept_and_costed_and_never_scored(
    archive: Archive, owner: Owner, tmp_path: Path, late: str
) -> None:
    slow = claim(archive, Owner(tmp_path / "owners"))
    overdue(archive, slow)
    archive.commit(CALL, claim(archive, owner), question(), answer("first", cost_usd=0.25))
    archive.commit(CALL, slow, question(), answer(late, cost_usd=0.5))
    found = archive.look_up(CALL, KEY)
    assert found is not None
    assert (found[1], found[0].attempt) == ("first", 2)
    if late != "first":
        assert archive.store.get(CALL.rival("response", 1)) == b"late"
    session = Session(archive.store.path(""))  # type: ignore[attr-defined]
    assert sorted(call.cost_usd or 0 for call in all_calls(session)) == [0.25, 0.5]
    assert archive.store.names(layout.INTENTS) == []


def test_two_answers_that_race_to_the_commit_are_both_counted_once(
    archive: Archive, owner: Owner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = claim(archive, Owner(tmp_path / "owners"))
    overdue(archive, slow)
    fast = claim(archive, owner)
    real = LocalStore.put_if_absent
    raced = False

    def put_if_absent(self: LocalStore, name: str, data: bytes, *, with_next: bool = False) -> bool:
        nonlocal raced
        if name == CALL.response and not raced:
            raced = True
            archive.commit(CALL, fast, question(), answer("fast", cost_usd=0.25))
        return real(self, name, data, with_next=with_next)

    monkeypatch.setattr(LocalStore, "put_if_absent", put_if_absent)
    archive.commit(CALL, slow, question(), answer("slow", cost_usd=0.5))
    found = archive.look_up(CALL, KEY)
    assert found is not None
    assert (found[1], found[0].attempt) == ("fast", 2)
    assert archive.store.get(CALL.rival("response", 1)) == b"slow"
    calls = all_calls(Session(archive.store.path("")))  # type: ignore[attr-defined]
    assert sorted(call.cost_usd or 0 for call in calls) == [0.25, 0.5]


@pytest.mark.parametrize("refused", range(1, 7))
def test_a_commit_that_the_disk_cut_short_anywhere_is_completed_by_repeating_it(
    archive: Archive, owner: Owner, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    archived(archive, owner, Call(1), "before")
    intent = claim(archive, owner)
    steps = 0
    real = store_module.os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal steps
        steps += 1
        if steps == refused:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(store_module.os, "fsync", fsync)
    for _ in range(2):
        try:
            archive.commit(CALL, intent, question(), answer("paid for", cost_usd=0.5))
            break
        except OSError:
            continue
    found = archive.look_up(CALL, KEY)
    assert found is not None
    assert found[1] == "paid for"
    assert [name for name in archive.store.names(layout.ARCHIVE) if "rival" in name] == []
    calls = all_calls(Session(archive.store.path("")))  # type: ignore[attr-defined]
    assert [(call.call, call.cost_usd) for call in calls] == [("001", 0.01), ("017", 0.5)]
    assert archive.store.names(layout.INTENTS) == []


def test_of_many_processes_exactly_one_gets_each_attempt(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMANT, str(tmp_path), me], cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True
        )
        for me in "abc"
    ]
    wait_until(lambda: all((tmp_path / f"ready-{me}").exists() for me in "abc"))
    (tmp_path / "go").touch()
    won = [number for rival in rivals if rival.stdout for number in rival.stdout.readline().split()]
    for rival in rivals:
        rival.communicate("\n", timeout=60)
    assert sorted(won, key=int) == [str(number) for number in range(1, 31)]
    assert len(LocalStore(tmp_path / "session").names(layout.INTENTS)) == 30


def test_a_call_that_a_living_owner_has_asked_is_waited_for_until_its_deadline(
    archive: Archive, owner: Owner, tmp_path: Path
) -> None:
    with Owner(tmp_path / "owners") as other:
        first = claim(archive, other, request=question(timeout_s=100))
        with pytest.raises(UnderWay) as raised:
            claim(archive, owner)
        assert 60 < raised.value.seconds <= 130
        overdue(archive, first)
        assert claim(archive, owner).attempt == 2
    assert archive.store.names(layout.INTENTS) == ["017_try1.json", "017_try2.json"]


def test_a_call_of_a_dead_owner_is_in_doubt_and_asked_again_at_once(
    archive: Archive, owner: Owner, tmp_path: Path
) -> None:
    with Owner(tmp_path / "owners") as other:
        claim(archive, other)
    assert claim(archive, owner).attempt == 2
    assert [intent.owner for intent in Session(archive.store.path("")).intents()] == [other.id, owner.id]  # type: ignore[attr-defined]


def test_a_call_asked_from_another_machine_is_waited_for(archive: Archive, owner: Owner) -> None:
    claim(archive, owner)
    intent = archive.read_intent(CALL.intent(1))
    assert intent is not None
    far = intent.model_copy(update={"owner": f"{HOST}-2-77-0123abcd"})
    archive.store.put(CALL.intent(1), far.model_dump_json().encode())
    with pytest.raises(UnderWay):
        claim(archive, owner)


def test_what_came_instead_of_an_answer_is_kept_and_settles_the_intent(archive: Archive, owner: Owner) -> None:
    archive.record_failure(CALL, claim(archive, owner), question(), failure("rate_limit", retry_after_s=3))
    archive.record_failure(CALL, claim(archive, owner), question(), failure("server_error"))
    first, second = archive.failures(CALL)
    assert (first["error_class"], first["counts_as_attempt"], first["retry_after_s"]) == ("rate_limit", False, 3)
    assert (second["error_class"], second["counts_as_attempt"], second["attempt"]) == ("server_error", True, 2)
    assert archive.store.names(layout.INTENTS) == []
    assert claim(archive, owner).attempt == 3


def paid_failure(**changes: Any) -> CallFailed:
    known: dict[str, Any] = {
        "status": 200,
        "body": '{"choices": [], "usage": {}}',
        "usage": Usage(prompt_tokens=100, completion_tokens=0),
        "cost_usd": 0.25,
        "price_source": "a price list",
        "request_as_sent": {"model": "scribe", "messages": [{"role": "user", "content": "[31 characters]"}]},
        "started_at": datetime.now(UTC),
        "latency_ms": 12.5,
    }
    return CallFailed("malformed_answer", "model 'openai/scribe' sent no text", **{**known, **changes})


def test_a_failed_calls_question_and_reply_can_be_put_together_again_from_disk(archive: Archive, owner: Owner) -> None:
    failed = paid_failure()
    archive.record_failure(CALL, claim(archive, owner), question(), failed)
    asked = read_question(archive.store, CALL.request)
    texts = [archive.store.get(layout.message(message["content_sha256"])).decode() for message in asked["messages"]]
    assert texts == [message.content for message in question().messages]
    assert (asked["model"], asked["parameters"], asked["as_sent"]) == (
        "openai/scribe",
        {"seed": 7},
        failed.request_as_sent,
    )
    (error,) = archive.failures(CALL)
    assert (error["body"], error["status"]) == (failed.body, 200)
    assert error["request_as_sent"] == failed.request_as_sent
    assert datetime.fromisoformat(error["started_at"]) == failed.started_at
    assert error["latency_ms"] == 12.5


def test_what_a_failure_cost_is_kept_with_it(archive: Archive, owner: Owner) -> None:
    archive.record_failure(CALL, claim(archive, owner), question(), paid_failure())
    archive.record_failure(CALL, claim(archive, owner), question(), failure("server_error"))
    paid, free = archive.failures(CALL)
    assert (paid["cost_usd"], paid["price_source"], paid["usage"]["prompt_tokens"]) == (0.25, "a price list", 100)
    assert (free["cost_usd"], free["price_source"], free["usage"], free["latency_ms"]) == (None, None, None, None)


def test_after_a_failure_the_request_on_record_is_the_one_that_was_answered(
    archive: Archive, owner: Owner, tmp_path: Path
) -> None:
    archive.record_failure(CALL, claim(archive, owner), question(), paid_failure())
    slow = claim(archive, Owner(tmp_path / "owners"))
    overdue(archive, slow)
    sent = {"model": "scribe", "seed": 7}
    archive.commit(CALL, claim(archive, owner), question(), answer("the answer", request_as_sent=sent))
    archive.commit(CALL, slow, question(), answer("a rival's", request_as_sent={"model": "scribe"}))
    found = archive.look_up(CALL, KEY)
    assert found is not None
    assert found[1] == "the answer"
    assert read_question(archive.store, CALL.request)["as_sent"] == sent
    assert archive.failures(CALL)[0]["request_as_sent"] == paid_failure().request_as_sent


def test_a_failure_that_the_disk_would_not_take_is_written_by_repeating_it(
    archive: Archive, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = claim(archive, owner)
    real = LocalStore.put
    refusals = iter([OSError(28, "No space left on device")])

    def put(self: LocalStore, name: str, data: bytes, *, durable: bool = True) -> None:
        for refused in refusals:
            raise refused
        real(self, name, data, durable=durable)

    monkeypatch.setattr(LocalStore, "put", put)
    with pytest.raises(OSError, match="No space"):
        archive.record_failure(CALL, intent, question(), paid_failure())
    assert archive.read_intent(CALL.intent(1)) is not None
    archive.record_failure(CALL, intent, question(), paid_failure())
    assert len(archive.failures(CALL)) == 1
    assert archive.store.exists(CALL.request)


def test_marks_and_a_substitution_are_on_record_and_older_records_have_neither(archive: Archive, owner: Owner) -> None:
    marked = answer("<script>", substituted=True, marks=("active_content",))
    archive.commit(CALL, claim(archive, owner), question(), marked)
    found = archive.look_up(CALL, KEY)
    assert found is not None
    assert (found[0].substituted, found[0].marks) == (True, ("active_content",))
    older = found[0].model_dump(mode="json", exclude={"substituted", "marks", "shared_sha256", "response_values"})
    archive.store.put(CALL.metadata, json.dumps(older).encode())
    found = archive.look_up(CALL, KEY)
    assert found is not None
    assert (found[0].substituted, found[0].marks) == (False, ())


def test_failures_are_counted_over_an_attempt_that_is_in_doubt(archive: Archive, owner: Owner, tmp_path: Path) -> None:
    archive.record_failure(CALL, claim(archive, owner), question(), failure("server_error"))
    with Owner(tmp_path / "owners") as other:
        claim(archive, other)
    archive.record_failure(CALL, claim(archive, owner), question(), failure("timeout"))
    assert [error["error_class"] for error in archive.failures(CALL)] == ["server_error", "timeout"]


def test_a_mirror_gets_a_copy_of_every_answer_and_of_a_rivals_too(owner: Owner, tmp_path: Path) -> None:
    mirror = LocalStore(tmp_path / "mirror")
    archive = Archive(LocalStore(tmp_path / "session"), mirror)
    slow = claim(archive, Owner(tmp_path / "owners"))
    overdue(archive, slow)
    archive.commit(CALL, claim(archive, owner), question(), answer("first"))
    archive.commit(CALL, slow, question(), answer("late"))
    copy = Archive(mirror).look_up(CALL, KEY)
    assert copy is not None
    assert copy[1] == "first"
    assert mirror.get(CALL.rival("response", 1)) == b"late"


def test_a_mirror_that_refuses_costs_no_answer(owner: Owner, tmp_path: Path) -> None:
    (tmp_path / "mirror").write_text("a file where the folder should be")
    archive = Archive(LocalStore(tmp_path / "session"), LocalStore(tmp_path / "mirror"))
    archived(archive, owner, CALL, "the answer")
    found = archive.look_up(CALL, KEY)
    assert found is not None
    assert found[1] == "the answer"
    assert archive.store.names(layout.INTENTS) == []


def test_a_session_puts_its_mirror_under_the_same_names_as_itself(owner: Owner, tmp_path: Path) -> None:
    folder = tmp_path / "projects" / "p" / "experiments" / "e" / "sessions" / "session_1"
    session = Session(folder, tmp_path / "mirror")
    archived(session.archive, owner, CALL, "the answer")
    copied = tmp_path / "mirror" / "p" / "experiments" / "e" / "sessions" / "session_1" / CALL.response
    assert copied.read_text() == "the answer"


def test_progress_is_read_over_metadata_that_cannot_be(tmp_path: Path, owner: Owner) -> None:
    session = opened(tmp_path)
    archived(session.archive, owner, Call(1), "one")
    archived(session.archive, owner, Call(2), "two")
    session.store.put(Call(1).metadata, b"{")
    standing = ProgressReader(session, owner).read()
    assert (standing.calls, standing.cost_usd, standing.unpriced) == (2, 0.01, 1)


BODY = {"id": "cmpl-7", "usage": {"total_tokens": 120, "audio": None}, "choices": [{"index": 0, "stop": True}]}


@pytest.mark.parametrize(
    "body", [BODY, {**BODY, "thinking": "Nobody wrote this."}, {"": "x1"}, [1, 2.5], "cmpl-7", None]
)
def test_what_many_calls_share_is_kept_once_and_nothing_of_it_is_lost(
    archive: Archive, owner: Owner, body: object
) -> None:
    told = {"requested_model": "openai/scribe", "response_id": "cmpl-7", "endpoint": "host/v1", "proxy": None}
    raw = None if body is None else json.dumps(body)
    for number in (1, 2):
        call = Call(number)
        given = answer("said", response_as_received=raw, model_forensics=told, marks=("oversized",))
        record = archive.commit(call, claim(archive, owner, call), question(), given)
        found = Archive(archive.store).look_up(call, KEY)
        assert found is not None
        assert found[0] == record
    shared = [name for name in archive.store.names(layout.ARCHIVE) if name.startswith("shared_")]
    assert len(shared) == 2, "a question, and what both answers have in common"


def test_an_answer_whose_shared_part_is_gone_is_damaged_and_not_asked_again(archive: Archive, owner: Owner) -> None:
    archived(archive, owner, CALL, "said")
    key = json.loads(archive.store.get(CALL.metadata))["shared_sha256"]
    archive.store.remove(layout.shared(key))
    with pytest.raises(ArchiveDamaged):
        Archive(archive.store).look_up(CALL, KEY)
