"""Taking texts out: of odd answers, for a copy or for good; what cannot be taken out without a number goes whole."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.make_experiment import make_experiment
from cli.exits import COMPLETE, INVALID, CommandError
from cli.packages import erase_document
from discernus.experiments.definition import read_definition
from discernus.experiments.freezing import MANIFEST, SnapshotDamaged, taken_out, taken_out_of, thaw
from discernus.packages import erasure
from discernus.packages.erasure import CannotErase, document_of, elsewhere, erase
from discernus.packages.exporting import CannotExport, Wanted, export
from discernus.packages.passages import LEAST, MARK, letters_of
from discernus.packages.reproduction import reproduce
from discernus.packages.withholding import CannotWithhold, copy_without, documents_of
from discernus.sessions import layout
from discernus.sessions.calls import Calls
from discernus.sessions.integrity.examination import examine
from discernus.sessions.integrity.redaction import Redaction, read_redactions, record_redaction
from discernus.sessions.integrity.verification import verify
from discernus.sessions.layout import Call
from discernus.sessions.opening import open_session
from discernus.sessions.owners import Lock, Owner
from discernus.sessions.questions import read_question
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.analysis import analyse, extract_by_model
from discernus.stages.calculation import calculate
from discernus.stages.reading import read_answer
from discernus.stages.sealing import seal
from discernus.stages.synthesis import synthesise
from tests.stand_ins import Model, opened, scores

SETTINGS = Settings(retry_max_attempts=1)
FIRST, SECOND = "address-00001", "address-00002"
REASON = "a request of the speaker"


def sentences(session: Session, document: str = FIRST) -> list[str]:
    """Return the sentences of a text, without what ends them."""
    return [one.strip() for one in session.definition.texts[document].replace("\n", " ").split(".") if one.strip()]


async def session_with(tmp_path: Path, *says: Any, reader: str | None = None, sealed: bool = True) -> Session:
    """Return a session whose analyses were answered with these words in turn, sealed unless told otherwise."""
    session = opened(tmp_path, words=80, extraction_model=reader and "openai/reader")
    asked = [says[0], *([reader] if reader else []), *says[1:]]
    calls = Calls(Owner(tmp_path / "owners"), Model(*asked), minimum_free_bytes=0)
    for number in range(1, len(says) + 1):
        await analyse(session, calls, SETTINGS, number, 0)
        if number == 1 and reader is not None:
            await extract_by_model(session, calls, SETTINGS, number, 0)
        read_answer(session, number, 0, final=True)
    if sealed:
        calculate(session)
        synthesise(session)
        seal(session)
    return session


def copied(session: Session, tmp_path: Path, *ids: str) -> tuple[Session, Redaction]:
    """Return a copy without the texts of these documents, or of all of them, with what was taken out."""
    target = tmp_path / "copies/projects/bench/experiments/speeches/sessions" / session.folder.name
    target.parent.mkdir(parents=True)
    documents = documents_of(session, ids or None)
    redaction = copy_without(session, target, documents, kind="withholding", reason=REASON)
    return Session(target), redaction


def said_in(session: Session) -> dict[str, str]:
    """Return the letters of everything that the session's files say, by their names."""
    files = (path for path in session.folder.rglob("*") if path.is_file())
    read = {path: gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in files}
    return {
        path.relative_to(session.folder).as_posix(): letters_of(data.decode("utf-8", "replace"))
        for path, data in read.items()
    }


def holding(session: Session, text: str, but: str = "") -> list[str]:
    """Return the files that hold some letters in a row of the text, which are not in the other text."""
    letters, others = letters_of(text), letters_of(but)
    found = [letters[start : start + LEAST + 4] for start in range(0, len(letters) - LEAST - 4, 4)]
    stretches = [one for one in found if one not in others]
    assert stretches
    return sorted(name for name, said in said_in(session).items() if any(one in said for one in stretches))


def numbers(session: Session, number: int = 1) -> dict[str, float]:
    extracted = session.extracted(number)
    assert extracted is not None
    return extracted.extraction.scores


# answers


