from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parent.parent

# The same examples in every run, on fast machines and slow ones.
hypothesis.settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("fixed")


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of reference data; the test skips where it is absent."""
    folder = Path(os.environ.get("SCALING_REFERENCE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}; set SCALING_REFERENCE_DATA to its folder")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-reference",
        action="store_true",
        help="fail unless a test marked 'reference' passed",
    )


def pytest_configure(config: pytest.Config) -> None:
    # With workers, only the controller sees the reports of all tests.
    if config.getoption("--require-reference") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(RequireReference())


class RequireReference:
    """Turns a session in which no test marked `reference` passed into a failure."""

    def __init__(self) -> None:
        self.passed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed += report.when == "call" and report.passed and "reference" in report.keywords

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.passed:
            return
        report = pytest.TestReport(
            nodeid="reference data",
            location=("reference data", None, "--require-reference"),
            keywords={},
            outcome="failed",
            longrepr=(
                "no test marked 'reference' passed. Set SCALING_REFERENCE_DATA to the folder of "
                "reference data; CI_NO_REFERENCE=1 .ci/run goes without."
            ),
            when="setup",
        )
        session.config.hook.pytest_runtest_logreport(report=report)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
