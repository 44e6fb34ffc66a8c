"""Writes rekognition.json, google-vision.json and azure-vision*.json beside this file: answers as the services document
them, with numbers of our own, that went through the services' clients and came out the same.

botocore 1.44.8 (the output shapes of Rekognition), google-cloud-vision 3.16.0 (Protocol Buffers, written as JSON),
azure-ai-vision-imageanalysis 1.0.0 (Image Analysis 4.0), azure-cognitiveservices-vision-computervision 0.9.1 (3.2).
"""

import json
from pathlib import Path
from typing import Any

import botocore.session
from azure.ai.vision.imageanalysis.models import ImageAnalysisResult
from azure.cognitiveservices.vision.computervision.models import ImageAnalysis
from botocore.parsers import create_parser
from google.cloud import vision
from google.protobuf.json_format import MessageToDict

HERE = Path(__file__).parent


def write(name: str, content: Any) -> None:
    (HERE / name).write_text(json.dumps(content) + "\n")


# --- Amazon Rekognition ------------------------------------------------------------------------------------------

BOX = {"Width": 0.5, "Height": 0.25, "Left": 0.125, "Top": 0.25}
answers: dict[str, dict[str, Any]] = {
    "DetectLabels": {
        "Labels": [
            {
                "Name": "Car",
                "Confidence": 98.87621,
                "Instances": [
                    {"BoundingBox": BOX, "Confidence": 97.5},
                    {"BoundingBox": {**BOX, "Left": 0.5, "Top": 0.0}, "Confidence": 55.0},
                ],
                "Parents": [{"Name": "Vehicle"}, {"Name": "Transportation"}],
                "Aliases": [{"Name": "Automobile"}],
                "Categories": [{"Name": "Vehicles and Automotive"}],
            },
            {"Name": "Street", "Confidence": 75.0, "Instances": [], "Parents": [{"Name": "City"}]},
        ],
        "LabelModelVersion": "3.0",
    },
    "DetectFaces": {
        "FaceDetails": [
            {
                "BoundingBox": BOX,
                "Confidence": 99.99,
                "AgeRange": {"Low": 20, "High": 32},
                "Smile": {"Value": True, "Confidence": 96.5},
                "Landmarks": [
                    {"Type": "eyeLeft", "X": 0.25, "Y": 0.3125},
                    {"Type": "eyeRight", "X": 0.375, "Y": 0.3125},
                    {"Type": "nose", "X": 0.3125, "Y": 0.375},
                ],
                "Pose": {"Roll": 1.5, "Yaw": -2.5, "Pitch": 3.5},
            }
        ],
        "OrientationCorrection": "ROTATE_0",
    },
    "DetectCustomLabels": {
        "CustomLabels": [
            {"Name": "rust", "Confidence": 80.0, "Geometry": {"BoundingBox": BOX}},
            {"Name": "healthy", "Confidence": 12.5},
        ]
    },
    "DetectText": {
        "TextDetections": [
            {
                "DetectedText": "STOP",
                "Type": "LINE",
                "Id": 0,
                "Confidence": 99.5,
                "Geometry": {
                    "BoundingBox": BOX,
                    "Polygon": [{"X": 0.125, "Y": 0.25}, {"X": 0.625, "Y": 0.25}, {"X": 0.625, "Y": 0.5}],
                },
            }
        ]
    },
}
model = botocore.session.get_session().get_service_model("rekognition")
for operation, answer in answers.items():
    shape = model.operation_model(operation).output_shape
    body = {"body": json.dumps(answer).encode(), "headers": {}, "status_code": 200}
    parsed = create_parser("json").parse(body, shape)
    assert {key: value for key, value in parsed.items() if key != "ResponseMetadata"} == answer, operation
write("rekognition.json", {key: value for answer in answers.values() for key, value in answer.items()})

# --- Google Cloud Vision -----------------------------------------------------------------------------------------


def poly(*points: tuple[float, float], unit: bool = False) -> vision.BoundingPoly:
    if unit:
        return vision.BoundingPoly(normalized_vertices=[vision.NormalizedVertex(x=x, y=y) for x, y in points])
    return vision.BoundingPoly(vertices=[vision.Vertex(x=int(x), y=int(y)) for x, y in points])


