"""The mark on a machine-readable part that a model has proposed: while the line stands there, nothing uses the file."""

import re
from datetime import date

_MARK = re.compile(r"^[^\w\n]*proposed by \S.*, not accepted by the author[^\w\n]*$", re.MULTILINE | re.IGNORECASE)


def mark(model: str, day: date) -> str:
    """Return the line that heads a proposal of the model."""
    name = " ".join("".join(character if character.isprintable() else " " for character in model).split())
    return f"Proposed by {name} on {day.isoformat()}, not accepted by the author."


def marked_line(text: str) -> int | None:
    """Return the line on which a text is marked as not accepted, None where it is not."""
    found = _MARK.search(text)
    return None if found is None else text.count("\n", 0, found.start()) + 1
