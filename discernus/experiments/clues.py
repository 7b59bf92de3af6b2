"""The words that tell whose a text is: what no model may learn in a blind experiment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from discernus.experiments.corpus import Document
from discernus.experiments.telling import is_telling

SHORTEST = 4  # letters of a part of a name that is looked for on its own


@dataclass(frozen=True)
class Clue:
    """A word that tells whose a text is; ``sure`` where it is no word of everyday language."""

    kind: Literal["file name", "id", "name", "part of a name"]
    word: str
    sure: bool

    def is_in(self, text: str) -> bool:
        flags = 0 if self.kind == "part of a name" else re.IGNORECASE
        return re.search(rf"(?<!\w){re.escape(self.word)}(?!\w)", text, flags) is not None


def clues(document: Document) -> list[Clue]:
    """Return the words by which a document can be told: its file's names, its id, and what corpus.csv calls its
    speaker, author or name."""
    file = PurePosixPath(document.file)
    files = dict.fromkeys((document.file, file.name, file.stem))
    known = [Clue("file name", word, _is_odd(word)) for word in files]
    if document.id not in files:
        known.append(Clue("id", document.id, _is_odd(document.id)))
    values = (" ".join(value.split()) for column, value in document.metadata.items() if is_telling(column))
    for name in filter(None, dict.fromkeys(values)):
        known.append(Clue("name", name, sure=" " in name))
        known += [Clue("part of a name", part, sure=False) for part in _parts(name)]
    return known


def _is_odd(word: str) -> bool:
    """Return whether it is no word that a text would have by itself: with a digit, a dash, a dot or an underscore."""
    return re.search(r"[\d_./-]", word) is not None


def _parts(name: str) -> list[str]:
    """Return the words of a name that are looked for on their own, the name having several."""
    words = re.findall(r"[^\W\d_]+", name)
    return [word for word in words if len(word) >= SHORTEST and word[0].isupper()] if len(words) > 1 else []
