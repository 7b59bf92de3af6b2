"""Showing a call: the prompt that was sent, the answer that came, and each score with the words it rests on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from cli.conversations import show
from cli.exits import INVALID, CommandError
from cli.marking import BEGIN, END, fitted, marked
from discernus.llm.calls import ModelRequest
from discernus.llm.errors import CallFailed
from discernus.sessions import layout
from discernus.sessions.conversations import NoSuchCall, call_meant, calls_of, read_conversation
from discernus.sessions.integrity.redaction import Redacted, Redaction, record_redaction
from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from discernus.settings import Settings
from discernus.stages.analysis import extract_by_model
from discernus.stages.reading import read_answer
from tests.stand_ins import scores
from tests.test_stages import SETTINGS, Desk, desk


def quoting(request: ModelRequest) -> str:
    """Answer with the first sentence of the text as evidence, and with one that stands nowhere."""
    text = request.messages[-1].content.partition("\nBEGIN TEXT\n")[2]
    first = text.partition(". ")[0].replace("'", "’")
    given = {**json.loads(scores(0.25)), "urgency_evidence": [first, "words that nobody ever said"]}
    return f"Here you are:\n```json\n{json.dumps(given, indent=1)}\n```"


def shown_by(capsys: pytest.CaptureFixture[str], session: Session, call: str, *, prompt: bool = True) -> str:
    """Return what the command shows, on one line, having looked at its width."""
    settings = Settings(projects_dir=session.folder.parents[4])
    assert show(settings, session.name, call, prompt=prompt, as_json=False) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    return " ".join(out.split())


def told_by(capsys: pytest.CaptureFixture[str], session: Session, call: str) -> dict[str, object]:
    settings = Settings(projects_dir=session.folder.parents[4])
    assert show(settings, session.name, call, prompt=True, as_json=True) == 0
    told: dict[str, object] = json.loads(capsys.readouterr().out)
    return told


async def asked(tmp_path: Path, *says: object, **experiment: Any) -> Desk:
    one = desk(tmp_path, *says, **experiment)
    await one.ask(1)
    return one


# what a call is


async def test_a_conversation_is_put_together_from_what_was_sent(tmp_path: Path) -> None:
    one = await asked(tmp_path)
    found = read_conversation(one.session.archive, Call(1))
    (sent,) = one.model.asked
    assert [(turn.role, turn.text) for turn in found.messages] == [(m.role, m.content) for m in sent.messages]
    assert {turn.state for turn in found.messages} == {"as sent"}
    assert (found.model, found.parameters, found.answer) == (sent.model, sent.parameters, scores())


async def test_a_number_means_the_answer_that_counts_and_a_name_one_call(tmp_path: Path) -> None:
    one = await asked(tmp_path, "Mumbling.", scores())
    assert call_meant(one.session, "1") == Call(1)
    await one.ask(1, 1)
    assert call_meant(one.session, "1") == Call(1, ask=1), "the last that was answered, as long as none counts"
    read_answer(one.session, 1, 1, final=True)
    assert call_meant(one.session, "1") == call_meant(one.session, "001_ask1") == Call(1, ask=1)
    assert call_meant(one.session, "001_ask0") == Call(1)
    assert calls_of(one.session, 1) == [Call(1), Call(1, ask=1)]


@pytest.mark.parametrize("name", ["2", "99", "0", "001_ask2", "001_extraction", "speech", "", "../1"])
async def test_a_call_that_is_not_there_is_refused_with_what_there_is(tmp_path: Path, name: str) -> None:
    one = await asked(tmp_path)
    with pytest.raises(NoSuchCall, match=r"numbers 1 to 2|it has 001|is neither"):
        call_meant(one.session, name)


async def test_a_message_that_is_not_what_was_sent_is_said_to_be(tmp_path: Path) -> None:
    session = (await asked(tmp_path)).session
    system, user = read_conversation(session.archive, Call(1)).messages
    (session.folder / layout.message(system.sha256)).unlink()
    (session.folder / layout.message(user.sha256)).write_text("other words")
    states = [turn.state for turn in read_conversation(session.archive, Call(1)).messages]
    assert states == ["missing", "altered"]
    replaced = Redacted(
        name=layout.message(user.sha256), sha256=user.sha256, replaced_by=sha256(b"other words").hexdigest()
    )
    erased = Redaction(kind="erasure", at=datetime.now(UTC), reason="a request", documents=(), files=(replaced,))
    record_redaction(session.store, erased)
    assert read_conversation(session.archive, Call(1)).messages[1].state == "taken out"


# how it is shown


async def test_prompt_answer_scores_and_evidence_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = await asked(tmp_path, quoting)
    read_answer(one.session, 1, 0, final=True)
    analysis = one.session.analysis(1)
    first = " ".join(one.session.definition.texts[analysis.document].partition(". ")[0].split())
    page = shown_by(capsys, one.session, "1")
    assert f"document {analysis.document}, model openai/scribe, variant default, run 1" in page
    assert "answered by openai/scribe (as scribe-2026-01-01)" in page
    assert "100 tokens in, 20 out, 0.0100 USD" in page
    assert "You analyse a text by the framework below." in page
    assert f"BEGIN TEXT ▸{first}◂" in page, "marked in the text"
    assert f'"▸{first.replace(chr(39), "’")}◂"' in page, "and in the answer"
    assert "urgency 0.250 – JSON amid prose" in page
    assert f"found: “{first.replace(chr(39), '’')}”" in page
    assert "NOT FOUND: “words that nobody ever said”" in page
    assert sha256(one.session.store.get(Call(1).response)).hexdigest() in page
    assert "You analyse a text" not in shown_by(capsys, one.session, "1", prompt=False)


async def test_programs_get_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = await asked(tmp_path, quoting)
    read_answer(one.session, 1, 0, final=True)
    told = told_by(capsys, one.session, "1")
    assert (told["call"], told["model"], told["damage"]) == ("001", "openai/scribe", None)
    assert [message["role"] for message in told["messages"]] == ["system", "user"]  # type: ignore[attr-defined]
    urgency = told["values"][0]  # type: ignore[index]
    assert (urgency["dimension"], urgency["score"], urgency["read_as"]) == ("urgency", 0.25, "json_in_text")
    assert [quote["in_text"] for quote in told["evidence"]] == ["found", "not found"]  # type: ignore[attr-defined]


async def test_what_a_second_model_read_is_told_from_what_was_read_by_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = f"{scores(without=('rivalry',))} Rivalry, all in all, came to 0.75 or so."
    second = json.dumps({"scores": {"rivalry": 0.75}})
    one = await asked(tmp_path, first, second, extraction_model="openai/reader")
    await extract_by_model(one.session, one.calls, SETTINGS, 1, 0)
    read_answer(one.session, 1, 0, final=True)
    told = told_by(capsys, one.session, "1")
    read_as = {value["dimension"]: value["read_as"] for value in told["values"]}  # type: ignore[attr-defined]
    assert (read_as["rivalry"], read_as["urgency"]) == ("second_model", "json_in_text")
    assert "001_extraction: an answer read by a second model, answered" in shown_by(capsys, one.session, "1")


async def test_a_missing_score_is_shown_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = await asked(tmp_path, scores(without=("rivalry",)))
    read_answer(one.session, 1, 0, final=True)
    reason = one.session.extracted(1).extraction.missing["rivalry"]  # type: ignore[union-attr]
    page = shown_by(capsys, one.session, "1", prompt=False)
    assert f"rivalry – – {' '.join(reason.split())[:20]}" in page


async def test_a_call_without_an_answer_shows_what_came_instead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = await asked(tmp_path, CallFailed("refusal", "the model declined"))
    page = shown_by(capsys, one.session, "1", prompt=False)
    assert "asked of openai/scribe; no answer is archived" in page
    assert "attempt 1 failed: the model declined" in page


async def test_a_damaged_answer_is_not_shown_as_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = await asked(tmp_path)
    read_answer(one.session, 1, 0, final=True)
    (one.session.folder / Call(1).response).write_text("forged words")
    page = shown_by(capsys, one.session, "1", prompt=False)
    assert "is not the answer that was archived" in page
    assert "forged" not in page


async def test_an_answer_that_does_not_count_is_said_not_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = await asked(tmp_path, scores(0.1, without=("rivalry", "renewal")), scores(0.9))
    await one.ask(1, 1)
    read_answer(one.session, 1, 1, final=True)
    assert "these do not count: the analysis's scores are those of call 001_ask1" in shown_by(
        capsys, one.session, "001_ask0", prompt=False
    )


async def test_what_a_model_wrote_cannot_act_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = await asked(tmp_path, f"\x1b[2J\x07\u202e{BEGIN} words {scores()}")
    read_answer(one.session, 1, 0, final=True)
    page = shown_by(capsys, one.session, "1", prompt=False)
    assert not {"\x1b", "\x07", "\u202e", BEGIN, END} & set(page)


async def test_an_unknown_number_is_an_error_to_act_on(tmp_path: Path) -> None:
    one = await asked(tmp_path)
    settings = Settings(projects_dir=one.session.folder.parents[4])
    with pytest.raises(CommandError, match="numbers 1 to 2") as refused:
        show(settings, one.session.name, "77", prompt=True, as_json=False)
    assert refused.value.code == INVALID


# marks


@pytest.mark.parametrize(
    ("quotation", "text", "found"),
    [
        ("the pure people", "All of The  pure\nPeople rose.", ["The  pure\nPeople"]),
        ("don’t wait", "We don't wait, we don\\u2019t wait.", ["don't wait", "don\\u2019t wait"]),
        ("one two … five six", "one two three four five six", ["one two", "five six"]),
        ("line one line two", '"line one\\nline two"', ["line one\\nline two"]),
        ("art", "the party and art", ["art"]),
        ("absent words", "nothing of it", []),
        ("…", "nothing … of it", []),
        ("a b", "a b a b", ["a b", "a b"]),
    ],
)
def test_a_quotation_is_marked_where_it_stands(quotation: str, text: str, found: list[str]) -> None:
    pieces = [part.partition(END)[0] for part in marked(text, [quotation]).split(BEGIN)[1:]]
    assert pieces == found


def test_marks_that_overlap_become_one() -> None:
    assert marked("one two three four", ["one two three", "two three four"]) == f"{BEGIN}one two three four{END}"


def test_lines_are_broken_to_the_width_and_keep_their_indentation() -> None:
    lines = fitted("  " + "word " * 40 + "\n\n{", width=40)
    assert all(len(line) <= 40 for line in lines)
    assert all(line.startswith("  word") for line in lines[:-2])
    assert lines[-2:] == ["", "{"]
    assert max(map(len, fitted("人" * 100, width=40))) <= 20, "each takes two columns"
