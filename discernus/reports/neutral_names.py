"""Neutral names for what tells whose a text is, in a blind experiment: all a model is told of it, put back by code."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import PurePosixPath

from discernus.experiments.corpus import Document
from discernus.experiments.telling import is_telling

SHORTEST_PART = 4  # letters of a word that is hidden on its own


class NeutralNames:
    """The names by which documents and their speakers can be told, each with the neutral one that stands for it.

    What corpus.csv says of one document alone (its title, its date) tells it as well. ``authored`` are names that the
    author gave to other things, of variants and hypotheses: they get neutral ones where such a word is in them.
    """

    def __init__(self, documents: Iterable[Document], authored: Iterable[str] = ()) -> None:
        documents, authored = tuple(documents), tuple(dict.fromkeys(authored))
        self._hidden: dict[str, str] = {}
        self._shown: dict[str, str] = {}
        self._taken = {name.casefold() for one in documents for name in (*_file_names(one), *one.metadata.values())}
        self._taken |= {name.casefold() for name in authored}
        for document in documents:
            self._add("document", *_file_names(document))
        for name in _values(documents, telling=True):
            parts = (part for part in re.split(r"[^\w'’]+", name) if len(part) >= SHORTEST_PART)
            self._add("person", name, *parts)
        for value, of in Counter(_values(documents, telling=False)).items():
            if of == 1 and _is_odd(value):
                self._add("value", value)
        words = [word for word in self._hidden if len(word) >= SHORTEST_PART]
        for name in authored:
            if any(word in name.casefold() for word in words):
                self._add("name", name)

    def _add(self, noun: str, name: str, *others: str) -> None:
        """Hide a name, and others of the same thing, under the next neutral one, unless it is hidden already."""
        neutral = self._hidden.get(name.casefold()) or self._next(noun, name)
        for known in (name, *others):
            self._hidden.setdefault(known.casefold(), neutral)

    def _next(self, noun: str, name: str) -> str:
        """Return a neutral name that stands for no other, and that nothing here bears itself."""
        neutral = next(one for number in count(1) if (one := f"{noun}-{number}") not in self._taken)
        self._taken.add(neutral)
        self._shown[neutral] = name
        return neutral

    def hide(self, text: str) -> str:
        """Return the text with every name replaced by its neutral one, whatever the case."""
        return _replaced(text, self._hidden)

    def show(self, text: str) -> str:
        """Return the text with every neutral name replaced by the one it stands for."""
        return _replaced(text, self._shown)


def _file_names(document: Document) -> tuple[str, ...]:
    file = PurePosixPath(document.file)
    return document.id, document.file, file.name, file.stem


def _values(documents: Iterable[Document], *, telling: bool) -> Iterator[str]:
    """Yield what corpus.csv says in the columns that tell whose a text is, or in the others, empty cells left out."""
    for document in documents:
        for column, value in document.metadata.items():
            if is_telling(column) is telling and value.strip():
                yield " ".join(value.split())


def _is_odd(value: str) -> bool:
    """Return whether a value is no everyday word, and no number, that the tables have in other places too."""
    if len(value) < SHORTEST_PART or re.fullmatch(r"[-+]?\d+(?:[.,]\d+)*\s?%?", value):
        return False
    return re.search(r"[\d\s_./-]", value) is not None or value != value.lower()


def _replaced(text: str, names: dict[str, str]) -> str:
    if not names:
        return text
    longest_first = sorted(names, key=len, reverse=True)
    pattern = "|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in longest_first)
    return re.sub(pattern, lambda found: names[found[0].casefold()], text, flags=re.IGNORECASE)
