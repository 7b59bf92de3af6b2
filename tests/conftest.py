"""What every test may use: the shared sample data, where it lies beside the repository."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from temporalio.client import Client

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real sample data; tests that need it are skipped where it is not laid out."""
    if not SHARED.is_dir():
        pytest.skip("the shared sample data is not beside this checkout")
    return SHARED


# The files that take longest, each by one process: begun first, none of them is waited for at the end.
LONGEST = (
    "test_gateway_limits.py",
    "test_interpretation_kills.py",
    "test_kills.py",
    "test_resume.py",
    "test_gateway_sessions.py",
    "test_resume_stages.py",
    "test_packages.py",
    "test_answers_again.py",
    "test_resume_losses.py",
    "test_starter_together.py",
    "test_starter_errors.py",
    "test_models_command.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and leave the rest as it is."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


_exit_status = 0


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the status of the run for its end."""
    global _exit_status
    _exit_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End the process at once: an interpreter that used the Temporal client may crash while it shuts down."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_exit_status)


@pytest.fixture(scope="session")
async def client() -> AsyncIterator[Client]:
    """A client of a real Temporal server that lives as long as the tests do."""
    from temporalio.testing import WorkflowEnvironment

    from engine.connection import SEARCH_ATTRIBUTES, connect
    from engine.server import find_binary

    server = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(find_binary(None)),
        dev_server_log_level="error",
        search_attributes=SEARCH_ATTRIBUTES,
    )
    async with server:
        yield await connect(server.client.service_client.config.target_host, server.client.namespace)
