"""How everything in a package came about, as W3C PROV has it: which call made which answer of which prompt, of which
answer a score was read, and of which scores a table was computed.

Each step is a ``CreateAction`` of schema.org too, the form in which RO-Crate tells of what was done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rocrate.model import ContextEntity
from rocrate.rocrate import ROCrate

from discernus.packages.subject import Subject
from discernus.packages.tables import EXACT, Asked
from discernus.sessions import layout
from discernus.sessions.archive import ArchivedCall
from discernus.sessions.session import Session
from discernus.stages.records import answered_at, asked_at
from discernus.stages.taken_over import source_of

PROV = "http://www.w3.org/ns/prov#"

_COMPUTED = (layout.RESULTS, layout.EVIDENCE, layout.CONSISTENCY, layout.HYPOTHESIS_TESTS)
_NAMES = tuple(name.rpartition("/")[2] for name in _COMPUTED)
_PROGRAM = "#discernus"
_AGENT = ["SoftwareApplication", "prov:SoftwareAgent"]
_ACTION = ["CreateAction", "prov:Activity"]

_FROZEN = ("session/experiment_snapshot.md", "session/framework_snapshot.md", "session/corpus_manifest.json")


def add_history(crate: ROCrate, subject: Subject) -> None:
    """Add the steps of the session, their agents, and to each file the step that made it."""
    session = subject.session
    program = _program(crate, subject)
    answers = [_call(crate, one) if one.record.reused_from is None else _reused(crate, one) for one in subject.calls]
    read = _readings(crate, session)
    tables = _there(crate, (*(f"session/{name}" for name in _COMPUTED), *(f"tables/{name}" for name in _NAMES)))
    report = _there(crate, (f"session/{layout.REPORT}",))
    _step(crate, "extraction", "Scores read from the answers by rule", program, answers, read)
    _step(crate, "calculation", "Derived metrics and tables computed from the scores", program, read, tables)
    _step(crate, "synthesis", "The report and its pages written from the tables", program, tables, report)


def _program(crate: ROCrate, subject: Subject) -> str:
    properties: dict[str, Any] = {"@type": _AGENT, "name": "discernus"}
    if subject.ran is not None:
        properties["version"] = subject.ran
    return _id(crate.add(ContextEntity(crate, _PROGRAM, properties=properties)))


def _call(crate: ROCrate, one: Asked) -> str:
    """Add the call that made an answer, and return the answer's id."""
    record, answer = one.record, f"session/{one.response}"
    model = _model(crate, record)
    asked = _question(crate, one)
    step = _asking(record, model, asked, answer, f"Call {record.call}")
    identifier = f"#call-{record.call}-{record.attempt}"
    crate.add(ContextEntity(crate, identifier, properties=step))
    _made(crate, answer, identifier, asked, model)
    return answer


def _reused(crate: ROCrate, one: Asked) -> str:
    """Add the call of another session that an answer was given to there, and its being taken over; return its id."""
    record, answer = one.record, f"session/{one.response}"
    assert record.reused_from is not None
    source, model, asked = source_of(record.reused_from), _model(crate, record), _question(crate, one)
    there, original = f"#{record.reused_from}", f"#{record.reused_from}-answer"
    call = f"Call {record.reused_from.rpartition('/')[2]} of {source}"
    crate.add(ContextEntity(crate, there, properties=_asking(record, model, asked, original, call)))
    described = {
        "@type": ["CreativeWork", "prov:Entity"],
        "name": f"The answer to {call.lower()}, given and paid for there; it is in this package as {one.response}",
        "prov:wasGeneratedBy": {"@id": there},
        "prov:wasAttributedTo": {"@id": model},
    }
    crate.add(ContextEntity(crate, original, properties=described))
    step = {
        "@type": _ACTION,
        "name": f"The answer to call {record.call} taken over from {source} instead of asking again",
        "instrument": {"@id": _PROGRAM},
        "object": {"@id": original},
        "result": {"@id": answer},
        "prov:used": {"@id": original},
        "prov:wasAssociatedWith": {"@id": _PROGRAM},
    }
    identifier = f"#taken-over-{record.call}"
    crate.add(ContextEntity(crate, identifier, properties=step))
    _made(crate, answer, identifier, [original], model)
    return answer


def _model(crate: ROCrate, record: ArchivedCall) -> str:
    """Return the id of the model that was called, which is described once."""
    model = f"#model-{record.model_requested}"
    if crate.dereference(model) is None:
        crate.add(ContextEntity(crate, model, properties={"@type": _AGENT, "name": record.model_requested}))
    return model


def _question(crate: ROCrate, one: Asked) -> list[str]:
    return _there(crate, (f"session/{file}" for file in (one.request, *one.messages)))


def _asking(record: ArchivedCall, model: str, asked: list[str], answer: str, call: str) -> dict[str, Any]:
    """Return the step of a model's being asked, with its times as far as they were recorded."""
    by = f"answered by {record.model_answered}" if record.model_answered else "which model answered was not recorded"
    step: dict[str, Any] = {
        "@type": _ACTION,
        "name": f"{call} to {record.model_requested}, {by}",
        "instrument": {"@id": model},
        "object": _ids(asked),
        "result": {"@id": answer},
        "prov:used": _ids(asked),
        "prov:wasAssociatedWith": {"@id": model},
    }
    started, ended = asked_at(record, EXACT), answered_at(record, EXACT)
    if ended is not None:
        step |= {"endTime": ended, "prov:endedAtTime": ended}
    if started is not None:
        step |= {"startTime": started, "prov:startedAtTime": started}
    return step


def _readings(crate: ROCrate, session: Session) -> list[str]:
    """Say of each file of scores which answers it was read from; return these files."""
    found = []
    for number in range(1, session.facts.analyses + 1):
        extracted = session.extracted(number)
        if extracted is None:
            continue
        calls = [call for call in (extracted.call, extracted.second_call) if call is not None]
        answers = [f"session/{layout.Call.named(call).response}" for call in calls]
        name = f"session/{layout.extracted(number)}"
        _made(crate, name, "#extraction", answers)
        found.append(name)
    return found


def _step(crate: ROCrate, stage: str, name: str, program: str, used: list[str], made: list[str]) -> None:
    frozen = _there(crate, _FROZEN)
    properties = {
        "@type": _ACTION,
        "name": name,
        "instrument": {"@id": program},
        "object": _ids((*frozen, *used)),
        "result": _ids(made),
        "prov:used": _ids((*frozen, *used)),
        "prov:wasAssociatedWith": {"@id": program},
    }
    crate.add(ContextEntity(crate, f"#{stage}", properties=properties))
    if stage != "extraction":
        for file in made:
            _made(crate, file, f"#{stage}", used)


def _made(crate: ROCrate, file: str, step: str, of: Iterable[str], by: str | None = None) -> None:
    entity = crate.dereference(file)
    if entity is None:
        return
    entity["prov:wasGeneratedBy"] = {"@id": step}
    entity["prov:wasDerivedFrom"] = _ids(of)
    if by is not None:
        entity["prov:wasAttributedTo"] = {"@id": by}


def _there(crate: ROCrate, names: Iterable[str]) -> list[str]:
    return [name for name in names if crate.dereference(name) is not None]


def _ids(names: Iterable[str]) -> list[dict[str, str]] | dict[str, str]:
    """Return references to entities; a single one is no list, as RO-Crate recommends."""
    found = [{"@id": name} for name in names]
    return found[0] if len(found) == 1 else found


def _id(entity: Any) -> str:
    return str(entity.id)