async def test_words_of_the_text_go_from_prose_lists_keys_and_metadata_and_scores_stay(tmp_path: Path) -> None:
    def answer(request: Any) -> str:
        body = request.messages[-1].content
        quotes = [one.strip() for one in body.split("BEGIN TEXT\n")[1].replace("\n", " ").split(".") if len(one) > 40]
        given = {**json.loads(scores(0.4)), "urgency_evidence": [quotes[0], quotes[1]], "notes": {quotes[2]: 0.9}}
        return f"He says “{quotes[0]}”, and:\n> {quotes[1].upper()}\n\n```json\n{json.dumps(given)}\n```\nSo be it."

    session = await session_with(tmp_path, answer, answer)
    text = session.definition.texts[FIRST]
    assert len(holding(session, text)) > 4
    copy, redaction = copied(session, tmp_path)
    for document in (FIRST, SECOND):
        assert holding(copy, session.definition.texts[document]) == []
    assert redaction.unreadable == ()
    assert numbers(copy) == numbers(session)
    found = copy.archive.look_up(Call(1))
    assert found is not None
    assert found[1].startswith(f"He says “{MARK}”, and:")
    assert found[1].endswith("So be it.")


async def test_short_evidence_goes_too_where_it_stands_as_evidence(tmp_path: Path) -> None:
    given = {**json.loads(scores(0.4)), "urgency_evidence": ["we must", "stern"], "tone": "stern"}
    session = await session_with(tmp_path, json.dumps(given), scores())
    copy, _ = copied(session, tmp_path)
    found = copy.archive.look_up(Call(1))
    assert found is not None
    assert "we must" not in found[1]
    assert "we must" not in copy.store.get(layout.page(1)).decode()
    assert json.loads(found[1])["tone"] == "stern"  # a label that the text has too is still the model's
    assert "we must" not in copy.store.get(layout.REPORT).decode().partition("## Evidence")[2].partition("## Gaps")[0]


async def test_an_answer_whose_numbers_stand_in_the_masked_words_alone_goes_whole_and_its_scores_stand(
    tmp_path: Path,
) -> None:
    quote = sentences(opened(tmp_path / "look", words=80))[0]
    assert " number 1 " in quote
    vague = f"It is as urgent as can be: “{quote}”, and nothing else is to be seen."
    reader = json.dumps({"scores": {"urgency": 1}})  # a number counts that stands in the first answer, word for word
    session = await session_with(tmp_path, vague, scores(), reader=reader)
    assert numbers(session) == {"urgency": 1.0}
    copy, redaction = copied(session, tmp_path)
    assert redaction.unreadable == ("response_001.txt",)
    found = copy.archive.look_up(Call(1))
    assert found is not None
    assert found[1].strip() == MARK
    assert numbers(copy) == {"urgency": 1.0}
    assert holding(copy, session.definition.texts[FIRST]) == []
    package = export(session, Wanted(tmp_path / "out", without_texts=True)).package
    assert verify(package).intact
    again = reproduce(package)
    assert (again.agrees, again.taken_over, again.read_again) == (True, ("001",), 1)


async def test_a_reason_that_repeats_what_stood_in_a_scores_place_is_masked_as_well(tmp_path: Path) -> None:
    quote = max(sentences(opened(tmp_path / "look", words=80)), key=len)
    session = await session_with(tmp_path, json.dumps({"urgency_score": quote, "patience_score": 0.2}), scores())
    assert numbers(session) == {"patience": 0.2}
    assert "extracted/extracted_001.json" in holding(session, quote)
    copy, redaction = copied(session, tmp_path)
    assert (redaction.unreadable, numbers(copy)) == ((), {"patience": 0.2})
    assert holding(copy, session.definition.texts[FIRST]) == []
    record_redaction(copy.store, redaction)
    assert examine(copy.folder, packaged=True).findings == ()


async def test_texts_in_errors_logs_and_earlier_versions_go_as_well(tmp_path: Path) -> None:
    session = await session_with(tmp_path, scores(), scores(), sealed=False)
    quote = max(sentences(session), key=len)
    error = {"call": "001", "attempt": 9, "body": json.dumps({"error": {"message": f"cannot take: {quote}"}})}
    session.store.put(Call(1).error(9), json.dumps(error).encode())
    session.store.put("fault_recovery/torn/bytes", f"half a line {quote}".encode())
    session.store.put("logs/old.jsonl.gz", gzip.compress(f'{{"event": "{quote}"}}'.encode()))
    session.store.put(layout.superseded(1, layout.REPORT), f"# Report\n\n- “{quote}”\n".encode())
    calculate(session)
    synthesise(session)
    seal(session)
    assert {name.rpartition("/")[2] for name in holding(session, quote)} >= {"bytes", "old.jsonl.gz", "final_report.md"}
    copy, redaction = copied(session, tmp_path)
    assert holding(copy, session.definition.texts[FIRST]) == []
    gone = {one.name for one in redaction.files if one.replaced_by is None}
    assert gone == {"logs/old.jsonl.gz"}


