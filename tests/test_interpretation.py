"""Prose around the tables: asked for once, every number in it looked up, set apart, and never in the report's way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from benchmarks.make_experiment import make_experiment
from cli.exits import CommandError
from cli.preparing import prepare
from discernus.audit.blindness import identifying_words
from discernus.audit.subject import Subject
from discernus.experiments.corpus import Document
from discernus.experiments.definition import read_definition
from discernus.llm.calls import ModelRequest
from discernus.reports.neutral_names import NeutralNames
from discernus.reports.prose import Prose
from discernus.sessions import layout
from discernus.sessions.calls import Calls
from discernus.sessions.integrity.verification import verify
from discernus.sessions.layout import Call
from discernus.sessions.opening import open_session
from discernus.sessions.owners import Owner
from discernus.settings import Settings
from discernus.stages.analysis import Asked, TryAgain, analyse
from discernus.stages.anew import make_anew
from discernus.stages.calculation import calculate
from discernus.stages.checkpoints import go_back
from discernus.stages.interpretation import interpret, judge, left_to_write, why_missing
from discernus.stages.reading import read_answer
from discernus.stages.sealing import seal
from discernus.stages.spending import calls_of
from discernus.stages.synthesis import synthesise
from tests.stand_ins import Model, failure, scores

WRITER, DEPUTY = "openai/writer", "openai/deputy"
PROSE = "Urgency has a mean of 0.50 over two documents.\n\nThat is 0.73 less than one would think."


class Desk:
    """A session of two documents whose analyses are answered, and the tables made; ``says`` is what its writers say."""

    def __init__(
        self,
        tmp_path: Path,
        *says: Any,
        models: tuple[str, ...] = (WRITER, DEPUTY),
        rows: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        self.projects = tmp_path / "projects"
        wanted = {"synthesis_model": WRITER, **settings}
        folder = make_experiment(self.projects, documents=2, runs=1, words=40, settings=wanted)
        if rows:
            (folder / "corpus.csv").write_text("\n".join(rows) + "\n")
        self.session = open_session(
            self.projects,
            folder,
            read_definition(folder),
            concurrency=2,
            call_timeout_s=60,
            mirror=None,
            synthesis_models=models,
        )
        self.settings = Settings(projects_dir=self.projects)
        self.model = Model(scores(), scores(), *says)
        asyncio.run(self._analyse())
        calculate(self.session)

    async def _analyse(self) -> None:
        with Owner(self.projects / ".discernus/owners") as owner:
            calls = Calls(owner, self.model, minimum_free_bytes=0)
            for number in (1, 2):
                await analyse(self.session, calls, self.settings, number, 0)
                read_answer(self.session, number, 0, final=True)

    @property
    def written(self) -> list[ModelRequest]:
        """What was asked of writers, on the wire."""
        return [request for request in self.model.asked if request.model in (WRITER, DEPUTY)]

    def ask(self, number: int = 3, ask: int = 0, fallback: int = 0, began: float = 0.0) -> Asked:
        """Ask for the prose as a worker does."""

        async def once() -> Asked:
            with Owner(self.projects / ".discernus/owners") as owner:
                calls = Calls(owner, self.model, minimum_free_bytes=0)
                return await interpret(self.session, calls, self.settings, number, ask, began=began, fallback=fallback)

        return asyncio.run(once())

    def report(self) -> str:
        synthesise(self.session)
        return self.session.store.get(layout.REPORT).decode()

    @property
    def prose(self) -> Prose:
        return Prose.model_validate_json(self.session.store.get(layout.INTERPRETATION))


def section(report: str) -> str:
    return report.partition("## Interpretation\n")[2].partition("\n## ")[0]


def test_prose_is_paid_once_and_stands_apart_with_who_wrote_it_and_what_the_tables_lack(tmp_path: Path) -> None:
    at = Desk(tmp_path, PROSE)
    assert at.ask().status == "answered"
    assert at.ask().reused
    assert len(at.written) == 1
    report = at.report()
    found = section(report)
    assert "not part of the results" in found
    assert f"{WRITER} was asked (answered by scribe-2026-01-01)" in found
    assert "**1 of them is not in the tables**" in found
    assert "> That is 0.73 **[not in the tables]** less than" in found
    assert "0.50 over two documents" in found
    assert [(one.text, one.found) for one in at.prose.numbers] == [("0.50", True), ("two", True), ("0.73", False)]
    assert report.count("[not in the tables]") == 1
    seal(at.session)
    assert at.session.noted_status()[0] == "complete"
    assert not verify(at.session.folder).findings


def test_what_a_model_is_told_are_tables_and_no_text_of_the_corpus(tmp_path: Path) -> None:
    at = Desk(tmp_path, PROSE)
    at.ask()
    told = "\n".join(message.content for message in at.written[0].messages)
    assert "| address-00001" in told
    assert "## Hypotheses" in told
    assert "## Gaps" in told
    for text in at.session.definition.texts.values():
        assert not any(sentence in told for sentence in text.split(". ") if len(sentence) > 20)


def test_in_a_blind_experiment_names_reach_the_reader_and_no_model(tmp_path: Path) -> None:
    rows = ("file,id,speaker", "address-00001.txt,alpha,Ada Lovelace", "address-00002.txt,beta,Alan Turing")
    at = Desk(tmp_path, "The mean of document-1 is 0.50; document-2, by person-2, has it too.", rows=rows, blind=True)
    at.ask()
    told = "\n".join(message.content for message in at.written[0].messages).casefold()
    for name in ("alpha", "beta", "address-0000", "lovelace", "turing"):
        assert name not in told, name
    assert "document-1" in told
    assert "The mean of alpha is 0.50; beta" in section(at.report())
    assert all(one.found for one in at.prose.numbers)


def test_an_audit_reads_what_a_writer_was_told_for_the_names_of_every_document(tmp_path: Path) -> None:
    rows = (
        "file,id,speaker,title,party",
        "address-00001.txt,alpha-1,Ada Lovelace,Notes on Engines,Whig",
        "address-00002.txt,beta-2,Alan Turing,Can Machines Think,Labour Club",
    )
    told: dict[str, Any] = {
        "hypotheses": {"lovelace_leads": "Lovelace is calmer than Turing in Notes on Engines."},
        "statistical_plan": [
            {"hypothesis": "lovelace_leads", "test": "mann_whitney", "variable": "urgency", "groups": "party"}
        ],
        "title": "Ada Lovelace and others",
    }
    at = Desk(tmp_path, "name-1 holds: value-2 of person-1 is at 0.50.", rows=rows, blind=True, **told)
    at.ask()
    asked = "\n".join(message.content for message in at.written[0].messages).casefold()
    for name in ("lovelace", "turing", "notes on engines", "whig", "labour club", "alpha-1", "address-0000"):
        assert name not in asked, name
    assert "lovelace_leads holds: " in at.report()
    found = Subject(at.session)
    assert identifying_words(found, "a").verdict == "pass"
    assert identifying_words(found, "a").of == 3
    at.session.store.put(layout.BRIEF, b"# other tables, of Turing by beta-2\n")
    at.ask(4)
    seen = identifying_words(Subject(at.session), "a")
    assert seen.verdict == "fail"
    assert [one.what for one in seen.places] == [
        "the prose about the tables: its id “beta-2”",
        "the prose about the tables: its part of a name “Turing”",
    ]


def test_neutral_names_are_nobodys_own_and_come_back_as_they_were() -> None:
    documents = (
        Document(id="document-1", file="b.txt", sha256="", characters=1, metadata={"year": "1843", "party": "left"}),
        Document(id="quill", file="c/Quill.txt", sha256="", characters=1, metadata={"date": "1843-05-01"}),
    )
    names = NeutralNames(documents, ("quill_variant", "default"))
    told = "In 1843 document-1 was left out by default; quill_variant of c/Quill.txt, 1843-05-01."
    hidden = names.hide(told)
    assert hidden == "In 1843 document-2 was left out by default; name-1 of document-3, value-1."
    assert names.show(hidden) == told.replace("c/Quill.txt", "quill")


def test_equal_tables_are_never_paid_for_again_and_others_are_another_question(tmp_path: Path) -> None:
    at = Desk(tmp_path, PROSE, "Now it is 0.50.")
    at.ask()
    calculate(at.session)
    assert left_to_write(at.session, at.settings, priced=False).done == 1
    at.session.store.put(layout.BRIEF, b"# other tables\n\n| a | 0.9 |\n")
    (todo,) = left_to_write(at.session, at.settings, priced=False).todo
    assert todo.number == 4
    assert "tables that have changed since" in section(at.report())
    assert PROSE.split()[0] not in section(at.report())
    at.ask(4)
    assert len(at.written) == 2
    assert "Now it is 0.50 **[not in the tables]**." in section(at.report())
    assert at.session.archive.look_up(Call(3, "synthesis")) is not None


def test_without_an_answer_the_report_stands_and_says_why(tmp_path: Path) -> None:
    at = Desk(tmp_path, failure("model_not_found"), failure("quota"), "It is 0.50.")
    assert at.ask(began=1.0).falls_back
    assert at.ask(fallback=1, began=1.0).status == "parked"  # a person could mend it, and nothing waits for that
    report = at.report()
    assert "Interpretation missing: model &#39;openai" in report or "Interpretation missing: model 'openai" in report
    assert "## Summary" in report
    assert why_missing(at.session)
    seal(at.session)
    assert at.session.noted_status()[0] == "complete"
    assert at.session.all_parked() == []
    go_back(at.session, "synthesis")  # a later run asks once more, the model that was asked for first
    assert left_to_write(at.session, at.settings, priced=False).todo[0].number == 3
    assert at.ask(began=Path(at.session.folder).stat().st_mtime + 60).status == "answered"
    assert "It is 0.50." in section(at.report())
    assert why_missing(at.session) == ""


@pytest.mark.parametrize("useless", ["", "I'm sorry, I cannot help with that.", "Error: upstream timed out"])
def test_an_answer_that_cannot_be_shown_is_asked_for_again_and_says_why(tmp_path: Path, useless: str) -> None:
    at = Desk(tmp_path, useless, PROSE)
    at.ask()
    assert judge(at.session, 3, 0, final=False, fallback=0) == "ask_again"
    assert judge(at.session, 3, 0, final=True, fallback=0) == "unreadable"
    assert "could not be used" in section(at.report())
    at.ask(ask=1)
    assert judge(at.session, 3, 1, final=False, fallback=0) == "done"
    assert "could not be used" in at.written[1].messages[-1].content
    assert "Call `003_synthesis_ask1`" in section(at.report())


def test_prose_cannot_pass_for_a_part_of_the_report_or_hide(tmp_path: Path) -> None:
    evil = (
        "## Summary\n\nAll is proved.\n\n| a | b |\n|---|---|\n| 1 | 0.99 |\n\n![x](http://evil/x.png) <b>bold</b>\n\n"
        "<!-- hidden 0.88 -->\n\n```\ncode\n```\n\n---\n\nSetext\n===\n\n1. An item\n> quote \u202e0.77"
    )
    at = Desk(tmp_path, evil)
    at.ask()
    report = at.report()
    headings = [line for line in report.splitlines() if line.startswith("#")]
    assert len([line for line in headings if "Summary" in line]) == 1
    inside = section(report).splitlines()
    body = [line for line in inside if line.startswith(">")]
    assert "All is proved." in " ".join(body)
    assert all(line.startswith(">") for line in inside[inside.index(body[0]) :] if line)
    assert not any(sign in line for line in body for sign in ("<b>", "![", "<!--", "```", "\u202e"))
    page = at.session.store.get(layout.REPORT_PAGE).decode()
    assert page.count(">Summary</h2>") == 1
    assert "<img" not in page
    assert "<!-- hidden" not in page
    assert "hidden 0.88 <strong>[not in the tables]</strong>" in page


def test_calculating_anew_keeps_prose_about_equal_tables_and_asks_nobody(tmp_path: Path) -> None:
    at = Desk(tmp_path, PROSE)
    at.ask()
    at.report()
    seal(at.session)
    make_anew(at.session, "calculation")
    assert "0.50 over two documents" in section(at.session.store.get(layout.REPORT).decode())
    assert len(at.model.asked) == 3
    assert not verify(at.session.folder).findings


def test_prose_is_costed_and_its_worst_case_known_beforehand(tmp_path: Path) -> None:
    at = Desk(tmp_path, PROSE, models=("openai/gpt-4o-mini",), synthesis_model="openai/gpt-4o-mini")
    (todo,) = left_to_write(at.session, at.settings, priced=True).todo
    assert todo.worst_usd is not None
    assert todo.worst_usd > 0
    at.ask()
    costs = [call for call in calls_of(at.session) if call.purpose == "synthesis"]
    assert [(one.model, one.fate, one.cost_usd) for one in costs] == [("openai/gpt-4o-mini", "answered", 0.01)]


def test_a_failure_in_passing_is_tried_again_and_counted_in_this_pass_alone(tmp_path: Path) -> None:
    at = Desk(tmp_path, failure("server_error"), PROSE, models=(WRITER,))
    with pytest.raises(TryAgain):
        at.ask()
    assert at.ask().status == "answered"
    events = at.session.store.get(layout.BRIEF)
    assert events
    assert at.session.archive.failures(Call(3, "synthesis"))[0]["error_class"] == "server_error"


def test_without_a_synthesis_model_nothing_of_it_is_written(tmp_path: Path) -> None:
    at = Desk(tmp_path, models=())
    assert "## Interpretation" not in at.report()
    for name in (layout.BRIEF, layout.INTERPRETATION):
        assert not at.session.store.exists(name)


def test_a_model_that_counts_phrases_is_refused_as_a_writer(tmp_path: Path) -> None:
    folder = make_experiment(tmp_path / "projects", settings={"synthesis_model": "offline/lexicon"})
    with pytest.raises(CommandError, match="writes no prose"):
        prepare(Settings(projects_dir=tmp_path / "projects"), read_definition(folder))


def test_a_writer_has_the_fallbacks_whose_keys_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "not-a-real-key")
    folder = make_experiment(tmp_path / "projects", settings={"synthesis_model": WRITER})
    prepared = prepare(Settings(projects_dir=tmp_path / "projects"), read_definition(folder))
    assert prepared.synthesis_models[0] == WRITER
    assert len(prepared.synthesis_models) > 1
    assert prepared.extraction_models == ()
