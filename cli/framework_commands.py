"""``starter.py framework``: what a framework says, and how each of its formulas is computed."""

from __future__ import annotations

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
