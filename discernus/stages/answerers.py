"""Who answered a session's calls: stand-ins and why, versions, vendors and places, and by which prices."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from discernus.experiments.experiment import OFFLINE_PREFIX
from discernus.llm.catalogue import facts_of
from discernus.llm.models_file import ModelsFile
from discernus.llm.policy import region_of
from discernus.reports.data import AnsweringVersion, Destination, StandIn
from discernus.reports.records import AnalysisRecord
from discernus.sessions.archive import ArchivedCall
from discernus.sessions.failures import Failure
from discernus.sessions.layout import Call
from discernus.sessions.session import Session
from discernus.sessions.substitutes import is_substitute
from discernus.sessions.versions import versions
from discernus.stages.records import all_calls

NOT_CALLED = "no calls taken"  # why a fallback was called where the model itself was not: it was closed for a time

_Place = tuple[str | None, str | None]
_Failed = dict[tuple[object, ...], list[Failure]]  # by what was wanted, oldest first


@dataclass
class Answers:
    """What all archived answers tell together. Places are vendor and region, None where nobody told."""

    places: dict[str, dict[_Place, None]] = field(default_factory=lambda: defaultdict(dict))  # by model
    prices: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # by model
    substitutes: set[tuple[str, str | None]] = field(default_factory=set)  # model asked, and who answered
    readings: set[Call] = field(default_factory=set)  # second ones
    read_by_others: Counter[tuple[str, str]] = field(default_factory=Counter)  # substitutes among these


def answers_of(session: Session) -> Answers:
    """Return what the archive tells of its answers, read once."""
    found = Answers()
    for answer in all_calls(session):
        model, forensics = answer.model_requested, answer.model_forensics
        found.places[model][forensics.get("vendor"), forensics.get("deployment_region")] = None
        if answer.price_source is not None:
            found.prices[model].add(answer.price_source)
        substituted = is_substitute(session, answer)
        if substituted:
            found.substitutes.add((model, answer.model_answered))
        if answer.purpose == "extraction":
            _note_reading(found, answer, substituted=substituted)
    return found


def _note_reading(found: Answers, answer: ArchivedCall, *, substituted: bool) -> None:
    call = Call.named(answer.call)
    if call not in found.readings and substituted and answer.model_answered is not None:
        found.read_by_others[answer.model_requested, answer.model_answered] += 1
    found.readings.add(call)


def stand_ins(
    session: Session, records: Iterable[AnalysisRecord], answers: Answers, failures: Iterable[Failure]
) -> tuple[StandIn, ...]:
    """Return which models answered in the place of others: analyses first, then second readings."""
    failed: _Failed = defaultdict(list)
    for failure in failures:
        if failure.call is not None:
            failed[_wanted(Call.named(failure.call))].append(failure)
    return (*_analyses_by_others(list(records), failed), *_readings_by_others(session, answers, failed))


def _analyses_by_others(records: list[AnalysisRecord], failed: _Failed) -> Iterable[StandIn]:
    planned = Counter(record.model_requested for record in records)
    found: dict[tuple[str, str, bool], list[str]] = defaultdict(list)
    for record in records:
        if record.call is not None and record.read_by != record.model_requested:
            whose = (record.model_requested, record.read_by, bool(record.substituted))
            found[whose].append(_why(Call.named(record.call), failed))
    for (model, other, substitution), reasons in sorted(found.items()):
        why = {} if substitution else dict(Counter(reasons).most_common())
        yield StandIn("analysis", model, other, len(reasons), planned[model], why, substitution)


def _readings_by_others(session: Session, answers: Answers, failed: _Failed) -> Iterable[StandIn]:
    models, number = session.extraction_models, len(answers.readings)
    found: dict[str, list[str]] = defaultdict(list)
    for call in sorted(answers.readings, key=lambda call: call.name):
        if 0 < call.fallback < len(models):
            found[models[call.fallback]].append(_why(call, failed))
    for other, why in sorted(found.items()):
        yield StandIn("extraction", models[0], other, len(why), number, dict(Counter(why).most_common()))
    for (model, other), times in sorted(answers.read_by_others.items()):
        yield StandIn("extraction", model, other, times, number, substitution=True)


def _wanted(call: Call) -> tuple[object, ...]:
    """Return what a call was made for, whichever model it was put to."""
    return call.number, call.purpose, call.source, call.ask if call.purpose == "extraction" else None


def _why(call: Call, failed: _Failed) -> str:
    """Return the class of the last failure of the models that were to answer before this one did."""
    earlier = [one for one in failed.get(_wanted(call), ()) if Call.named(str(one.call)).fallback < call.fallback]
    return earlier[-1].error_class if earlier else NOT_CALLED


def answering_versions(
    session: Session, records: Iterable[AnalysisRecord], answers: Answers
) -> tuple[AnsweringVersion, ...]:
    """Return the versions of each model that answered under more than one, in order of time."""
    counted = Counter((record.model_asked, record.model_answered) for record in records if record.call is not None)
    found: dict[str, list[AnsweringVersion]] = defaultdict(list)
    for one in versions(session.store):
        if (one.model, one.version) not in answers.substitutes:  # another model is no version of this one
            analyses = counted[one.model, one.version]
            found[one.model].append(AnsweringVersion(one.model, one.version, one.call, one.at[:19], analyses))
    return tuple(version for own in found.values() if len(own) > 1 for version in own)


def destinations(models: Iterable[str], answers: Answers, models_file: ModelsFile) -> tuple[Destination, ...]:
    """Return where each of the models' calls went: as its answers tell, else by its name and by models.yaml."""
    found: list[Destination] = []
    for model in sorted(set(models)):
        if model.startswith(OFFLINE_PREFIX):
            continue
        rules = models_file.rules(model)
        supposed = facts_of(model, rules).vendor
        for vendor, region in answers.places.get(model, {(None, None): None}):
            served_by = vendor or supposed
            stated = region_of(model, served_by, rules)
            source = "the call" if region else "its name or models.yaml" if stated else ""
            found.append(Destination(model, served_by, region or stated, source))
    return tuple(dict.fromkeys(found))
