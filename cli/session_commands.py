"""The commands about one session: ``resume``, ``checkpoints``, ``verify``, ``doctor``."""

from __future__ import annotations

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
