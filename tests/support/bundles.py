"""Bundles as somebody gets them from the API, verified and read."""

import io
import json
import zipfile
from typing import Any

from app.bundles.layout import MANIFEST, SIGNATURE
from app.bundles.verifying import verify
from app.models import Analysis, Project
from tests.cast import Person

GROUP = "night run / 葉"


class Bundle:
    """An answer, verified with the key the server names, and read by somebody else's code."""

    def __init__(self, person: Person, answer: Any) -> None:
        assert answer.status_code == 200, answer.text
        self.answer = answer
        [key] = person.api("GET", "/api/bundle-keys").json["keys"]
        verdict = verify(io.BytesIO(answer.data), [key["public_key"]])
        assert verdict.signed and verdict.trusted
        self.manifest = verdict.manifest
        self.zip = zipfile.ZipFile(io.BytesIO(answer.data))
        assert self.zip.testzip() is None
        assert self.zip.namelist() == [
            *(file["name"] for file in self.manifest["files"]),
            MANIFEST,
            SIGNATURE,
        ]

    def json(self, name: str) -> Any:
        return json.loads(self.zip.read(name))

    def lines(self, name: str) -> list[Any]:
        return [json.loads(line) for line in self.zip.read(name).splitlines()]

    def annotations(self, analysis: Analysis) -> list[Any]:
        """Of the lines those that are one."""
        lines = self.lines(f"analyses/{analysis.id}/annotations.ndjson")
        assert [lines[0].pop("kind"), lines[-1]["kind"]] == ["analysis", "end"]
        assert lines[-1]["annotation_count"] == len(lines) - 2
        assert {line.pop("kind") for line in lines[1:-1]} <= {"annotation"}
        return lines[1:-1]

    def of(self, name: str) -> Any:
        """What the manifest says of a file."""
        found = [*self.manifest["files"], *self.manifest["absent"]]
        return next(file for file in found if file["name"] == name)

    def crate(self) -> dict[str, Any]:
        graph = self.json("ro-crate-metadata.json")["@graph"]
        assert len({entity["@id"] for entity in graph}) == len(graph)
        return {entity["@id"]: entity for entity in graph}


def of_analysis(person: Person, analysis: Analysis, query: str = "") -> Bundle:
    return Bundle(person, person.api("GET", f"/api/analyses/{analysis.id}/bundle{query}"))


def of_group(person: Person, project: Project, group_id: str = GROUP, **query: str) -> Bundle:
    asked = {"group_id": group_id, **query}
    return Bundle(person, person.api("GET", f"/api/projects/{project.id}/bundle", query_string=asked))
