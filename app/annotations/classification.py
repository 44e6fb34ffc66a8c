"""What the image shows as a whole: classes with confidences. Listed beside it, the likeliest on a badge."""

from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields

from app.annotations.base import AnnotationType, Data, Loaded, Part
from app.annotations.fields import Entries, Name, Real, clean_name
from app.geometry import Frame

MAX_CLASSES = 1000

_Entry = Schema.from_dict(
    {"class": Name(required=True), "confidence": Real(0, 1, required=True)}, name="Entry"
)


class ClassificationPayload(Schema):
    """The canonical form."""

    topk = Entries(_Entry(), MAX_CLASSES, required=True)


class _Scores(fields.Field[list[Data]]):
    """`{class: confidence}` as `topk`, the most confident first."""

    confidence = Real(0, 1)

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> list[Data]:
        if not isinstance(value, dict):
            raise ValidationError("must be an object of confidences by class")
        if len(value) > MAX_CLASSES:
            raise ValidationError(f"must have at most {MAX_CLASSES} classes")
        entries = [self._entry(name, confidence) for name, confidence in value.items()]
        return sorted(entries, key=lambda entry: -entry["confidence"])

    def json_form(self) -> dict[str, Any]:
        return {
            "type": "object",
            "maxProperties": MAX_CLASSES,
            "propertyNames": Name().json_form(),
            "additionalProperties": self.confidence.json_form(),
        }

    def _entry(self, name: str, confidence: Any) -> Data:
        try:
            return {
                "class": clean_name(name),
                "confidence": self.confidence._deserialize(confidence, name, None),
            }
        except ValidationError as error:
            raise ValidationError({name[:80]: error.messages}) from None


class ScoresPayload(Schema):
    scores = _Scores(required=True, data_key="scores", attribute="topk")


_CANONICAL, _SCORES = Part(ClassificationPayload()), Part(ScoresPayload())


class Classification(AnnotationType):
    name = "classification"
    title = "Classification"
    example: ClassVar[Data] = {
        "topk": [{"class": "tabby cat", "confidence": 0.91}, {"class": "lynx", "confidence": 0.06}]
    }
    drawn_as = "none"
    Payload = ClassificationPayload
    aliases = (ScoresPayload,)
    columns = ("top_class", "top_confidence", "class_count")

    def _load(self, data: Data, frame: Frame, storage_path: str | None) -> Loaded:
        part = _SCORES if "scores" in data and "topk" not in data else _CANONICAL
        values, extra = part.load(data)
        return Loaded({"topk": values["topk"], **({"extra": extra} if extra else {})}, None)

    def row(self, data: Data) -> Data:
        """The most confident class, and how many there are."""
        topk = data["topk"]
        top: Data = max(topk, key=lambda entry: entry["confidence"], default={})
        return {
            "top_class": top.get("class"),
            "top_confidence": top.get("confidence"),
            "class_count": len(topk),
        }
