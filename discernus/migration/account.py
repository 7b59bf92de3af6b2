"""What a migration took over and what it did not: everything that went in, either out again or named with a reason."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from discernus.migration.found import Mention, Remark
from discernus.migration.further import FurtherFramework


@dataclass(frozen=True)
class SessionLine:
    """One session of the account: of ``planned`` analyses so many were answered, ``scored`` of them with scores.

    ``scored`` is None where nothing was read yet; ``others`` are answers that are no analyses.
    """

    name: str
    experiment: str
    old_id: str
    began_at: str | None
    planned: int
    analyses: int
    scored: int | None
    others: int
    failures: int
    notes: tuple[str, ...] = ()


@dataclass
class Account:
    """The account of one source. ``counts`` are of what went in; ``refused`` is what could not be written, with why."""

    source: str
    project: str
    counts: Counter[str] = field(default_factory=Counter)
    sessions: list[SessionLine] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    lost: dict[str, list[str]] = field(default_factory=dict)  # by experiment, of its definition
    frameworks: dict[str, str] = field(default_factory=dict)  # by experiment, how its framework came about
    documents: dict[str, dict[str, str]] = field(default_factory=dict)  # by experiment, where each text came from
    remarks: list[Remark] = field(default_factory=list)
    verbatim: dict[str, str] = field(default_factory=dict)  # a file's place in the project by its name in the source
    further: list[FurtherFramework] = field(default_factory=list)  # that no experiment of the source names
    refused: list[str] = field(default_factory=list)
    changed: bool = False  # whether anything was written

    @property
    def answers_out(self) -> int:
        return sum(one.analyses + one.others + one.failures for one in self.sessions)

    @property
    def balanced(self) -> bool:
        """Return whether every answer and every file that went in came out, or is in the list."""
        answers = self.counts["answers"] == self.answers_out + self.counts["duplicate answers"]
        files = self.counts["files"] == self.counts["files in calls"] + len(self.verbatim)
        return answers and files and not self.refused


def as_json(account: Account) -> bytes:
    """Return the account for programs."""
    return json.dumps(_content(account), ensure_ascii=False, indent=1).encode() + b"\n"


def as_json_line(account: Account) -> str:
    """Return the account as one line, with whether anything was written."""
    return json.dumps({**_content(account), "changed": account.changed}, ensure_ascii=False)


def _content(account: Account) -> dict[str, Any]:
    return {
        "format": 1,
        "source": account.source,
        "project": account.project,
        "balanced": account.balanced,
        "counts": dict(sorted(account.counts.items())),
        "answers_out": account.answers_out,
        "sessions": [{**one.__dict__, "notes": list(one.notes)} for one in account.sessions],
        "only_mentioned": [_mention(one) for one in account.mentions],
        "frameworks": account.frameworks,
        "documents": account.documents,
        "further_frameworks": [
            {"name": one.name, "written_to": one.place if one.data else None, "origin": one.origin, "lost": one.lost}
            for one in account.further
        ],
        "not_translated": account.lost,
        "not_understood": [
            {"place": str(one.place), "what": one.what, "reason": one.reason} for one in account.remarks
        ],
        "verbatim": dict(sorted(account.verbatim.items())),
        "refused": account.refused,
    }


def as_markdown(account: Account) -> str:
    """Return the account for people."""
    counts = account.counts
    lines = [
        f"# Migration of {account.source}",
        "",
        f"Into project {account.project}. "
        + ("Everything that went in came out, or is named below." if account.balanced else "**It does not add up.**"),
        "",
        "| | in | out |",
        "|---|---|---|",
        f"| files | {counts['files']} | {counts['files in calls']} in calls and texts, word for word; "
        f"{len(account.verbatim)} kept verbatim |",
        f"| files that were read | {counts['files read']} | |",
        f"| answers | {counts['answers']} | {_answers(account)} |",
        f"| questions without an answer | {counts['requests without an answer']} | named below |",
        f"| events | {counts['events']} | kept in their files, {counts['duplicate events']} of them twice |",
        *[
            f"| signatures {one} | {counts[f'signatures {one}']} | {_SIGNED[one]} |"
            for one in _SIGNED
            if counts[f"signatures {one}"]
        ],
        "",
        "## Sessions",
        "",
        *[_session(one) for one in account.sessions],
        *(["none"] if not account.sessions else []),
    ]
    if account.mentions:
        lines += ["", "## Sessions of which there are only events", ""]
        lines += [
            f"- {one.id}: {_events(one)}, from {one.first} to {one.last} ({one.place}){_begun(one)}"
            for one in account.mentions
        ]
    for experiment, origin in account.frameworks.items():
        lines += ["", f"## Definition of {experiment}", "", f"Framework: {origin}.", ""]
        lines += (
            ["Not translated:", "", *(f"- {one}" for one in account.lost.get(experiment, []))]
            if account.lost.get(experiment)
            else ["All of it is translated."]
        )
        lines += ["", "Texts:", "", *(f"- {name}: {where}" for name, where in account.documents[experiment].items())]
    if account.further:
        lines += ["", "## Further frameworks", ""]
        for one in account.further:
            lines += [f"- {one.name}: {further(one)}", *(f"  - not translated: {lost}" for lost in one.lost)]
    lines += ["", "## Not understood, or not taken over as it stood", ""]
    lines += [f"- {one.place}: {one.what}: {one.reason}" for one in account.remarks] or ["Nothing."]
    if account.refused:
        lines += ["", "## Not written", "", *(f"- {one}" for one in account.refused)]
    lines += ["", "## Kept verbatim", "", *(f"- {name} → {where}" for name, where in sorted(account.verbatim.items()))]
    return "\n".join(lines) + "\n"


_SIGNED = {
    "valid": "under the key that the old program was published with: they show a slip, and prove no author",
    "invalid": "the events are named below",
    "absent": "the events are named below",
}


def further(one: FurtherFramework) -> str:
    """Return in words what became of a framework that no experiment names."""
    return one.origin if one.data is None else f"written to {one.place}: {one.origin}"


def _answers(account: Account) -> str:
    parts = {
        "of analyses": sum(one.analyses for one in account.sessions),
        "other": sum(one.others for one in account.sessions),
        "failures": sum(one.failures for one in account.sessions),
        "twice in the source": account.counts["duplicate answers"],
    }
    return ", ".join(f"{number} {what}" for what, number in parts.items() if number) or "0"


def _session(one: SessionLine) -> str:
    scored = "" if one.scored is None else f", {one.scored} with scores"
    rest = "".join(f"; {note}" for note in one.notes)
    others = f", {one.others} other answer{'s' if one.others > 1 else ''}" if one.others else ""
    failures = f", {one.failures} failure{'s' if one.failures > 1 else ''}" if one.failures else ""
    name = one.name if one.name == one.old_id else f"{one.name} (was {one.old_id})"
    return f"- {one.experiment}/{name}: {one.analyses} of {one.planned} analyses{scored}{others}{failures}{rest}"


def _events(mention: Mention) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(mention.events.items()))


def _begun(mention: Mention) -> str:
    by = mention.begun_by
    return "" if by is None else f"; begun by the command of {by.id} ({by.place})"


def _mention(mention: Mention) -> dict[str, Any]:
    return {
        "id": mention.id,
        "events": dict(sorted(mention.events.items())),
        "first": mention.first,
        "last": mention.last,
        "place": str(mention.place),
        "begun_by": mention.begun_by.id if mention.begun_by is not None else None,
    }
