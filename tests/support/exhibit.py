"""An image in a real browser, and who looks at it."""

from typing import Any

from app.models import Analysis, Image
from tests.cast import Person
from tests.conftest import LiveServer
from tests.factories import picture
from tests.steps import finalize

WIDTH, HEIGHT = 320, 200
RLE = {
    "annotation_type": "segmentation",
    "data": {"format": "rle", "counts": [20000, 400, 43600], "size": [HEIGHT, WIDTH]},
}


class Exhibit:
    """An image on the live server, somebody who may edit it, and an analysis that is processing."""

    def __init__(self, server: LiveServer) -> None:
        self.server, self.world = server, server.world
        self.person: Person = self.world.person("editor@example.org")
        self.project = self.world.project("Leaves", editor=self.person)
        self.image: Image = self.world.image(self.project, "leaf.png", picture(WIDTH, HEIGHT))
        self.address = f"/images/{self.image.id}"

    def analysis(self, status: str = "processing", **columns: Any) -> Analysis:
        return self.world.analysis(self.image, status, **columns)

    def store(self, analysis: Analysis, *annotations: dict[str, Any]) -> list[str]:
        answer = self.server.pipeline.post(
            f"/api/analyses/{analysis.id}/annotations:bulk", {"annotations": annotations}
        )
        assert answer.status_code == 200, answer.text
        return [entry["id"] for entry in answer.json()["annotations"]]

    def finalize(self, analysis: Analysis, status: str = "completed") -> None:
        finalize(self.server.pipeline, analysis, status)
