"""``starter.py answers``: search what models wrote, show it, and ask again."""

from __future__ import annotations

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
