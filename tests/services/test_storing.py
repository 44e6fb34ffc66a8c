"""dialect.insert_rows goes past the types of SQLAlchemy, and stores what its INSERT stores."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Row, insert, select

from app.dialect import sending
from app.extensions import db
from app.models import Analysis
from app.models.columns import new_id, now
from tests.support.rows import TABLE, rows_of, send


def texts(longest: int) -> st.SearchStrategy[str]:
    """Whatever validation lets pass, and more: any characters but those PostgreSQL has no text for."""
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=longest)


REALS = st.none() | st.floats(allow_nan=False, allow_infinity=False)  # validation lets no others pass
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | texts(20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(8), inner, max_size=4),
)
TIMES = st.datetimes(
    min_value=now().replace(year=1900, tzinfo=None),
    max_value=now().replace(year=2200, tzinfo=None),
    timezones=st.timezones(),
)
VALUES = st.fixed_dictionaries(
    {
        "annotation_type": texts(32),
        "class_name": st.none() | texts(255),
        "confidence": st.none() | st.floats(0, 1),
        "data": st.dictionaries(texts(8), JSON, max_size=4),
        "storage_path": st.none() | texts(512),
        "ordering": st.none() | st.integers(-(2**31), 2**31 - 1),
        "content_hash": texts(64),
        "x_min": REALS,
        "y_min": REALS,
        "x_max": REALS,
        "y_max": REALS,
    }
)
ODD = {
    "annotation_type": "\\.",
    "class_name": "\\N",
    "confidence": 0.99995,
    "data": {"\\N": '\\"\t\n\r\\.', "é\u2028🌿": [1e308, -0.0, 5e-324, 2**63 - 1]},
    "storage_path": "",
    "ordering": None,
    "content_hash": "\t\n\r\\t\b\f\v",
    "x_min": 5e-324,
    "y_min": 1.7976931348623157e308,
    "x_max": 1e22,
    "y_max": -0.0,
}
PLAIN = {**ODD, "annotation_type": "custom", "data": {"a": ["\\n", "\\"]}, "content_hash": "0" * 64}
TEXTS = [
    "null",
    '"',
    "\\",
    '\\"',
    '"],["',
    'a"],[',
    "\\\\n",
    "é",
    "e\u0301",
    "🌿",
    "\x7f\x85",
    "\t",
    "\n",
    ",",
    "\\N",
    "\\.",
    "[]",
]


def kept(app: Flask, rows: Sequence[dict[str, Any]], way: Callable[[Any], object]) -> Sequence[Row[Any]]:
    """The rows as they are read again after they went in this way; nothing of them stays."""
    with app.app_context():
        way(rows)
        found = db.session.execute(select(TABLE).order_by(TABLE.c.position)).all()
        db.session.rollback()
    return found


def by_insert(rows: Any) -> None:
    db.session.connection().execute(insert(TABLE), rows)


@pytest.mark.parametrize("text", TEXTS)
def test_each_text_by_itself(app: Flask, analysis: Analysis, text: str) -> None:
    """In every column that takes a text, also the one at the end of a row."""
    common = {"analysis_id": analysis.id, "created_at": now(), "class_name": text, "storage_path": text}
    rows = [
        {**PLAIN, **common, "data": {text: text}, "content_hash": text}
        | {"id": new_id(), "client_id": f"n{n}", "position": n}
        for n in range(3)
    ]
    assert repr(kept(app, rows, send)) == repr(kept(app, rows, by_insert))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(VALUES, min_size=1, max_size=4), moment=TIMES)
@example(values=[ODD, ODD], moment=now())
@example(values=[PLAIN, PLAIN], moment=now())
@example(values=[{**PLAIN, "class_name": one, "storage_path": one} for one in TEXTS], moment=now())
@example(values=[{**PLAIN, "class_name": one} for one in TEXTS if one.isprintable()], moment=now())
@example(values=[{**PLAIN, "data": {one: one}, "content_hash": one} for one in TEXTS], moment=now())
@example(values=[PLAIN | dict.fromkeys(("class_name", "confidence", "storage_path"))], moment=now())
@example(values=[{**PLAIN, "confidence": n / 16} for n in range(17)], moment=now())
@example(values=[{**PLAIN, "confidence": c} for c in (0, 1, 1.0, 1e-5, 0.00005, 0.12345)], moment=now())
def test_what_is_stored_is_what_insert_stores(
    app: Flask, analysis: Analysis, values: list[dict[str, Any]], moment: datetime
) -> None:
    common = {"analysis_id": analysis.id, "created_at": moment}
    rows = [
        {**one, **common, "id": new_id(), "client_id": f"n{n}", "position": n} for n, one in enumerate(values)
    ]
    copied = kept(app, rows, send)
    assert len(copied) == len(rows)
    assert repr(copied) == repr(kept(app, rows, by_insert))  # as text, so that -0.0 is not 0.0


@pytest.mark.parametrize(
    ("text", "certain"),
    [(text, True) for text in ("leaf", "null", '"', "\\", '\\"', "a\\n", '"\\', "é🌿", "\x7f", "[],[]")]
    + [(text, False) for text in ("\n", "\\\n", '\\"\t', "\x1f", "],[", '"],[', "\0", "\ud800")],
)
def test_what_is_certain_goes_as_json(text: str, certain: bool) -> None:
    """COPY reads it as CSV; what is not certain takes the long way."""
    rows = [("id", None, 0.5, text, "hash"), ("id", 7, -0.0, "", "hash")]
    assert (sending._as_lines(rows, ("same",)) is not None) == certain


def test_very_large_data(app: Flask, analysis: Analysis) -> None:
    data = {"points": [[n / 7, n / 3] for n in range(300_000)], "text": "\\🌿" * 500_000}
    rows = rows_of(analysis)[:2]
    rows[0]["data"] = data
    assert kept(app, rows, send)[0].data == data
