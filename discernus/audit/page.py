"""The audit as one page of Markdown: the verdicts in a table, then each check with its reason and links to files."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from discernus.audit.verdicts import VERDICTS, Audit, Check, Place
from discernus.reports.markdown import NONE, table, text

MOST_SHOWN = 50  # places of a check; the program's own output lists all

LEGEND = (
    "*pass*: the session shows it. *attention*: a reader should know of it, or the session cannot show it. *fail*: it "
    "is not as it should be. *not applicable*: it does not arise here. An audit sees what the session's folder and its "
    "neighbours hold; whether the study is a good one, it does not say."
)


def page(audit: Audit, session: Path, at: Path) -> str:
    """Return the page as it is to lie in the file ``at``, from where its links lead into the session's folder."""
    sealed = f"sealed as version {audit.sealed_version}" if audit.sealed_version else "not sealed as it stands"
    facts = f"Opened {text(audit.opened)}, {sealed}."
    if audit.migrated_from is not None:
        facts += f" Read from an older layout: {text(audit.migrated_from)}."
    parts = [
        f"# Audit of {text(audit.session)}",
        f"**{summary(audit)}**",
        facts,
        table(["verdict", "check", "found"], [[one.verdict, one.name, figures(one)] for one in audit.checks], left=2),
        LEGEND,
        *(_section(check, session, at) for check in audit.checks if check.verdict != "not applicable"),
        "## Not applicable",
        "\n".join(f"- {one.name}: {one.reason}" for one in audit.of("not applicable")) or "Nothing.",
    ]
    return "\n\n".join(parts) + "\n"


def summary(audit: Audit) -> str:
    """Return how many checks came to which verdict."""
    return ", ".join(f"{len(audit.of(verdict))} {verdict}" for verdict in VERDICTS)


def figures(check: Check) -> str:
    """Return what was found, of how many; the dash where nothing was counted."""
    if check.count is None:
        return NONE
    return f"{check.count:,}" if check.of is None else f"{check.count:,} of {check.of:,}"


def _section(check: Check, session: Path, at: Path) -> str:
    lines = [f"## {check.name}: {check.verdict}", "", check.reason]
    if check.places:
        lines += ["", *(_place(place, session, at) for place in check.places[:MOST_SHOWN])]
    if len(check.places) > MOST_SHOWN:
        lines.append(f"- and {len(check.places) - MOST_SHOWN:,} more")
    return "\n".join(lines)


def _place(place: Place, session: Path, at: Path) -> str:
    if place.file is None:
        return f"- {text(place.what)}"
    leads_to = os.path.relpath(session / place.file, at.parent)
    return f"- {text(place.what)} ([{text(Path(place.file).name)}]({quote(Path(leads_to).as_posix())}))"
