"""``export``, ``reproduce`` and ``erase``: what is made, compared or taken out, and how that is told."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap

import typer

from cli.display import counted, write
from cli.exits import COMPLETE, INFRASTRUCTURE, INVALID, PARTIAL, CommandError, command_name
from cli.remote import refuse_at_work
from cli.sessions import session_meant, session_to_change
from cli.tables import WIDTH, Column, table
from discernus.packages.bag import PackageDamaged, opened
from discernus.packages.comparison import Table
from discernus.packages.erasure import CannotErase, Elsewhere, Erased, document_of, elsewhere, erase, is_erased
from discernus.packages.exporting import CannotExport, Exported, Wanted, export
from discernus.packages.licences import Licences
from discernus.packages.reproduction import Reproduction, reproduce
from discernus.packages.subject import affiliated, read_author, read_organisation
from discernus.packages.withholding import CannotWithhold
from discernus.sessions.integrity.findings import Finding
from discernus.sessions.integrity.redaction import Redaction
from discernus.sessions.integrity.verification import verify
from discernus.sessions.session import Session
from discernus.settings import Settings

SHOWN = 20  # differences, of a table


def export_package(
    settings: Settings,
    name: str,
    *,
    to: Path,
    without_texts: bool,
    authors: Sequence[str],
    affiliations: Sequence[str],
    publisher: str | None,
    licences: tuple[str | None, str | None, str | None],
    as_json: bool,
) -> int:
    """Make a package of a session and say where it is; raises CommandError for what cannot be packed."""
    session = session_meant(settings, name)
    try:
        at = [read_organisation(one) for one in affiliations]
        named = affiliated([read_author(author) for author in authors], at)
        by = None if publisher is None else read_organisation(publisher)
        wanted = Wanted(to, without_texts, named, by, Licences(*licences), settings.signing_key)
        made = export(session, wanted)
    except (CannotExport, CannotWithhold, ValueError) as refused:
        raise CommandError(str(refused), INVALID) from refused
    except OSError as failed:
        what = f"no package was made in '{to}': {_why(failed)}; make room there, or choose another place with --to"
        raise CommandError(what, INFRASTRUCTURE) from failed
    if as_json:
        redaction = made.redaction.model_dump(mode="json") if made.redaction is not None else None
        write(json.dumps({**_exported(made), "redaction": redaction}, ensure_ascii=False))
        return COMPLETE
    write(f"package:   {made.package}")
    write(f"Dataverse: {made.dataverse}")
    write(f"{counted(made.files, 'file')}, {made.bytes / 1e6:.1f} MB; SHA-256 of its manifest:")
    write(made.manifest_sha256)
    for line in _unsaid(wanted, made.licences):
        write(_wrapped(line))
    if made.redaction is not None:
        for line in _withheld(made.redaction, session):
            write(_wrapped(line))
    write(f"check it: {command_name()} verify {made.package}")
    write(f"          {command_name()} reproduce {made.package}")
    return COMPLETE


def _exported(made: Exported) -> dict[str, object]:
    return {
        "package": str(made.package),
        "dataverse": str(made.dataverse),
        "manifest_sha256": made.manifest_sha256,
        "files": made.files,
        "bytes": made.bytes,
    }


def _unsaid(wanted: Wanted, licences: Licences) -> list[str]:
    """Return what a reader of the package will miss."""
    lines = []
    if licences.unstated:
        options = " and ".join(f"--license-{part}" for part in licences.unstated)
        lines.append(f"no licence is stated for the {' and the '.join(licences.unstated)}: {options} would state one")
    if not wanted.authors:
        lines.append("no author is named: --author would name one")
    elif any(author.affiliation is None for author in wanted.authors):
        lines.append("no affiliation of the authors is stated: --affiliation would state one")
    if wanted.publisher is None:
        lines.append("no publisher is named: --publisher would name one, the university or archive that publishes it")
    return lines


def _withheld(redaction: Redaction, session: Session) -> list[str]:
    texts, files = counted(len(redaction.documents), "text"), counted(len(redaction.files), "file")
    lines = [f"{texts} taken out of {files}; every file was searched, and every score is what it was"]
    if redaction.unreadable:
        answers = counted(len(redaction.unreadable), "answer")
        lines.append(f"{answers} had to go whole; their scores stand, and cannot be recomputed from this package")
    return [*lines, *_quoting(redaction.quoted_still)]


def _quoting(names: Sequence[str]) -> list[str]:
    return [
        f"{name} quotes the text, and was left: it is the author's own, and nothing works without it" for name in names
    ]


def _why(failed: OSError) -> str:
    """Return why files could not be read or written; whoever copies a folder is told it of every file."""
    if isinstance(failed, shutil.Error):
        first = str(failed.args[0][0][-1])  # [Errno 28] No space left on device: 'here' -> 'there'
        return first.partition("] ")[2].partition(": ")[0] or first
    return failed.strerror or str(failed)


# reproduce


def reproduce_package(package: Path, *, as_json: bool) -> int:
    """Verify and recompute a package, and say for each table whether it agrees; 3 if anything does not."""
    try:
        with opened(package.expanduser()) as folder:
            findings = verify(folder).findings
            found = reproduce(folder)
    except PackageDamaged as damaged:
        raise CommandError(str(damaged), INVALID) from damaged
    except OSError as failed:
        place = tempfile.gettempdir()
        what = f"'{package}' was not computed again: {_why(failed)}; make room in {place}, or name another by TMPDIR"
        raise CommandError(what, INFRASTRUCTURE) from failed
    if as_json:
        write(json.dumps(_for_programs(found, findings), ensure_ascii=False))
    else:
        write("\n".join(_shown(found, findings)))
    return COMPLETE if found.agrees and not findings else PARTIAL


def _for_programs(found: Reproduction, findings: Sequence[Finding]) -> dict[str, object]:
    altered = [{"kind": one.kind, "place": one.place, "what": one.what} for one in findings]
    return {**asdict(found), "agrees": found.agrees, "findings": altered}


def _shown(found: Reproduction, findings: Sequence[Finding]) -> list[str]:
    lines = [f"{found.session}: {counted(found.read_again, 'analysis')} read again from the archived answers"]
    lines.append(_by_which(found))
    if findings:
        first = findings[0]
        lines.append(
            f"NOT INTACT: {counted(len(findings), 'finding')}, the first at {first.place}: {first.what}; "
            f"all: {command_name()} verify PACKAGE"
        )
    if found.taken_over:
        whole = counted(len(found.taken_over), "analysis")
        lines.append(f"{whole} could not be read again, since their answers were taken out whole: taken as packed")
    if found.unread:
        lines.append(f"answers that cannot be read, though scores of them were packed: {', '.join(found.unread)}")
    rows = [[one.name, f"{one.cells:,}", _verdict(len(one.differences))] for one in found.tables]
    compared = table([Column("Table"), Column("Cells", right=True), Column("Agreement", whole=True)], rows)
    lines = [*map(_wrapped, lines), "", compared]
    for one in found.tables:
        if one.differences:
            lines += ["", f"{one.name}:"]
            for cell in one.differences[:SHOWN]:
                lines.append(_wrapped(f"{cell.place}: packed {cell.packed!r}, now {cell.computed!r}", "  "))
            if len(one.differences) > SHOWN:
                lines.append(f"  and {len(one.differences) - SHOWN} more; --json lists all")
    lines += _said_otherwise(found.tables)
    cells = sum(one.cells for one in found.tables)
    return [*lines, "", f"every number agrees ({cells:,} cells)" if found.agrees else "NOT every number agrees"]


def _by_which(found: Reproduction) -> str:
    if found.session_version == found.version:
        return f"by discernus {found.version}, the version that ran the session"
    ran = found.session_version or "an unknown version"
    return f"by discernus {found.version}, another version than ran the session ({ran}): what differs may be its doing"


def _said_otherwise(tables: Sequence[Table]) -> list[str]:
    """Return what this version tells in more columns, or in other words; no number is another one by that."""
    lines = []
    for one in tables:
        if one.new:
            lines.append(f"{one.name}: new since, and not in the package: {', '.join(one.new)}")
        if one.reworded:
            sentences = counted(len(one.reworded), "sentence")
            lines.append(f"{one.name}: {sentences} worded otherwise now, with the same numbers and verdicts")
    return ["", *map(_wrapped, lines)] if lines else []


def _verdict(differences: int) -> str:
    return f"{differences:,} differ" if differences else "agrees"


# erase


def erase_document(settings: Settings, name: str, document: str, *, reason: str, yes: bool, as_json: bool) -> int:
    """Erase a document's text from a session once a person has agreed, and name the other copies."""
    session = session_to_change(settings, name)
    session = Session(session.folder, settings.mirror_dir)
    try:
        meant = document_of(session, document)
        others = elsewhere(session, meant)
        if is_erased(session, meant):
            raise CannotErase(f"the text of '{document}' was erased from {session.name} before")
        refuse_at_work(settings, session)
        _agree(session, document, yes=yes)
        erased = erase(session, meant, reason, settings.signing_key)
    except (CannotErase, CannotWithhold) as refused:
        raise CommandError(str(refused), INVALID) from refused
    if as_json:
        write(json.dumps(_erased(session, document, erased, others), ensure_ascii=False))
    else:
        write("\n".join(map(_wrapped, _told(session, document, erased, others))))
    return COMPLETE


