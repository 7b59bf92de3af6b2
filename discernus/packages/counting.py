"""A number with its noun, as the pages of a package say it."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 document``, ``3 documents``, ``3 analyses``."""
    several = f"{noun[:-2]}es" if noun.endswith("is") else f"{noun}s"
    return f"{number} {noun if number == 1 else several}"
