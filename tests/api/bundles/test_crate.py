"""The RO-Crate in a bundle."""

from collections.abc import Iterator
from typing import Any

from app.models import Analysis, Image, Project
from tests.cast import Person
from tests.factories import World
from tests.support.bundles import GROUP, of_analysis, of_group


def test_the_crate(full: Analysis, image: Image, viewer: Person, owner: Person) -> None:
    """In the shape that roc-validator 0.13.0 found to be a Process Run Crate 0.5; see docs/bundles.md."""
    made = of_analysis(viewer, full)
    crate = made.crate()
    assert crate["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    files = {file["name"]: file for file in made.manifest["files"]}
    del files["ro-crate-metadata.json"]
    assert [part["@id"] for part in crate["./"]["hasPart"]] == list(files)
    for name, file in files.items():
        assert crate[name]["@type"] == "File"
        assert (crate[name]["contentSize"], crate[name]["sha256"]) == (str(file["size"]), file["sha256"])
    action = crate[crate["./"]["mentions"]["@id"]]
    assert action["@type"] == "CreateAction"
    model = crate[action["instrument"]["@id"]]
    assert (model["@type"], model["name"], model["softwareVersion"]) == (
        "SoftwareApplication",
        "leaf-net",
        "1.0.0",
    )
    taken = [crate[thing["@id"]] for thing in action["object"]]
    assert (taken[0]["@id"], taken[0]["sha256"]) == (f"urn:uuid:{image.id}", image.sha256)
    assert {value["name"]: value["value"] for value in taken[1:]} == {"threshold": "0.5", "sizes": "[1,2]"}
    assert {thing["@id"].rpartition("/")[2] for thing in action["result"]} == {
        "annotations.ndjson",
        "heatmap.png",
        "log.txt",
    }
    said = {
        crate[value["@id"]]["name"]: crate[value["@id"]]["value"] for value in action["additionalProperty"]
    }
    assert said["commit"] == "0b5ff1e" and said["model_sha256"] == "ab" * 32
    assert crate[action["agent"]["@id"]]["name"] == str(owner.id)
    assert action["endTime"] and action["actionStatus"] == "http://schema.org/CompletedActionStatus"


def test_every_reference_of_a_crate_leads_somewhere(
    full: Analysis, world: World, image: Image, project: Project, viewer: Person
) -> None:
    world.analysis(
        image, "failed", group_id=GROUP, error_message="no memory", model_name="葉 net", parameters={}
    )
    world.analysis(image, "queued", group_id=GROUP, parameters={"": None})
    crate = of_group(viewer, project, images="1").crate()
    outside = {"https://w3id.org/ro/crate/1.1"}

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from [value["@id"]] if set(value) == {"@id"} else []
        elif isinstance(value, list):
            for one in value:
                yield from references(one)

    named = {name for entity in crate.values() for value in entity.values() for name in references(value)}
    assert named - outside <= set(crate)
    actions = [crate[action["@id"]] for action in crate["./"]["mentions"]]
    assert [action.get("error") for action in actions] == [None, "no memory", None]
    assert all(action["object"] for action in actions)
    assert f"images/{image.id}.png" in crate


def test_models_whose_names_and_versions_read_alike_are_two(
    world: World, image: Image, project: Project, viewer: Person
) -> None:
    known = [("leaf", "net 2"), ("leaf net", "2"), ("leaf net", "2")]
    for name, version in known:
        world.analysis(image, "completed", group_id="g", model_name=name, model_version=version)
    crate = of_group(viewer, project, "g").crate()
    models = [crate[crate[action["@id"]]["instrument"]["@id"]] for action in crate["./"]["mentions"]]
    assert [(model["name"], model["softwareVersion"]) for model in models] == known
