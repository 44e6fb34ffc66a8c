"""`flask annotations import`, as an operator types it."""

import json
from typing import Any

import pytest
from flask import Flask

from app.models import Analysis, Annotation, AuditEvent
from tests.factories import some_id

BOX = {"x_min": 1.0, "y_min": 2.0, "x_max": 9.0, "y_max": 12.0}


def item(**more: Any) -> dict[str, Any]:
    return {"annotation_type": "bounding_box", "class_name": "leaf", "confidence": 0.5, "data": BOX, **more}


@pytest.fixture
def run(app: Flask, tmp_path: Any) -> Any:
    """run(content, *arguments): the command with a file of this content."""

    def run(content: Any, *arguments: object, format: str = "json", code: int = 0) -> str:
        file = tmp_path / "file"
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        told = ["annotations", "import", *map(str, arguments), str(file), "--format", format]
        result = app.test_cli_runner().invoke(args=told)
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.output

    return run


def test_into_an_analysis(run: Any, analysis: Analysis, world: Any) -> None:
    said = run({"annotations": [item(), item(confidence=0.123456)], "status": "failed"}, analysis.id)
    assert said.splitlines() == [
        f"Analysis {analysis.id}",
        "2 inserted, 0 unchanged, 0 updated, 0 removed, 2 total",
        "normalised: 1 (rounded 1 in the first 1)",
        "left out: 1 × says something of the exported analysis, not of its annotations (status)",
        f"Shown at /images/{analysis.image_id}?analysis={analysis.id}",
    ]
    assert world.count(Annotation) == 2
    (event,) = world.rows(AuditEvent, action="annotations.stored")
    assert (event.actor_label, event.after["format"], event.after["normalised"]) == ("system", "json", 1)


def test_into_a_new_analysis(run: Any, image: Any, world: Any) -> None:
    model = ("--image", image.id, "--model", "leaf-net", "--version", "2.0")
    said = run({"annotations": [item()]}, *model)
    (made,) = world.rows(Analysis)
    assert said.startswith(f"Analysis {made.id}\n1 inserted")
    assert (made.model_name, made.model_version, made.status) == ("leaf-net", "2.0", "completed")
    assert made.annotation_count == 1
    again = run({"annotations": [item()]}, *model)
    assert again.startswith(f"Analysis {made.id}\n0 inserted, 1 unchanged")
    run({"annotations": [item()]}, "--image", image.id, "--model", "leaf-net", "--version", "2.1")
    assert world.count(Analysis) == 2


@pytest.mark.parametrize("format", ["json", "ndjson"])
def test_what_a_file_says_of_its_analysis(
    format: str, run: Any, image: Any, world: Any, viewer: Any, app: Flask
) -> None:
    """A new analysis has it too, unless it is told otherwise; the receipt says so."""
    about = {"parameters": {"threshold": 0.5}, "provenance": {"git": "abc"}}
    first = world.analysis(image, "completed", model_name="leaf-net", model_version="1.4.0", **about)
    exported = viewer.api("GET", f"/api/analyses/{first.id}/export?format={format}", buffered=True).data
    facts = ("model_name", "model_version", "parameters", "provenance")

    def made(*options: object) -> tuple[set[str], list[Any]]:
        before = {one.id for one in world.rows(Analysis)}
        said = json.loads(run(exported, "--image", image.id, "--json", *options, format=format))
        (new,) = (one for one in world.rows(Analysis) if one.id not in before)
        places = {where.split()[-1] for one in said["file"]["told"] for where in one["places"]}
        counted = {one["what"]: one["count"] for one in said["file"]["told"]}["is taken for the new analysis"]
        return (counted, places), [getattr(new, name) for name in facts]

    assert made() == ((4, set(facts[:3])), ["leaf-net", "1.4.0", *about.values()])
    assert made("--version", "2") == ((3, {facts[0], *facts[2:]}), ["leaf-net", "2", *about.values()])
    same = ("--model", "leaf-net", "--version", "3")
    assert made(*same) == ((2, set(facts[2:])), ["leaf-net", "3", *about.values()])


