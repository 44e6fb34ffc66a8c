"""What runs, and what must not be skipped: a plugin for pytest, which conftest names.

TEST_DATABASE (sqlite, postgresql) says on which database the suite runs. On PostgreSQL, tests that meet no database
are left out, as they ran on SQLite already, and those of people's pages are for `make soak`. With CI set, a skipped
test is a failure. SOAK_PART (2/3: the second of three) leaves out the soak tests of the other parts.
"""

import os
from collections.abc import Callable
from typing import Any
from zlib import crc32

import pytest

from tests.support import browser as browsers
from tests.support import database as databases

IN_CI = bool(os.environ.get("CI"))
PART, PARTS = (int(number) for number in (os.environ.get("SOAK_PART") or "1/1").split("/"))
_skipped: list[str] = []
# files that take minutes, or hold many that take long; the Makefile has them given out in this order
LONGEST = (
    "tests/browser/",
    "tests/serving/",
    "tests/openapi/",
    "tests/test_permissions.py",
    "tests/scripts/",
)
# what these send to the database is that of services and of the pipeline's API, which `make test` asks on both
ON_THE_OTHER_LATER = (
    "tests/admin/",
    "tests/api/",
    "tests/exports/test_formats.py",
    "tests/exports/test_while_written.py",
    "tests/openapi/",
    "tests/pipeline/test_bad_input.py",
    "tests/pipeline/test_bulk_notes.py",
    "tests/pipeline/test_presign_artifact.py",
    "tests/pipeline/test_signatures.py",
    "tests/pipeline/test_v2.py",
    "tests/scripts/",
    "tests/services/test_accounts.py",
    "tests/test_doc_examples.py",
    "tests/test_serving.py",
    "tests/web/",
)


def pytest_report_header() -> str:
    return f"database: {databases.KIND}, browser: {browsers.executable() or 'none'}"


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(
        key=lambda item: not item.nodeid.startswith(LONGEST)
    )  # or one worker has them alone at the end
    if databases.KIND == "postgresql":
        # what a page looks like depends on the browser and not on the database: walking all of them once is enough
        _leave_out(
            config,
            items,
            lambda item: (
                "database_server" not in getattr(item, "fixturenames", ())
                or item.get_closest_marker("one_database") is not None
            ),
        )
        for item in items:
            if item.nodeid.startswith(ON_THE_OTHER_LATER):
                item.add_marker("soak")
    _leave_out(
        config, items, lambda item: item.get_closest_marker("soak") is not None and not in_part(item.nodeid)
    )


def in_part(name: str, part: int = PART, parts: int = PARTS) -> bool:
    """Each test is in one of the parts, wherever and whenever it is asked."""
    return crc32(name.encode()) % parts == part - 1


def _leave_out(
    config: pytest.Config, items: list[pytest.Item], is_left_out: Callable[[pytest.Item], bool]
) -> None:
    without = {item for item in items if is_left_out(item)}
    config.hook.pytest_deselected(items=list(without))
    items[:] = [item for item in items if item not in without]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _skipped:
        return
    terminalreporter.section(f"{len(_skipped)} TESTS DID NOT RUN", red=True, bold=True)
    for name in _skipped:
        terminalreporter.write_line(name, red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if IN_CI and _skipped and not hasattr(session.config, "workerinput"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
