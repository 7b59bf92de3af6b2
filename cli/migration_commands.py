"""``starter.py migrate``: bring what older layouts hold into sessions of today."""

from __future__ import annotations

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