def _agree(session: Session, document: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise CannotErase(f"nothing was erased: to take '{document}' out of {session.name} for good, add --yes")
    if not typer.confirm(f"Take '{document}' and every quotation of it out of {session.name}, for good?"):
        raise CannotErase("nothing was erased")


def _erased(session: Session, document: str, erased: Erased, others: Sequence[Elsewhere]) -> dict[str, object]:
    return {
        "session": session.name,
        "document": document,
        "record": erased.record,
        "files": erased.files,
        "unreadable": erased.unreadable,
        "quoted_still": erased.quoted_still,
        "sealed_version": erased.sealed.version if erased.sealed is not None else None,
        "elsewhere": [asdict(one) for one in others],
    }


def _told(session: Session, document: str, erased: Erased, others: Sequence[Elsewhere]) -> list[str]:
    files = counted(erased.files, "file")
    lines = [f"'{document}' is erased from {session.name}: {files} changed, recorded in {erased.record}"]
    if erased.sealed is not None:
        lines.append(f"sealed anew as version {erased.sealed.version}; every score is what it was")
    if erased.unreadable:
        lines.append(f"answers that had to go whole: {', '.join(erased.unreadable)}; their scores stand")
    lines += _quoting(erased.quoted_still)
    if others:
        lines.append("the text may still be in these places, which were left as they are:")
        lines += [f"- {one.place} ({one.what}): {one.cure}" for one in others]
    return lines


def _wrapped(text: str, indent: str = "") -> str:
    """Return the text in lines of a page; names of files are kept whole."""
    lines = wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)
