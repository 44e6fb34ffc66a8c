"""Answers of Amazon Rekognition, Google Cloud Vision and Azure AI Vision, which their clients take."""

from pathlib import Path
from typing import Any

import pytest

from app.geometry import Frame
from tests.importers.reading import data, faults, load, rows, said

BOX = {"Left": 0.125, "Top": 0.25, "Width": 0.5, "Height": 0.25}
PERCENTS = "has a confidence from 0 to 100, which is divided by 100"


def corners(stored: Any) -> list[float]:
    return [stored[name] for name in ("x_min", "y_min", "x_max", "y_max")]


def test_rekognition() -> None:
    bulk = load(Path("rekognition.json"), "rekognition")
    assert rows(bulk) == [
        ("classification", "Car", 0.9888),
        ("bounding_box", "Car", 0.975),
        ("bounding_box", "Car", 0.55),
        ("classification", "Street", 0.75),
        ("bounding_box", "Face", 0.9999),
        ("keypoint", "Face", 0.9999),
        ("bounding_box", "rust", 0.8),
        ("classification", "healthy", 0.125),
        ("polygon", "LINE", 0.995),
    ]
    assert bulk.places == [
        "Labels.0", "Labels.0.Instances.0", "Labels.0.Instances.1", "Labels.1", "FaceDetails.0", "FaceDetails.0",
        "CustomLabels.0", "CustomLabels.1", "TextDetections.0",
    ]  # fmt: skip
    assert said(bulk, "told") == {PERCENTS: 8}
    assert said(bulk, "left_out") == {"says something of the answer or the whole image": 2}


def test_what_rekognition_says_of_a_thing() -> None:
    stored = data(load(Path("rekognition.json"), "rekognition"))
    assert corners(stored[1]) == [8, 12, 40, 24]
    assert stored[1]["extra"]["Parents"] == [{"Name": "Vehicle"}, {"Name": "Transportation"}]
    assert stored[0]["topk"] == [{"class": "Car", "confidence": pytest.approx(0.9887621)}]
    assert stored[4]["extra"].keys() == {"AgeRange", "Smile", "Pose"}
    assert stored[5]["keypoints"] == [
        {"name": "eyeLeft", "x": 16, "y": 15},
        {"name": "eyeRight", "x": 24, "y": 15},
        {"name": "nose", "x": 20, "y": 18},
    ]
    assert stored[8]["points"] == [[8, 12], [40, 12], [40, 24]]
    assert stored[8]["extra"]["DetectedText"] == "STOP"


def test_what_is_said_of_a_landmark_is_kept() -> None:
    face = {"BoundingBox": BOX, "Landmarks": [{"Type": "nose", "X": 0.25, "Y": 0.5, "Hidden": True}]}
    (_, points) = data(load({"FaceDetails": [face]}, "rekognition"))
    assert points["keypoints"][0]["extra"] == {"Hidden": True}
    landmark = {"type": "NOSE", "position": {"x": 1, "y": 2, "z": 0.5}, "z": 9, "hidden": True}
    outline = {"vertices": [{}, {"x": 9}, {"x": 9, "y": 9}, {"y": 9}]}
    face = {"boundingPoly": outline, "landmarks": [landmark]}
    (_, points) = data(load({"faceAnnotations": [face]}, "google-vision"))
    assert points["keypoints"][0]["extra"] == {"z": 0.5, "hidden": True, "landmark": {"z": 9}}


def test_what_is_said_of_a_tag_is_kept() -> None:
    tag = {"name": "cat", "confidence": 0.5}
    entry = {"boundingBox": {"x": 1, "y": 2, "w": 3, "h": 4}, "tags": [tag | {"hint": "pet"}]}
    (stored,) = data(load({"objectsResult": {"values": [entry]}}, "azure-vision"))
    assert stored["extra"] == {"tags": [tag | {"hint": "pet"}]}
    (stored,) = data(load({"objectsResult": {"values": [entry | {"tags": [tag]}]}}, "azure-vision"))
    assert "extra" not in stored


def test_google_vision() -> None:
    bulk = load(Path("google-vision.json"), "google-vision")
    assert rows(bulk) == [
        ("bounding_box", "Bicycle wheel", 0.875),
        ("bounding_box", "face", 0.75),
        ("keypoint", "face", 0.5),
        ("classification", "Bicycle", 0.9688),
        ("polygon", "Acme", 0.625),
        ("bounding_box", "text", None),
    ]
    wheel, face, landmarks, bicycle, logo, text = data(bulk)
    assert corners(wheel) == [0, 12, 32, 24] and wheel["extra"] == {"mid": "/m/01bqk0"}
    assert corners(face) == [0, 0, 32, 24] and face["extra"]["joyLikelihood"] == "VERY_LIKELY"
    assert landmarks["keypoints"] == [
        {"name": "LEFT_EYE", "x": 10.5, "y": 8.25, "extra": {"z": 0.5}},
        {"name": "RIGHT_EYE", "x": 20.5, "y": 0, "extra": {"z": -1.5}},
    ]
    assert bicycle["extra"] == {"mid": "/m/0199g", "topicality": 0.5}
    assert logo["points"] == [[10, 0], [30, 5], [28, 15], [8, 10]]
    assert text["extra"] == {"description": "STOP", "locale": "en"}
    assert said(bulk, "left_out") == {"is no list of things with a place or class": 1}


