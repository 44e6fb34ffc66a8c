"""A stand-in for Loupe, and clients of it that note how long they would have slept."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scripts.loupe_client import Analysis, Client
from tests.support.stand_in import SECRET, StandIn, standing_in


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with standing_in() as server:
        yield server


@pytest.fixture
def slept() -> list[float]:
    """The pauses that clients made, in seconds; no time passes."""
    return []


@pytest.fixture
def make_client(stand_in: StandIn, slept: list[float]) -> Callable[..., Client]:
    def make(secret: str = SECRET, api_key: str = "", **more: Any) -> Client:
        return Client(stand_in.url, secret, api_key, **{"sleep": slept.append, **more})

    return make


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    """With the secret of the callbacks, and v2."""
    return make_client()


PNG = b"\x89PNG and so on"


def box(number: int, **more: Any) -> dict[str, Any]:
    data = {"x_min": number, "y_min": 0, "x_max": number + 5, "y_max": 5}
    return {"annotation_type": "bounding_box", "class_name": "é", "data": data, **more}


def live(analysis: Analysis) -> None:
    """The whole life of an analysis."""
    analysis.start()
    path = analysis.upload("heatmap", "heat.png", PNG)
    analysis.bulk([box(1), box(2, storage_path=path)])
    analysis.finalize("completed", expected_annotations=2)


# what a client does, with a part of the address that it does it at
STEPS: dict[str, tuple[str, Callable[[Client, Analysis], Any]]] = {
    "create": ("/analyses", lambda client, _: client.create("an-image", "a model", "1.0")),
    "start": ("/status", lambda _, analysis: analysis.start()),
    "presign": ("/presign", lambda _, analysis: analysis.upload("heatmap", "heat.png", PNG)),
    "put": ("/files/", lambda _, analysis: analysis.upload("heatmap", "heat.png", PNG)),
    "bulk": ("/annotations:bulk", lambda _, analysis: analysis.bulk([box(1), box(2, client_id="two")])),
    "finalize": ("/finalize", lambda _, analysis: analysis.finalize("completed")),
    "claim": ("/claim", lambda client, analysis: client.claim(analysis.id, "worker")),
    "claim next": (":claim", lambda client, _: client.claim_next("worker")),
}
