"""Where everything of a session lies: the names of its files, each with one purpose, and nothing else.

A *call name* is the plan number, plus what sets a call apart from the analysis's first question: ``017``,
``017_ask1`` (asked again), ``017_fallback1`` (asked of the first fallback), ``017_extraction`` (read by a second
model), ``017_fallback1_extraction_fallback2_ask1`` (all of that).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import cast

from discernus.llm.calls import Purpose

ARCHIVE = "llm_archive"
EXTRACTED = "extracted"
INTENTS = "fault_recovery/intents"
PARKED = "fault_recovery/parked"
WAITING = "fault_recovery/waiting"
CLOSURES = f"{WAITING}/closures"
TORN = "fault_recovery/torn"
PAGES = "analysis_results"
DELIVERABLES = "deliverables"
STATE = "system_state"
VERSIONS = f"{STATE}/answering_versions"
SEGMENTS = f"{STATE}/chronolog"
REDACTIONS = f"{STATE}/redactions"
SUPERSEDED = f"{STATE}/superseded"
CHRONOLOG = "SESSION_CHRONOLOG.jsonl"
SETTINGS = "settings_snapshot.json"

SESSION = f"{STATE}/session.json"
STATUS = f"{STATE}/status.json"
LIMITS = f"{STATE}/limits.json"
TABLES_LOCK = f"{STATE}/tables.lock"
OWNER_LOCK = f"{STATE}/owner.lock"
RESULTS = f"{DELIVERABLES}/results.csv"
DICTIONARY = f"{DELIVERABLES}/data_dictionary.csv"
EVIDENCE = f"{DELIVERABLES}/evidence.csv"
CONSISTENCY = f"{DELIVERABLES}/consistency.csv"
HYPOTHESIS_TESTS = f"{DELIVERABLES}/hypothesis_tests.csv"
BRIEF = f"{DELIVERABLES}/interpretation_brief.md"  # what a model that writes prose is told: computed tables
INTERPRETATION = f"{DELIVERABLES}/interpretation.json"
REPORT = f"{DELIVERABLES}/final_report.md"
REPORT_PAGE = f"{DELIVERABLES}/final_report.html"
CALL_LOG = f"{ARCHIVE}/metadata.jsonl"
EXTRACTION_LOG = f"{EXTRACTED}/extraction_log.jsonl"
OPERATIONAL_LOG = "logs/operational.jsonl"


_NAME = re.compile(
    r"(?P<number>\d+)(?:_fallback(?P<first>\d+))?(?:_(?P<purpose>extraction|synthesis)(?:_fallback(?P<second>\d+))?)?"
    r"(?:_ask(?P<ask>\d+))?"
)


@dataclass(frozen=True)
class Call:
    """A call's identity within its session: plan number, purpose, which ask it is (0 for the first), of which
    candidate.

    ``fallback`` is 0 for the model that was asked for. ``source`` is the fallback whose answer a second model reads.
    """

    number: int
    purpose: Purpose = "analysis"
    ask: int = 0
    fallback: int = 0
    source: int = 0

    @property
    def name(self) -> str:
        fallback = f"_fallback{self.fallback}" if self.fallback else ""
        source = f"_fallback{self.source}" if self.source else ""
        which = fallback if self.purpose == "analysis" else f"{source}_{self.purpose}{fallback}"
        ask = f"_ask{self.ask}" if self.ask else ""
        return f"{self.number:03d}{which}{ask}"

    @classmethod
    def named(cls, name: str) -> Call:
        """Return the call of that name; ValueError if it is none."""
        found = _NAME.fullmatch(name)
        if found is None:
            raise ValueError(f"{name!r} is not the name of a call")
        purpose = cast(Purpose, found["purpose"] or "analysis")
        first, second, ask = int(found["first"] or 0), int(found["second"] or 0), int(found["ask"] or 0)
        number = int(found["number"])
        if purpose == "analysis":
            return cls(number, purpose, ask, fallback=first)
        return cls(number, purpose, ask, fallback=second, source=first)

    @property
    def request(self) -> str:
        return f"{ARCHIVE}/request_{self.name}.json"

    @property
    def response(self) -> str:
        return f"{ARCHIVE}/response_{self.name}.txt"

    @property
    def metadata(self) -> str:
        return f"{ARCHIVE}/metadata_{self.name}.json"

    def sidecar(self, attempt: int) -> str:
        """Return where an attempt's metadata lies where an earlier one, cut off before its commit, has the name."""
        return f"{ARCHIVE}/metadata_{self.name}_try{attempt}.json"

    def error(self, attempt: int) -> str:
        return f"{ARCHIVE}/error_{self.name}_try{attempt}.json"

    def rival(self, kind: str, attempt: int) -> str:
        suffix = "txt" if kind == "response" else "json"
        return f"{ARCHIVE}/rival_{kind}_{self.name}_try{attempt}.{suffix}"

    def intent(self, attempt: int) -> str:
        return f"{INTENTS}/{self.name}_try{attempt}.json"


def message(sha256: str) -> str:
    """Return the name of a message's text, archived once however many requests carry it."""
    return f"{ARCHIVE}/messages/{sha256}.txt"


def shared(sha256: str) -> str:
    """Return the name of what many records of calls say alike, kept once under its hash."""
    return f"{ARCHIVE}/shared_{sha256}.json"


def extracted(number: int) -> str:
    return f"{EXTRACTED}/extracted_{number:03d}.json"


def parked(number: int) -> str:
    return f"{PARKED}/parked_{number:03d}.json"


def waiting(model: str) -> str:
    return f"{WAITING}/{_file_name(model)}.json"


def closure(model: str, number: int) -> str:
    """Return the name of the note that a model took no calls for a time, for the so manieth time."""
    return f"{CLOSURES}/{_file_name(model)}_{number:03d}.json"


def version(model: str, answered: str) -> str:
    """Return the name of the note that a model has answered under that version."""
    return f"{VERSIONS}/{_file_name(model)}/{_file_name(answered)}.json"


def first_version(model: str) -> str:
    return f"{VERSIONS}/{_file_name(model)}.first"


def page(number: int) -> str:
    return f"{PAGES}/analysis_{number:03d}.md"


def checkpoint(stage: str) -> str:
    """Return the name of a stage's checkpoint: ``system_state/stage_analysis_complete.json``."""
    return f"{STATE}/stage_{stage}_complete.json"


def seal(version: int) -> str:
    return f"{STATE}/seal_{version:03d}.json"


def signature(version: int) -> str:
    """Return where the signature of a seal's bytes lies."""
    return f"{STATE}/seal_{version:03d}.sig.json"


def redaction(number: int) -> str:
    """Return the name of the record of texts that were taken out, by law or for a package."""
    return f"{REDACTIONS}/redaction_{number:03d}.json"


def segment(writer: str) -> str:
    """Return where one writer's part of the chronolog lies, until and after it is gathered."""
    return f"{SEGMENTS}/{_file_name(writer)}.jsonl"


def torn(file: str, offset: int) -> str:
    """Return where the bytes of a file's line are kept that a crash has cut off; ``offset`` is where it begins."""
    return f"{TORN}/{_file_name(file)}_{offset}.txt"


def superseded(version: int, name: str) -> str:
    """Return where a file of a sealed version is kept once a later one has another in its place."""
    return f"{SUPERSEDED}/seal_{version:03d}/{name}"


def _file_name(name: str) -> str:
    """Return a name of any kind as part of a file's name: itself where that is one, its hash added where it is not."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", name)[:80]
    return plain if plain == name else f"{plain}-{sha256(name.encode()).hexdigest()[:8]}"
