"""What counting a request costs: the command measures, against a Redis of its own that is gone afterwards."""

import json

import pytest

from app.windows import SharedWindows
from benchmarks import counting
from benchmarks.wire import Wrong

pytestmark = pytest.mark.one_database


def test_the_whole_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "COUNTS", 20)
    monkeypatch.setattr(counting, "REPEATS", 2)
    monkeypatch.setattr("app.windows.PATIENCE_SECONDS", 1.0)  # a busy machine is no lost Redis
    counting.main()
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {"own_us", "redis_us", "halted_ms", "refused_ms"}
    assert 0 < found["own_us"] < found["redis_us"]


def test_a_redis_that_cannot_be_used_gives_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens at this port, so all is counted in memory."""
    monkeypatch.setattr(counting, "COUNTS", 20)
    with pytest.raises(Wrong, match="Redis was lost while it was timed"):
        counting.in_redis(SharedWindows("shared+redis://127.0.0.1:1/0"))


def test_a_redis_that_is_there_is_not_timed_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "seconds", lambda _windows: 0.1)
    with pytest.raises(Wrong, match="was not lost"):
        counting.longest("shared+redis://127.0.0.1:1/0", lambda: None, lambda: None)
