"""tests/support/selection.py: all parts together are the longer rounds."""

from tests.support.selection import in_part


def test_every_test_is_in_one_of_the_parts() -> None:
    names = [f"tests/test_one.py::test_it[{number}]" for number in range(300)]
    parts = [[name for name in names if in_part(name, part, 3)] for part in (1, 2, 3)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(70 < len(part) < 130 for part in parts)
    assert all(in_part(name, 1, 1) for name in names)
