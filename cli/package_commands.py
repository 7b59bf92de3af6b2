"""The commands about what leaves the folder: ``export``, ``reproduce``, ``erase``."""

from __future__ import annotations

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