async def test_a_text_of_three_words_goes_from_prompts_and_from_what_errors_repeat_of_them(tmp_path: Path) -> None:
    folder = make_experiment(tmp_path / "projects", documents=2, runs=1, words=80)
    (folder / "corpus" / f"{FIRST}.txt").write_text("Peace, now.\n")
    definition = read_definition(folder)
    assert definition.documents[0].id == FIRST
    session = open_session(tmp_path / "projects", folder, definition, concurrency=1, call_timeout_s=60, mirror=None)
    calls = Calls(Owner(tmp_path / "owners"), Model(), minimum_free_bytes=0)
    for number in (1, 2):
        await analyse(session, calls, SETTINGS, number, 0)
        read_answer(session, number, 0, final=True)
    asked = {"messages": [{"content": "Score it.\n\nBEGIN TEXT\nPeace, now.\nEND TEXT\n"}]}
    error = {"request_as_sent": asked, "body": json.dumps({"cannot take": asked})}
    session.store.put(Call(1).error(9), json.dumps(error).encode())
    copy, _ = copied(session, tmp_path)
    prompts = [path.read_text() for path in (copy.folder / layout.ARCHIVE / "messages").iterdir()]
    assert not [prompt for prompt in prompts if "Peace" in prompt]
    assert sum(f"BEGIN TEXT\n{MARK}\nEND TEXT" in prompt for prompt in prompts) == 2
    left = copy.store.get(Call(1).error(9)).decode()
    assert "Peace" not in left
    assert left.count(MARK) == 2


async def test_the_other_texts_stay_when_one_is_taken_out(tmp_path: Path) -> None:
    session = await session_with(tmp_path, scores(), scores())
    copy, redaction = copied(session, tmp_path, FIRST)
    assert redaction.documents == (FIRST,)
    assert copy.definition.texts[SECOND] == session.definition.texts[SECOND]
    assert taken_out_of(copy.definition) == {FIRST}
    prompt = read_question(session.store, Call(2).request)["messages"][1]["content_sha256"]
    assert copy.store.get(layout.message(prompt)) == session.store.get(layout.message(prompt))
    assert copy.store.get(Call(2).response) == session.store.get(Call(2).response)


async def test_a_framework_that_quotes_a_text_is_left_and_named(tmp_path: Path) -> None:
    look = opened(tmp_path / "look", words=80)
    quote = max(sentences(look), key=len)
    folder = make_experiment(tmp_path / "projects", documents=2, runs=1, words=80)
    framework = folder / "framework.md"
    framework.write_text(framework.read_text().replace("## Dimensions", f"As in: {quote}.\n\n## Dimensions"))
    definition = read_definition(folder)
    session = open_session(tmp_path / "projects", folder, definition, concurrency=1, call_timeout_s=60, mirror=None)
    copy, redaction = copied(session, tmp_path)
    assert redaction.quoted_still == ("framework_snapshot.md",)
    assert copy.definition.framework == session.definition.framework


async def test_a_copy_that_would_hold_another_number_is_not_made(tmp_path: Path) -> None:
    session = await session_with(tmp_path, scores(), scores())
    table = session.store.get(layout.RESULTS).decode()
    session.store.put(layout.RESULTS, table.replace(",0.5,", ",0.25,", 1).encode())
    with pytest.raises(CannotWithhold, match=r"of analysis 1 would be '0\.5'"):
        copied(session, tmp_path)
    assert not list((tmp_path / "copies").rglob("*.json"))


# what is packed


async def test_a_session_that_is_not_sealed_at_work_or_not_what_was_sealed_is_not_packed(tmp_path: Path) -> None:
    session = await session_with(tmp_path, scores(), scores(), sealed=False)
    wanted = Wanted(tmp_path / "out")
    with pytest.raises(CannotExport, match="is not sealed"):
        export(session, wanted)
    calculate(session)
    synthesise(session)
    seal(session)
    lock = Lock(session.folder / layout.OWNER_LOCK)
    assert lock.acquire()
    with pytest.raises(CannotExport, match="is at work"):
        export(session, wanted)
    lock.release()
    session.store.put(layout.REPORT, b"# Another report\n")
    with pytest.raises(CannotExport, match=r"not what was sealed .*final_report\.md"):
        export(session, wanted)
    assert not wanted.to.exists()


