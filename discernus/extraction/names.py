"""What the keys of an answer mean: dimension names and roles, matched exactly after normalising case and separators.

A framework's own contract decides first; the words below are what anyone calls a score, a confidence or a quotation.
Nothing is matched by likeness: *plutocracy* is not *pluralism*.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from discernus.experiments.framework import Contract, ContractField, Dimension, Framework, Role
from discernus.experiments.roles import ROLE_WORDS

_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^\w]+|_+")

_ROLES: dict[str, Role] = {  # how answers put a role, beside the words that contracts use
    **ROLE_WORDS,
    **dict.fromkeys(("value", "values", "final_score", "score_value", "numeric_score"), "score"),
    **dict.fromkeys(("confidence_score", "confidence_level"), "confidence"),
    **dict.fromkeys(("salience_score", "salience_level"), "salience"),
    **dict.fromkeys(("textual_evidence", "citation", "citations", "excerpt", "excerpts"), "evidence"),
}


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SCORE_WORDS = _set("score scores rating ratings value values")
_CONFIDENCE_WORDS = _set("confidence confidences certainty")
_SALIENCE_WORDS = _set("salience saliences")
_EVIDENCE_WORDS = _set(
    "evidence quote quotes quotation quotations citation citations excerpt excerpts passage passages"
)
_NEUTRAL_WORDS = _set(
    "raw final numeric numerical overall dimension dimensional dimensions axis axes anchor anchors analysis analyses "
    "result results assessment assessments evaluation evaluations data details output answer response text textual "
    "supporting level levels"
)
_NAMING_WORDS = _set(
    "dimension name anchor axis id label trait construct variable criterion category item attribute measure factor key"
)
_NOT_SCORES = _set(  # numbers under such a key are about scores, or beside them, but are none
    "weight weights threshold thresholds count counts rank ranks ranking interval intervals range ranges limit limits "
    "min max minimum maximum angle angles correlation correlations delta error errors example examples template "
    "schema scale scales previous prior frequency frequencies percentile percentiles length position"
)
_SCALE_NAMES = _set("scale scorescale scoringscale ratingscale outof")
_DOCUMENT_WORDS = _set("document doc file filename artifact speech corpus")
_DOCUMENT_ENDINGS = _set("document id name file filename path title")


class Key(NamedTuple):
    """What one key of an answer says about what stands under it."""

    canon: str
    dimension: str | None = None
    role: Role | None = None
    neutral: bool = False  # a mere wrapper
    excludes: bool = False  # numbers below are no scores
    names: bool = False  # its text may name a dimension
    quotes: bool = False  # its text is a quotation where it stands under evidence
    document: bool = False  # its text names the document the answer is about
    scale: bool = False  # what stands under it is the scale of the scores beside it


def words(name: str) -> list[str]:
    """Return the lower-case words of a name in any style: snake, camel, kebab, spaced."""
    return [word.lower() for word in _BOUNDARY.split(unicodedata.normalize("NFKC", name)) if word]


def canon(name: str) -> str:
    """Return the name without case and separators, for exact comparison."""
    return "".join(words(name))


def label_name(field: ContractField) -> str:
    """Return the name under which that label is kept: its key, with its dimension where it has one."""
    key = "_".join(words(field.path[-1]))
    if field.dimension is None or canon(field.dimension) in canon(key):
        return key
    return f"{field.dimension}_{key}"


def label_names(framework: Framework) -> tuple[str, ...]:
    """Return the names of all labels the framework's contract asks for, in its order."""
    return tuple(dict.fromkeys(label_name(field) for field in framework.contract.fields if field.role == "label"))


class Vocabulary:
    """What the keys of answers to one framework may mean. Made once for a framework, then only looked up."""

    def __init__(self, dimensions: tuple[Dimension, ...], contract: Contract) -> None:
        self.aliases = _aliases(dimensions)
        self.paths: dict[str, list[tuple[tuple[str, ...], ContractField]]] = {}
        for field in contract.fields:
            path = tuple(canon(element) for element in field.path)
            self.paths.setdefault(path[-1], []).append((path, field))
        self.score_paths = frozenset(
            path for found in self.paths.values() for path, field in found if field.role == "score" and field.dimension
        )
        self._known = _known_keys(self.aliases, contract)
        self._read: dict[str, Key] = {}

    def key(self, text: str) -> Key:
        """Return what that key means."""
        found = self._read.get(text)
        if found is None:
            found = self._classify(text)
            if len(self._read) < 20_000:
                self._read[text] = found
        return found

    def _classify(self, text: str) -> Key:
        parts = words(text[:200])
        name = "".join(parts)
        last = parts[-1] if parts else ""
        naming = last in _NAMING_WORDS
        document = last in _DOCUMENT_ENDINGS and not _DOCUMENT_WORDS.isdisjoint(parts)
        if name in self._known:
            dimension, role = self._known[name]
            return Key(name, dimension, role, names=naming, quotes=role == "evidence", document=document)
        excludes = not _NOT_SCORES.isdisjoint(parts)
        role = None if excludes else _role(parts)
        return Key(
            name,
            role=role,
            neutral=role is None and bool(parts) and _NEUTRAL_WORDS.issuperset(parts),
            excludes=excludes,
            names=naming,
            quotes=role == "evidence" or last == "text",
            document=document,
            scale=name in _SCALE_NAMES,
        )


