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
from discernus.packages.tables import Asked, answered_at, asked_at, asked_of
from discernus.sessions import layout
from discernus.sessions.session import Session

PROV = "http://www.w3.org/ns/prov#"

_FROZEN = ("session/experiment_snapshot.md", "session/framework_snapshot.md", "session/corpus_manifest.json")


def add_history(crate: ROCrate, subject: Subject) -> None:
    """Add the steps of the session, their agents, and to each file the step that made it."""
    session = subject.session
    program = _program(crate, subject)
    answers = [_call(crate, one) for one in asked_of(session)]
    read = _readings(crate, session)
    tables = _there(crate, (f"session/{layout.RESULTS}", "tables/results.csv"))
    report = _there(crate, (f"session/{layout.REPORT}",))
    _step(crate, "extraction", "Scores read from the answers by rule", program, answers, read)
    _step(crate, "calculation", "Derived metrics and tables computed from the scores", program, read, tables)
    _step(crate, "synthesis", "The report and its pages written from the tables", program, tables, report)


def _program(crate: ROCrate, subject: Subject) -> str:
    version = subject.session.facts.versions.get("discernus", "unknown")
    properties = {"@type": ["SoftwareApplication", "prov:SoftwareAgent"], "name": "discernus", "version": version}
    return _id(crate.add(ContextEntity(crate, "#discernus", properties=properties)))


def _call(crate: ROCrate, one: Asked) -> str:
    """Add the call that made an answer, and return the answer's id."""
    record, answer = one.record, f"session/{one.response}"
    model = f"#model-{record.model_requested}"
    if crate.dereference(model) is None:
        properties = {"@type": ["SoftwareApplication", "prov:SoftwareAgent"], "name": record.model_requested}
        crate.add(ContextEntity(crate, model, properties=properties))
    asked = [name for name in (f"session/{file}" for file in (one.request, *one.messages)) if crate.dereference(name)]
    by = f"answered by {record.model_answered}" if record.model_answered else "which model answered was not recorded"
    name = f"Call {record.call} to {record.model_requested}, {by}"
    started, ended = asked_at(record), answered_at(record)
    step: dict[str, Any] = {
        "@type": ["CreateAction", "prov:Activity"],
        "name": name,
        "instrument": {"@id": model},
        "object": _ids(asked),
        "result": {"@id": answer},
        "prov:used": _ids(asked),
        "prov:wasAssociatedWith": {"@id": model},
    }
    if ended is not None:
        step |= {"endTime": ended, "prov:endedAtTime": ended}
    if started is not None:
        step |= {"startTime": started, "prov:startedAtTime": started}
    identifier = f"#call-{record.call}-{record.attempt}"
    crate.add(ContextEntity(crate, identifier, properties=step))
    _made(crate, answer, identifier, asked, model)
    return answer


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
        "@type": ["CreateAction", "prov:Activity"],
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
