"""What every test may use: the shared sample data, where it lies beside the repository."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real sample data; tests that need it are skipped where it is not laid out."""
    if not SHARED.is_dir():
        pytest.skip("the shared sample data is not beside this checkout")
    return SHARED