def test_the_response_of_the_image() -> None:
    label = {"description": "a", "score": 0.5}
    batch = [
        {"labelAnnotations": [label], "context": {"uri": f"gs://bucket/{name}.png"}}
        for name in ("leaf", "tree")
    ]
    bulk = load({"responses": batch}, "google-vision")
    assert bulk.places == ["responses.0.labelAnnotations.0"]
    assert said(bulk, "left_out") == {"is of another image": 1}
    plain = [{"labelAnnotations": [label]}] * 2
    assert load({"responses": plain}, "google-vision", called="1").places == [
        "responses.1.labelAnnotations.0"
    ]
    assert faults({"responses": plain}, "google-vision")


def test_azure_vision() -> None:
    """In a frame twice as large as the image."""
    bulk = load(Path("azure-vision.json"), "azure-vision")
    assert rows(bulk) == [
        ("bounding_box", "person", 0.875),
        ("bounding_box", "person", 0.9375),
        ("bounding_box", "caption", 0.5),
        ("classification", "outdoor", 0.5),
        ("classification", "bench", 0.25),
    ]
    assert corners(data(bulk)[0]) == [10, 5, 30, 20]
    assert data(bulk)[2]["extra"] == {"text": "a bench"}
    assert said(bulk, "left_out") == {"says something of the answer or the whole image": 3}
    assert len(bulk.scaled) == 3
    assert corners(data(load(Path("azure-vision.json"), "azure-vision", frame=Frame(128, 96)))[0]) == [
        20,
        10,
        60,
        40,
    ]


def test_azure_vision_3() -> None:
    bulk = load(Path("azure-vision-3.json"), "azure-vision")
    assert rows(bulk) == [
        ("bounding_box", "Car", 0.875),
        ("bounding_box", "face", None),
        ("bounding_box", "Acme", 0.5),
        ("classification", "car", 0.625),
    ]
    car, face, brand, tag = data(bulk)
    assert car["extra"] == {"parent": {"object": "Vehicle", "confidence": 0.75}}
    assert corners(face) == [10, 5, 15, 11] and face["extra"] == {"age": 30}
    assert corners(brand) == [1, 2, 4, 6]
    assert tag["extra"] == {"hint": "vehicle"}


CORNERS = [{"x": 1, "y": 1}, {"x": 9, "y": 1}, {"x": 9, "y": 9}]


@pytest.mark.parametrize(
    ("format", "file", "place", "field"),
    [
        ("rekognition", {"Labels": [{"Name": "a"}]}, "Labels.0", "Confidence"),
        ("rekognition", {"Labels": [{"Name": "a", "Confidence": 101}]}, "Labels.0", "confidence"),
        ("rekognition", {"Labels": [{"Name": 5, "Confidence": 1}]}, "Labels.0", "class_name"),
        ("rekognition", {"FaceDetails": [{}]}, "FaceDetails.0", "BoundingBox"),
        (
            "rekognition",
            {"FaceDetails": [{"BoundingBox": {**BOX, "Left": "x"}}]},
            "FaceDetails.0",
            "data.bbox.0",
        ),
        (
            "rekognition",
            {"FaceDetails": [{"BoundingBox": BOX, "Confidence": "9"}]},
            "FaceDetails.0",
            "confidence",
        ),
        (
            "rekognition",
            {"TextDetections": [{"Geometry": {"Polygon": [5]}}]},
            "TextDetections.0",
            "Geometry.Polygon.0",
        ),
        ("google-vision", {"logoAnnotations": [{"description": "a"}]}, "logoAnnotations.0", "boundingPoly"),
        ("google-vision", {"labelAnnotations": [{"description": "a"}]}, "labelAnnotations.0", "score"),
        ("google-vision", {"labelAnnotations": ["a"]}, "labelAnnotations.0", ""),
        (
            "google-vision",
            {"logoAnnotations": [{"boundingPoly": {"vertices": []}}]},
            "logoAnnotations.0",
            "boundingPoly.vertices",
        ),
        (
            "google-vision",
            {"faceAnnotations": [{"boundingPoly": {"vertices": CORNERS}, "landmarks": 5}]},
            "faceAnnotations.0",
            "landmarks",
        ),
        ("google-vision", {"responses": [{"error": {"code": 3}}]}, "responses.0", "error"),
        ("azure-vision", {"objects": [{"object": "a"}]}, "objects.0", "rectangle"),
        ("azure-vision", {"objects": [{"object": "a", "rectangle": {"x": 1}}]}, "objects.0", "data.bbox.1"),
        ("azure-vision", {"objectsResult": {"values": [{"tags": []}]}}, "objectsResult.values.0", "tags"),
        ("azure-vision", {"tags": [{"name": "a"}]}, "tags.0", "confidence"),
    ],
)
def test_refused(format: str, file: Any, place: str, field: str) -> None:
    fault = faults(file, format)[0]
    assert (fault["place"], fault["field"]) == (place, field)


@pytest.mark.parametrize("format", ["rekognition", "google-vision", "azure-vision"])
@pytest.mark.parametrize("file", ["x", 5, None, {}, [], {"a": 1}, {"responses": []}, {"objectsResult": 5}])
def test_what_is_no_file_of_it(format: str, file: Any) -> None:
    assert faults(file, format)


def test_instances_that_are_no_list_are_refused_alone() -> None:
    labels = [{"Name": name, "Confidence": 50, "Instances": at} for name, at in (("a", "x"), ("b", None))]
    bulk = load({"Labels": labels}, "rekognition", skips=True)
    assert [row[1] for row in rows(bulk)] == ["a", "b"] and bulk.skipped_count == 1
    assert bulk.skipped[0]["errors"] == [{"field": "Instances", "reason": "must be a list"}]