@lru_cache(maxsize=64)
def vocabulary(dimensions: tuple[Dimension, ...], contract: Contract) -> Vocabulary:
    """Return the vocabulary of a framework's dimensions and contract."""
    return Vocabulary(dimensions, contract)


def _aliases(dimensions: Iterable[Dimension]) -> dict[str, str]:
    """Return canonical name → dimension, from names and labels; a label that two dimensions share is none."""
    found = {canon(dimension.name): dimension.name for dimension in dimensions}
    labels: dict[str, set[str]] = {}
    for dimension in dimensions:
        labels.setdefault(canon(dimension.label), set()).add(dimension.name)
    for label, named in labels.items():
        if label and label not in found and len(named) == 1:
            found[label] = next(iter(named))
    return found


def _role(parts: list[str]) -> Role | None:
    core = [part for part in parts if part not in _NEUTRAL_WORDS]
    if not core:
        return None
    if core[-1] in _EVIDENCE_WORDS and (_SCORE_WORDS | _CONFIDENCE_WORDS).isdisjoint(core):
        return "evidence"
    bare = core[:-1] if len(core) > 1 and core[-1] in _SCORE_WORDS else core
    if bare[-1] in _CONFIDENCE_WORDS:
        return "confidence"
    if bare[-1] in _SALIENCE_WORDS:
        return "salience"
    plural = core[-1].endswith("s")  # "axis_scores", "emotion_ratings": a collection, whatever it is a collection of
    return "score" if core[-1] in _SCORE_WORDS and (len(core) == 1 or plural) else None


def _known_keys(aliases: dict[str, str], contract: Contract) -> dict[str, tuple[str | None, Role | None]]:
    """Return canonical key → (dimension, role): names, then the contract's keys, then names with a role's word."""
    learned = _learned(aliases, contract)
    suffixes = {canon(word): role for word, role in _ROLES.items()}
    suffixes |= {name: role for name, (dimension, role) in learned.items() if dimension is None and role is not None}
    for field in contract.fields:
        last = canon(field.path[-1])
        for alias, dimension in aliases.items():
            if field.dimension == dimension and last.startswith(alias) and len(last) > len(alias):
                suffixes.setdefault(last[len(alias) :], field.role)
    combined: dict[str, set[tuple[str, Role]]] = {}
    for alias, dimension in aliases.items():
        for suffix, role in suffixes.items():
            combined.setdefault(alias + suffix, set()).add((dimension, role))
            combined.setdefault(suffix + alias, set()).add((dimension, role))
    known: dict[str, tuple[str | None, Role | None]] = {suffix: (None, role) for suffix, role in suffixes.items()}
    known |= {name: next(iter(meanings)) for name, meanings in combined.items() if len(meanings) == 1}
    known |= learned
    return known | {alias: (dimension, None) for alias, dimension in aliases.items()}


def _learned(aliases: dict[str, str], contract: Contract) -> dict[str, tuple[str | None, Role | None]]:
    """Return what the contract's own keys mean: of one dimension, of one role, of both, or a known wrapper."""
    seen: dict[str, set[tuple[str | None, Role]]] = {}
    for field in contract.fields:
        for element in field.path:
            seen.setdefault(canon(element), set()).add((field.dimension, field.role))
    learned: dict[str, tuple[str | None, Role | None]] = {}
    generic = {canon(word) for word in _ROLES}
    for name, meanings in seen.items():
        if name in aliases:
            continue
        dimensions = {dimension for dimension, _ in meanings}
        roles = {role for _, role in meanings}
        several = len(aliases) > 1 and name not in generic
        dimension = next(iter(dimensions)) if len(dimensions) == 1 and several else None
        learned[name] = (dimension, next(iter(roles)) if len(roles) == 1 else None)
    return learned
