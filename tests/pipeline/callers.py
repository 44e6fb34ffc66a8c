"""Who may use a route that needs a signature: the same table for every one of them."""

import pytest

who_may = pytest.mark.parametrize("who", ["pipeline", "pipeline+owner", "pipeline+viewer", "pipeline+admin"])

who_may_not = pytest.mark.parametrize(
    ("who", "status", "code"),
    [
        ("owner", 401, "signature-missing"),
        ("editor", 401, "signature-missing"),
        ("viewer", 401, "signature-missing"),
        ("stranger", 401, "signature-missing"),
        ("admin", 401, "signature-missing"),
        ("anonymous", 401, "signature-missing"),
        ("pipeline+stranger", 403, "forbidden"),
    ],
)

who_may_without_a_signature = pytest.mark.parametrize(
    ("who", "status"),
    [("owner", 200), ("editor", 200), ("admin", 200), ("viewer", 403), ("stranger", 403), ("anonymous", 401)],
)
