"""What a migrated session consists of: documents × models × runs, as prompts, logs and names tell them.

What does not tell is never guessed: a model that was not recorded is ``unrecorded/unknown``, one of which only a
flattened name is left stands as ``unrecorded/<that name>``, and a run is counted off among equal questions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from discernus.migration.found import UNKNOWN_MODEL, Found, FoundCall, FoundSession, Place
from discernus.migration.names import document_file
from discernus.migration.prompts import told_by

_AGENT = re.compile(r"analysis_agent_(?:run\d+_(?P<asked>.+)_)?(?P<index>\d+)")
NO_TEXT = "not-recorded.txt"  # the one document of a session of which no document is known
_SHORTEST = 40  # characters of a text that is looked for in prompts
_STEM = re.compile(r"analysis_agent_run\d+_(?P<asked>.+)")


@dataclass(frozen=True)
class Text:
    """A document's text as it was recovered; ``origin`` says from where, ``proven`` that its hash was stated."""

    text: str
    origin: str
    proven: bool = False


@dataclass(frozen=True)
class Placed:
    """A call in its place: of a document, model and run, or of none where it is no analysis of one document."""

    call: FoundCall
    document: str | None = None
    model: str = UNKNOWN_MODEL
    run: int = 0
    counted_off: bool = False  # its run was not recorded, or taken: it was counted off


@dataclass(frozen=True)
class SessionPlan:
    """What a session consists of; ``texts`` are by file name, None for one that was not recorded anywhere."""

    models: tuple[str, ...]
    runs: int
    texts: dict[str, Text | None]
    placed: tuple[Placed, ...]


def plan_session(
    session: FoundSession,
    corpus: dict[str, Text | None],
    same: Mapping[str, str],
    models: Sequence[str],
    runs: int,
    found: Found,
) -> SessionPlan:
    """Return the plan; ``corpus`` are the experiment's documents, ``models`` and ``runs`` what it asks for.

    ``same`` has documents that are another under a second name.
    """
    texts: dict[str, Text] = {}
    calls: list[tuple[FoundCall, str | None]] = []
    for call in session.calls:
        document, text = _document(call, corpus)
        document = same.get(document or "", document)
        if document is not None and text is not None and _is_better(text, texts.get(document)):
            texts[document] = text
        calls.append((call, document))
    stems = {name.rpartition(".")[0]: name for name in (*corpus, *(document for _, document in calls if document))}
    told = {call.model for call, _ in calls if call.model}
    placed = _with_runs([_placed(call, document, stems, {*models, *told}) for call, document in calls], found)
    analyses = [one for one in placed if one.document is not None]
    asked = list(dict.fromkeys(one.model for one in analyses))
    named = [] if any(one.startswith("unrecorded/") for one in asked) or not asked else list(models)
    known = {one.document: None for one in analyses if one.document is not None}
    return SessionPlan(
        models=tuple(dict.fromkeys([*(one for one in named), *asked])) or (UNKNOWN_MODEL,),
        runs=max([runs, *(one.run for one in analyses)]),
        texts=_settled(texts, corpus, known, session, found) or {NO_TEXT: None},
        placed=tuple(placed),
    )


def texts_of(sessions: Iterable[FoundSession], corpus: dict[str, Text]) -> dict[str, Text | None]:
    """Return every document of an experiment with its text: the corpus's, else what prompts carried, else None."""
    found: dict[str, Text | None] = dict(corpus)
    for session in sessions:
        for call in session.calls:
            document, text = _document(call, corpus)
            if document is not None and document not in corpus:
                known = found.get(document)
                found[document] = text if text is not None and _is_better(text, known) else known
    return found


def twins(texts: Mapping[str, Text | None]) -> dict[str, str]:
    """Return the documents whose text another has too, each with the first of that text: a corpus has a text once."""
    first: dict[str, str] = {}
    found = {}
    for name, text in sorted(texts.items()):
        if text is not None:
            digest = sha256(text.text.encode("utf-8", "replace")).hexdigest()
            if first.setdefault(digest, name) != name:
                found[name] = first[digest]
    return found