Landmark = vision.FaceAnnotation.Landmark
response = vision.AnnotateImageResponse(
    localized_object_annotations=[
        vision.LocalizedObjectAnnotation(
            mid="/m/01bqk0",
            name="Bicycle wheel",
            score=0.875,
            bounding_poly=poly((0.0, 0.25), (0.5, 0.25), (0.5, 0.5), (0.0, 0.5), unit=True),
        )
    ],
    label_annotations=[
        vision.EntityAnnotation(mid="/m/0199g", description="Bicycle", score=0.96875, topicality=0.5)
    ],
    logo_annotations=[
        vision.EntityAnnotation(
            description="Acme", score=0.625, bounding_poly=poly((10, 0), (30, 5), (28, 15), (8, 10))
        )
    ],
    text_annotations=[
        vision.EntityAnnotation(
            locale="en", description="STOP", bounding_poly=poly((4, 4), (20, 4), (20, 12), (4, 12))
        )
    ],
    face_annotations=[
        vision.FaceAnnotation(
            bounding_poly=poly((0, 0), (32, 0), (32, 24), (0, 24)),
            fd_bounding_poly=poly((2, 2), (30, 2), (30, 22), (2, 22)),
            landmarks=[
                Landmark(type_=Landmark.Type.LEFT_EYE, position=vision.Position(x=10.5, y=8.25, z=0.5)),
                Landmark(type_=Landmark.Type.RIGHT_EYE, position=vision.Position(x=20.5, y=0.0, z=-1.5)),
            ],
            roll_angle=1.5,
            detection_confidence=0.75,
            landmarking_confidence=0.5,
            joy_likelihood=vision.Likelihood.VERY_LIKELY,
        )
    ],
    safe_search_annotation=vision.SafeSearchAnnotation(adult=vision.Likelihood.VERY_UNLIKELY),
)
write("google-vision.json", {"responses": [MessageToDict(response._pb)]})

# --- Azure AI Vision ---------------------------------------------------------------------------------------------

metadata = {"width": 128, "height": 96}
four: dict[str, Any] = {
    "modelVersion": "2023-10-01",
    "metadata": metadata,
    "captionResult": {"text": "a man on a bench", "confidence": 0.75},
    "objectsResult": {
        "values": [
            {
                "boundingBox": {"x": 20, "y": 10, "w": 40, "h": 30},
                "tags": [{"name": "person", "confidence": 0.875}],
            }
        ]
    },
    "tagsResult": {"values": [{"name": "outdoor", "confidence": 0.5}, {"name": "bench", "confidence": 0.25}]},
    "peopleResult": {"values": [{"boundingBox": {"x": 20, "y": 10, "w": 40, "h": 30}, "confidence": 0.9375}]},
    "denseCaptionsResult": {
        "values": [{"text": "a bench", "confidence": 0.5, "boundingBox": {"x": 0, "y": 0, "w": 128, "h": 96}}]
    },
}
assert ImageAnalysisResult(four).as_dict() == four
write("azure-vision.json", four)

vehicle = {"object": "Vehicle", "confidence": 0.75}
three: dict[str, Any] = {
    "categories": [{"name": "outdoor_street", "score": 0.5}],
    "tags": [{"name": "car", "confidence": 0.625, "hint": "vehicle"}],
    "objects": [
        {
            "rectangle": {"x": 20, "y": 10, "w": 40, "h": 30},
            "object": "Car",
            "confidence": 0.875,
            "parent": vehicle,
        }
    ],
    "faces": [{"age": 30, "faceRectangle": {"left": 20, "top": 10, "width": 10, "height": 12}}],
    "brands": [{"name": "Acme", "confidence": 0.5, "rectangle": {"x": 2, "y": 4, "w": 6, "h": 8}}],
    "requestId": "0a1b2c3d",
    "metadata": {**metadata, "format": "Png"},
    "modelVersion": "2021-05-01",
}
assert ImageAnalysis.deserialize(three).serialize(keep_readonly=True) == three
write("azure-vision-3.json", three)
