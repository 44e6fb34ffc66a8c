"""What comes in at the edge of the program, under the control of a test."""

import tempfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.exports import waiting


class FixedClock:
    """Stands still until it is told to move. Stands in for `app.extensions["clock"]`."""

    def __init__(self, moment: datetime = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def set(self, moment: datetime) -> None:
        if moment.tzinfo is None:
            raise ValueError("a time without a zone")
        self.moment = moment.astimezone(UTC)

    def advance(self, seconds: float = 0, **more: float) -> None:
        """By seconds, or by minutes=, hours=, days=."""
        self.moment += timedelta(seconds=seconds, **more)


class BrokenStorage:
    """A storage that fails in a way of its choice, whatever is asked."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    def public_origin(self) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> None:
            raise self.failure

        return fail


def fill_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses, for want of room, every byte of what exports put into temporary files, which is all of it."""
    monkeypatch.setattr(waiting, "HELD", 1)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *_, **__: open("/dev/full", "r+b"))  # noqa: SIM115