async def test_a_package_of_a_session_that_a_text_was_erased_from_says_so_and_reproduces(tmp_path: Path) -> None:
    session = await session_with(tmp_path, scores(0.3), scores(0.6))
    erase(session, document_of(session, FIRST), REASON)
    package = export(Session(session.folder), Wanted(tmp_path / "out")).package
    assert "The words of 1 text" in (package / "data/README.md").read_text()
    assert verify(package).intact
    assert reproduce(package).agrees
    bare = export(Session(session.folder), Wanted(tmp_path / "bare.zip", without_texts=True))
    assert bare.redaction is not None
    assert bare.redaction.documents == (SECOND,)
    assert verify(bare.package).intact


# thawing


async def test_what_stands_in_a_texts_place_is_read_and_nothing_else(tmp_path: Path) -> None:
    session = opened(tmp_path)
    document = session.definition.documents[0]
    session.store.put(f"corpus/{document.file}", taken_out(document.sha256).encode())
    assert taken_out_of(thaw(session.store.get)) == {document.id}
    for other in (taken_out("0" * 64), taken_out(document.sha256) + " ", "This text was taken out."):
        session.store.put(f"corpus/{document.file}", other.encode())
        with pytest.raises(SnapshotDamaged):
            thaw(session.store.get)


# erasing


async def erased(session: Session, document: str = FIRST) -> erasure.Erased:
    return erase(session, document_of(session, document), REASON)


async def test_an_erased_text_is_nowhere_in_its_session_which_is_sealed_anew_and_verifies(tmp_path: Path) -> None:
    session = await session_with(tmp_path, scores(0.3), scores(0.6))
    texts, before = session.definition.texts, numbers(session)
    (session.folder / layout.ARCHIVE / ".tmp-cut-off").write_text(texts[FIRST])
    assert len(holding(session, texts[FIRST], texts[SECOND])) > 1
    done = await erased(session)
    again = Session(session.folder)
    assert holding(again, texts[FIRST], texts[SECOND]) == []
    assert numbers(again) == before
    assert done.sealed is not None
    assert done.sealed.version == 2
    found = examine(session.folder)
    assert (found.state, found.findings) == ("sealed", ())
    [record] = read_redactions(again.store)
    assert (record.kind, record.reason, record.documents) == ("erasure", REASON, (FIRST,))
    assert [one.record for one in found.redactions] == [done.record]
    told = (tmp_path / "projects/bench/PROJECT_CHRONOLOG_bench.jsonl").read_text()
    assert '"session_redacted"' in told


def quoting_all(request: Any) -> str:
    """Return an answer that quotes, for its dimensions, sentences of its text in every order."""
    body = request.messages[-1].content.split("BEGIN TEXT\n")[1].partition("\nEND TEXT")[0].replace("\n", " ")
    quotes = [f"{one.strip()}." for one in body.split(".") if len(one) > 30]
    pairs = [[one, other] for one in quotes for other in quotes if one != other]
    return json.dumps({**json.loads(scores(0.4)), "urgency_evidence": quotes, "notes": pairs})


async def test_what_a_text_that_stays_says_as_well_is_kept_by_an_erasure_and_withheld_with_all_texts(
    tmp_path: Path,
) -> None:
    session = await session_with(tmp_path, quoting_all, quoting_all)
    other = session.definition.texts[SECOND]
    before = {name: session.store.get(name) for name in (Call(2).response, layout.extracted(2))}
    own = [letters_of(one) for one in sentences(session) if letters_of(one) not in letters_of(other)]
    assert len(holding(session, other)) > 4
    await erased(session)
    again = Session(session.folder)
    assert not [name for name, said in said_in(again).items() for one in own if len(one) >= LEAST and one in said]
    assert {name: again.store.get(name) for name in before} == before
    assert verify(session.folder).intact
    assert reproduce(export(again, Wanted(tmp_path / "out")).package).agrees
    bare = export(again, Wanted(tmp_path / "bare", without_texts=True)).package
    assert verify(bare).intact
    assert holding(Session(bare / "data/session"), other) == []


