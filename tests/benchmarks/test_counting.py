"""What counting a request costs: the command measures, against a Redis of its own that is gone afterwards."""

import json

import pytest

from benchmarks import counting

pytestmark = pytest.mark.one_database


def test_the_whole_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "COUNTS", 20)
    monkeypatch.setattr(counting, "REPEATS", 2)
    counting.main()
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {"own_us", "redis_us", "halted_ms", "refused_ms"}
    assert 0 < found["own_us"] < found["redis_us"]
