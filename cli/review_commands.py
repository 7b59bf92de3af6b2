"""The commands for reviewers and registrations: ``audit``, ``register``."""

from __future__ import annotations

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
