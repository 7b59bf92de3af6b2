"""Every setting is documented, with its default, in docs/settings.md."""

from __future__ import annotations

import re
from pathlib import Path

from discernus.settings import Settings

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "settings.md"


def test_the_document_names_every_setting_with_its_default_and_meaning() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    expected = {}
    for field in Settings.model_fields.values():
        default = "" if field.default is None else f"`{field.default}`".replace("`True`", "`true`")
        expected[str(field.validation_alias)] = f"{default.replace('`False`', '`false`')} | {field.description}"
    assert rows == expected