async def test_an_erasure_that_was_cut_off_is_finished_by_doing_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await session_with(tmp_path, scores(0.3), scores(0.6))
    texts, put = session.definition.texts, session.store.put
    done = 0

    def cut_off(name: str, data: bytes, *, durable: bool = True) -> None:
        nonlocal done
        done += 1
        if done == 2:
            raise OSError("the power went")
        put(name, data, durable=durable)

    monkeypatch.setattr(session.store, "put", cut_off)
    with pytest.raises(OSError, match="power"):
        await erased(session)
    again = Session(session.folder)
    assert holding(again, texts[FIRST], texts[SECOND])
    await erased(again)
    assert holding(again, texts[FIRST], texts[SECOND]) == []
    assert examine(session.folder).findings == ()
    with pytest.raises(CannotErase, match="before"):
        await erased(Session(session.folder))


async def test_what_was_not_answered_yet_is_given_up_and_never_asked(tmp_path: Path) -> None:
    session = await session_with(tmp_path, scores(), sealed=False)
    done = await erased(session, SECOND)
    assert done.sealed is None
    parked = session.parked(2)
    assert parked is not None
    assert (parked.error_class, parked.passing) == ("erased", False)
    assert REASON in parked.reason
    assert session.parked(1) is None


async def test_a_session_at_work_and_a_document_that_is_none_are_refused(tmp_path: Path) -> None:
    session = await session_with(tmp_path, scores(), scores())
    with pytest.raises(CannotErase, match="no document 'nobody'"):
        await erased(session, "nobody")
    lock = Lock(session.folder / layout.OWNER_LOCK)
    assert lock.acquire()
    with pytest.raises(CannotErase, match="at work"):
        await erased(session)
    lock.release()
    assert read_redactions(session.store) == []


async def test_every_other_place_that_holds_the_text_is_named(tmp_path: Path) -> None:
    session = await session_with(tmp_path, scores(), scores())
    other = session.folder.with_name("session_20200101_000000")
    shutil.copytree(session.folder, other)
    again = session.folder.parents[1] / "asked_again" / session.folder.name
    again.mkdir(parents=True)
    mirrored = Session(session.folder, tmp_path / "mirror")
    assert mirrored.archive.mirror is not None
    mirrored.archive.mirror.put("llm_archive/x.txt", b"x")
    (tmp_path / "projects/.discernus/index").mkdir(parents=True)
    document = document_of(session, FIRST)
    places = {one.place for one in elsewhere(mirrored, document)}
    live = tmp_path / "projects/bench/experiments/speeches/corpus" / document.file
    mirror = tmp_path / "mirror" / Path(*session.folder.parts[-5:])
    assert places == {str(live), str(other), str(again), str(mirror)}
    erase(mirrored, document, REASON)
    assert not (tmp_path / "projects/.discernus/index").exists()
    assert (other / "corpus" / document.file).read_text() == live.read_text()


def test_the_record_of_an_erasure_has_hashes_and_no_words(tmp_path: Path) -> None:
    session = opened(tmp_path)
    document = document_of(session, FIRST)
    done = erase(session, document, REASON)
    record = session.store.get(done.record).decode()
    assert document.sha256 in record
    assert letters_of(session.definition.texts[FIRST])[:LEAST] not in letters_of(record)
    assert json.loads(record)["at"] <= datetime.now(UTC).isoformat()
    assert MANIFEST not in {one["name"] for one in json.loads(record)["files"]}


async def test_the_command_asks_before_it_erases_and_says_what_it_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = await session_with(tmp_path, scores(0.3), scores(0.6))
    settings = Settings(projects_dir=tmp_path / "projects")
    with pytest.raises(CommandError, match="add --yes") as refused:
        erase_document(settings, "speeches", FIRST, reason=REASON, yes=False, as_json=False)
    assert refused.value.code == INVALID
    assert read_redactions(session.store) == []
    assert erase_document(settings, "speeches", FIRST, reason=REASON, yes=True, as_json=True) == COMPLETE
    told = json.loads(capsys.readouterr().out)
    assert (told["document"], told["sealed_version"], told["unreadable"]) == (FIRST, 2, [])
    assert [one["what"] for one in told["elsewhere"]] == ["the author's own file"]
    assert erase_document(settings, "speeches", SECOND, reason=REASON, yes=True, as_json=False) == COMPLETE
    said = " ".join(capsys.readouterr().out.split())
    assert f"'{SECOND}' is erased from {session.name}" in said
    assert "sealed anew as version 3; every score is what it was" in said
