"""Where everything of a session lies: the names of its files, each with one purpose, and nothing else.

A *call name* is the plan number, plus what sets a call apart from the analysis's first question:
``017``, ``017_ask1`` (asked again), ``017_extraction`` (read by a second model).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from discernus.llm.calls import Purpose

ARCHIVE = "llm_archive"
EXTRACTED = "extracted"
INTENTS = "fault_recovery/intents"
PARKED = "fault_recovery/parked"
PAGES = "analysis_results"
DELIVERABLES = "deliverables"
STATE = "system_state"

SESSION = f"{STATE}/session.json"
STATUS = f"{STATE}/status.json"
TABLES_LOCK = f"{STATE}/tables.lock"
OWNER_LOCK = f"{STATE}/owner.lock"
RESULTS = f"{DELIVERABLES}/results.csv"
DICTIONARY = f"{DELIVERABLES}/data_dictionary.csv"
REPORT = f"{DELIVERABLES}/final_report.md"
CALL_LOG = f"{ARCHIVE}/metadata.jsonl"
EXTRACTION_LOG = f"{EXTRACTED}/extraction_log.jsonl"
OPERATIONAL_LOG = "logs/operational.jsonl"


@dataclass(frozen=True)
class Call:
    """A call's identity within its session: plan number, purpose, and which ask it is (0 for the first)."""

    number: int
    purpose: Purpose = "analysis"
    ask: int = 0

    @property
    def name(self) -> str:
        purpose = "" if self.purpose == "analysis" else f"_{self.purpose}"
        ask = f"_ask{self.ask}" if self.ask else ""
        return f"{self.number:03d}{purpose}{ask}"

    @classmethod
    def named(cls, name: str) -> Call:
        """Return the call of that name."""
        number, *rest = name.split("_")
        ask = int(rest.pop().removeprefix("ask")) if rest and rest[-1].startswith("ask") else 0
        return cls(int(number), cast(Purpose, rest[0]) if rest else "analysis", ask)

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


def extracted(number: int) -> str:
    return f"{EXTRACTED}/extracted_{number:03d}.json"


def parked(number: int) -> str:
    return f"{PARKED}/parked_{number:03d}.json"


def page(number: int) -> str:
    return f"{PAGES}/analysis_{number:03d}.md"


def checkpoint(stage: str) -> str:
    """Return the name of a stage's checkpoint: ``system_state/stage_analysis_complete.json``."""
    return f"{STATE}/stage_{stage}_complete.json"


def seal(version: int) -> str:
    return f"{STATE}/seal_{version:03d}.json"