def _document(call: FoundCall, corpus: Mapping[str, Text | None]) -> tuple[str | None, Text | None]:
    """Return the file name of the document that a call is about, and the text that its prompt carries."""
    told = told_by(call.prompt)
    name = call.document or told.file
    text = None
    if told.text:
        end = "" if told.bounded else "; its end may hold words of the prompt"
        text = Text(told.text, f"the prompt of {call.place}{end}", told.proven)
    if name is None and text is None:
        name = _carried(call, corpus)
    if name is None and text is not None:
        same = [one for one, known in corpus.items() if known is not None and known.text.strip() == text.text.strip()]
        name = same[0] if same else f"text-{sha256(text.text.encode('utf-8', 'replace')).hexdigest()[:8]}.txt"
    index = _AGENT.fullmatch(call.agent or "")
    if name is None and index is not None:
        name = f"document-{int(index['index'])}.txt"
    return (document_file(name) if name else None), text


def _carried(call: FoundCall, corpus: Mapping[str, Text | None]) -> str | None:
    """Return the document whose whole text stands in the prompt, None where none does, or several."""
    words = call.prompt[-1][1] if call.prompt else ""
    held = [
        name
        for name, text in corpus.items()
        if text is not None and len(text.text.strip()) >= _SHORTEST and text.text.strip() in words
    ]
    return held[0] if len(held) == 1 else None


def _is_better(text: Text, known: Text | None) -> bool:
    return known is None or (text.proven and not known.proven)


def _settled(
    texts: dict[str, Text],
    corpus: dict[str, Text | None],
    known: dict[str, None],
    session: FoundSession,
    found: Found,
) -> dict[str, Text | None]:
    """Return the texts of a session: what its prompts carried, or the corpus's file where only spaces differ."""
    settled: dict[str, Text | None] = dict(corpus)
    for name in known:
        text, filed = texts.get(name), corpus.get(name)
        if text is None or (filed is not None and text.text.strip() == filed.text.strip()):
            settled[name] = filed
            continue
        settled[name] = text
        if filed is not None:
            why = f"{session.id} was shown another text than {filed.origin}; the session has what it was shown"
            found.remark(Place(name), "text", why)
    return settled


def _placed(call: FoundCall, document: str | None, stems: dict[str, str], models: set[str]) -> Placed:
    """Return a call with what its agent's name adds; one about no single document has no place."""
    asked = _STEM.fullmatch(call.agent or "")
    flattened = None
    if asked is not None:
        of = [stem for stem in stems if asked["asked"].endswith(f"_{stem}")]
        if document is None and len(of) == 1:
            document = stems[of[0]]
        index = _AGENT.fullmatch(call.agent or "")
        flattened = index["asked"] if index else asked["asked"].removesuffix(f"_{of[0]}") if of else None
    if document is None:
        return Placed(call)
    return Placed(call, document, _model(call, flattened, models), call.run or 0)


def _model(call: FoundCall, flattened: str | None, models: set[str]) -> str:
    if call.model:
        return re.sub(r"\s+", "-", call.model)
    if not flattened:
        return UNKNOWN_MODEL
    same = [model for model in models if model.replace("/", "_") == flattened]
    return same[0] if len(same) == 1 else f"unrecorded/{flattened}"


def _with_runs(placed: list[Placed], found: Found) -> list[Placed]:
    """Return the calls with a run each: the recorded one, else the next among equal questions, in their order.

    Two answers under one recorded run are both kept, the later as a further run. A failure shares its run's place.
    """
    taken = {(one.document, one.model, one.run) for one in placed if one.run and one.call.kind != "failure"}
    given: set[tuple[str | None, str, int]] = set()
    counted: Counter[tuple[str | None, str]] = Counter()
    settled = []
    for one in placed:
        if one.document is None:
            settled.append(one)
            continue
        run, what = one.run, (one.document, one.model)
        if run and (*what, run) in given and one.call.kind != "failure":
            found.remark(
                one.call.place, "run", f"run {run} of {one.document} was answered before; kept as a further run"
            )
            run = 0
        while not run:
            counted[what] += 1
            run = 0 if (*what, counted[what]) in taken | given else counted[what]
        if one.call.kind != "failure":
            given.add((*what, run))
        settled.append(replace(one, run=run, counted_off=run != one.run))
    return settled
