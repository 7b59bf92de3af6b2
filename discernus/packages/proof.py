"""The last look at what is passed on: does any file, read in any way, still say words of the texts?"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from hashlib import sha256
from pathlib import Path

from discernus.packages.disguises import Opaque, readings, readings_of
from discernus.packages.passages import MARK, Passages, letters_of
from discernus.sessions.integrity.manifests import is_lock, names_in

# A text in an analysis's prompt, also where the prompt stands escaped in JSON.
_PUT = re.compile(r"BEGIN (TEXT\S*?)(\n|\\+n)(.*?)(\n|\\+n)END \1", re.DOTALL)


class Proof:
    """Says whether bytes hold words of the texts; what was found clean once is not read again.

    A passage counts wherever it stands, a shorter text as a whole in the place of a prompt that it was put in.
    """

    def __init__(self, texts: Collection[str], public: Iterable[str] = ()) -> None:
        self.passages = Passages(
            (one for text in texts for one in readings_of(text)), (one for text in public for one in readings_of(text))
        )
        self._texts = {letters_of(text) for text in texts} - {""}
        self._clean: set[bytes] = set()

    def holds(self, data: bytes) -> bool:
        """Return whether a file says words of the texts. Raise Opaque where that cannot be told."""
        digest = sha256(data).digest()
        if digest in self._clean:
            return False
        if any(self._says(one) for one in readings(data)):
            return True
        self._clean.add(digest)
        return False

    def holds_said(self, text: str) -> bool:
        """Return whether a text that is part of a file says words of the texts, or hides them."""
        return any(self._says(one) for one in readings_of(text))

    def without_prompts(self, text: str) -> str:
        """Return a text with a mark for each of the texts that a prompt in it holds, however short."""

        def put(found: re.Match[str]) -> str:
            return f"BEGIN {found[1]}{found[2]}{MARK}{found[4]}END {found[1]}" if self._is_text(found[3]) else found[0]

        return _PUT.sub(put, text)

    def fault_in(self, folder: Path, but: Collection[str] = ()) -> str | None:
        """Return what is wrong with the first file below the folder that is not proven clean; None: all of them are."""
        for name in names_in(folder):
            if name in but or is_lock(name):
                continue
            if self.holds_said(name):
                return f"the name of '{name}' holds words of the texts"
            try:
                if self.holds((folder / name).read_bytes()):
                    return f"'{name}' would still hold words of the texts"
            except Opaque as opaque:
                return f"'{name}' cannot be searched for words of the texts: {opaque}"
        return None

    def _says(self, text: str) -> bool:
        return bool(self.passages.found(text)) or any(self._is_text(found[3]) for found in _PUT.finditer(text))

    def _is_text(self, said: str) -> bool:
        return letters_of(said) in self._texts
