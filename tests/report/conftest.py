"""A sweep of three models with two seeds, and its report."""

from pathlib import Path

import pytest

from adamct.report.outputs.report import Report
from tests.report.runs import (
    make_report,
    write_sweep,
)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return write_sweep(tmp_path)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return the report of a finished sweep, for tests that only read it."""
    folder = write_sweep(tmp_path_factory.mktemp("sweep"))
    return make_report(folder)
