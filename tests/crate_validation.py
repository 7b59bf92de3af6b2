"""The standard validator of RO-Crates, without a network: the one page that it fetches comes from the rocrate library.

The library's context is of a later version of the specification, which has every term of the earlier ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from unittest.mock import patch

import requests
from rocrate_validator import models, services

CONTEXT = "https://w3id.org/ro/crate/1.1/context"


@contextmanager
def _without_network() -> Iterator[None]:
    context = json.loads(files("rocrate").joinpath("data/ro-crate.jsonld").read_text(encoding="utf-8"))

    def get(_: requests.Session, url: str, **__: Any) -> requests.Response:
        response = requests.Response()
        response.url, response.status_code = url, 200 if url == CONTEXT else 404
        response.headers["Content-Type"] = "application/ld+json"
        response._content = json.dumps(context if url == CONTEXT else {}).encode()
        return response

    with patch.object(requests.Session, "get", get):
        yield


def violations(crate: Path) -> list[str]:
    """Return what the validator says against the crate: what the specification requires, and what it recommends."""
    settings = services.ValidationSettings(
        rocrate_uri=str(crate),
        profile_identifier="ro-crate-1.1",
        requirement_severity=models.Severity.RECOMMENDED,
        no_cache=True,
    )
    with _without_network():
        result = services.validate(settings)
    return [f"{issue.severity.name}: {issue.message}" for issue in result.get_issues()]
