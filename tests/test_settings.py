"""Every setting is documented, with its default, in docs/settings.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from discernus.settings import Settings

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "settings.md"


def test_the_document_names_every_setting_with_its_default_and_meaning() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    expected = {}
    for field in Settings.model_fields.values():
        default = "" if field.default is None else f"`{field.default}`".replace("`True`", "`true`")
        expected[str(field.validation_alias)] = f"{default.replace('`False`', '`false`')} | {field.description}"
    assert rows == expected


@pytest.mark.parametrize(
    "address", ["http://ada:pass-word-7@proxy:4000", "https://pass-word-7@proxy", "http://:pass-word-7@p:1"]
)
def test_an_address_with_a_password_in_it_is_refused_and_never_repeated(address: str) -> None:
    with pytest.raises(ValidationError, match="LITELLM_PROXY_API_KEY") as refused:
        Settings(proxy_url=address)
    assert "pass-word-7" not in str(refused.value)


@pytest.mark.parametrize("address", ["proxy:4000", "ftp://proxy", "http://"])
def test_what_is_no_address_of_a_proxy_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="write it as http://host:port"):
        Settings(proxy_url=address)


def test_an_address_of_a_proxy_stays_as_it_is() -> None:
    assert Settings(proxy_url="https://proxy.lab.example:4000/v1").proxy_url == "https://proxy.lab.example:4000/v1"
