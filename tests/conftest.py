"""What every test may use: the shared sample data, where it lies beside the repository."""

import os
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real sample data; tests that need it are skipped where it is not laid out."""
    if not SHARED.is_dir():
        pytest.skip("the shared sample data is not beside this checkout")
    return SHARED


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