def test_what_a_file_says_of_another_model(run: Any, image: Any, world: Any) -> None:
    """Its parameters, commit and hashes are no more those of the given model than its version is."""
    facts = {"model_name": "other", "model_version": "9", "parameters": {"a": 1}, "provenance": {"git": "b"}}
    said = run({**facts, "annotations": [item()]}, "--image", image.id, "--model", "leaf-net")
    (made,) = world.rows(Analysis)
    assert [getattr(made, name) for name in facts] == ["leaf-net", "unknown", None, None]
    assert "1 × is not the model that was given: its version, parameters and provenance are not taken" in said


def test_the_status_in_a_file(run: Any, image: Any, world: Any) -> None:
    """What failed has failed here too; what had not ended is completed, and that is said."""
    model = ("--image", image.id, "--model", "leaf-net")
    file = {"status": "failed", "error_message": "No memory.", "annotations": [item()]}
    assert "2 × is taken for the new analysis (status, error_message)" in run(file, *model)
    (made,) = world.rows(Analysis)
    assert (made.status, made.error_message, made.annotation_count) == ("failed", "No memory.", 1)
    assert "0 inserted, 1 unchanged" in run(file, *model)
    told = "1 × is canceled, and the new analysis is completed (status)"
    assert told in run({**file, "status": "canceled"}, *model)
    assert {(one.status, one.error_message) for one in world.rows(Analysis)} == {
        ("failed", "No memory."),
        ("completed", None),
    }


def test_tracks_make_another_analysis(run: Any, image: Any, world: Any) -> None:
    """As whatever else says how a file is read."""
    line, told = b"0 .5 .5 .2 .2 .9 1", ("--image", image.id, "--model", "leaf-net")
    assert "say `tracks`" in run(line, *told, format="yolo")
    assert "kept in data.extra: 1 × track_id" in run(line, *told, "--tracks", format="yolo")
    assert sorted(one.annotation_type for one in world.rows(Annotation)) == ["bounding_box", "segmentation"]
    assert "0 inserted, 1 unchanged" in run(line, *told, "--tracks", format="yolo")
    assert world.count(Analysis) == 2


def test_a_dry_run(run: Any, image: Any, world: Any) -> None:
    said = run({"annotations": [item()]}, "--image", image.id, "--model", "leaf-net", "--dry-run")
    assert said.splitlines()[:2] == [
        "Nothing is stored, as this is a dry run.",
        "1 inserted, 0 unchanged, 0 updated, 0 removed, 1 total",
    ]
    assert world.count(Analysis) == world.count(Annotation) == 0


def test_what_is_refused(run: Any, analysis: Analysis, image: Any, world: Any) -> None:
    file = {"annotations": [item(), item(confidence=2)]}
    assert "annotations.1 confidence: Must be a number from 0 to 1." in run(file, analysis.id, code=1)
    assert world.count(Annotation) == 0
    assert "refused: annotations.1: confidence Must be" in run(file, analysis.id, "--skip-invalid")
    assert "is not JSON" in run(b"{", analysis.id, code=1)
    assert "no such analysis" in run(file, some_id(), code=1)
    assert "Name either" in run(file, code=2)
    assert "Name either" in run(file, analysis.id, "--image", image.id, "--model", "m", code=2)
    assert "--model is needed" in run(file, "--image", image.id, format="coco", code=2)
    assert "does not say of which model" in run(file, "--image", image.id, code=1)
    assert world.count(Annotation) == 1


def test_a_refusal_as_json(run: Any, image: Any) -> None:
    for where, source in (("--image", True), ("--project", False)):
        said = run({"annotations": []}, where, some_id(), "--model", "m", "--json", code=1)
        line = json.loads(said)
        assert (line["kind"], "source" in line) == ("refused", source) and "no such" in line["reason"]
    line = json.loads(
        run({"annotations": [item(confidence=2)]}, "--image", image.id, "--model", "m", "--json", code=1)
    )
    assert line["errors"][0]["place"] == "annotations.0"


def test_a_file_that_is_too_large(run: Any, analysis: Analysis, app: Flask) -> None:
    app.config["MAX_REQUEST_BYTES"] = 10
    assert "more than 10 bytes" in run({"annotations": [item()]}, analysis.id, code=1)


def test_an_artifact_cannot_come_with_a_new_analysis(run: Any, image: Any, world: Any) -> None:
    path = f"ml_outputs/{some_id()}/heat.png"
    heat = {"annotation_type": "heatmap", "data": {"width": 4, "height": 3}, "storage_path": path}
    run({"annotations": [heat]}, "--image", image.id, "--model", "leaf-net", code=1)
    assert world.count(Analysis) == 0
