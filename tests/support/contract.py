"""What the served document says of answers, as JSON Schema: closed, so that a key it does not tell is a fault."""

from copy import deepcopy
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012


class Contract:
    """`closed` objects take no key that is not told; the document itself leaves them open, as fields may be added."""

    def __init__(self, content: dict[str, Any], *, closed: bool = False) -> None:
        self.content = deepcopy(content)
        if closed:
            for name, schema in self.content["components"]["schemas"].items():
                if name != "Problem":  # each code's own schema adds to it, and is closed instead
                    _close(schema)
        resource = DRAFT202012.create_resource(self.content)
        self.registry: Any = Registry().with_resource("urn:document", resource)

    def faults(self, name: str, value: Any) -> list[str]:
        """What is wrong with a value of this component."""
        return self.faults_by({"$ref": f"#/components/schemas/{name}"}, value)

    def faults_by(self, schema: dict[str, Any], value: Any) -> list[str]:
        validator = Draft202012Validator(
            _absolute(schema), registry=self.registry, format_checker=FormatChecker()
        )
        return [f"{fault.json_path}: {fault.message[:300]}" for fault in validator.iter_errors(value)]

    def faults_of_answer(self, path: str, method: str, answer: Any) -> list[str]:
        """What an answer of an operation has that the document does not tell, or tells otherwise."""
        told = self.content["paths"][path][method.lower()]["responses"].get(str(answer.status_code))
        if told is None:
            return [f"{answer.status_code} is not told"]
        if "$ref" in told:
            told = self.content["components"]["responses"][told["$ref"].rpartition("/")[2]]
        missing = [name for name in told["headers"] if name not in answer.headers and name not in OPTIONAL]
        faults = [f"no header {name}" for name in missing]
        content = told.get("content", {})
        if not content:
            return faults + (["a body"] if answer.data else [])
        if answer.mimetype not in {kind.partition(";")[0] for kind in content}:
            return [*faults, f"{answer.mimetype} is not told"]
        schema = content.get(answer.mimetype, {}).get("schema")
        return faults + (self.faults_by(schema, answer.json) if schema else [])


OPTIONAL = {"Link", "WWW-Authenticate", "X-ML-Export-Dropped"}


def _absolute(schema: Any) -> Any:
    """References into the document, from outside of it."""
    if isinstance(schema, dict):
        return {
            key: "urn:document" + value if key == "$ref" else _absolute(value)
            for key, value in schema.items()
        }
    return [_absolute(one) for one in schema] if isinstance(schema, list) else schema


def _close(schema: Any) -> None:
    if isinstance(schema, list):
        for one in schema:
            _close(one)
    if not isinstance(schema, dict):
        return
    for key, inner in schema.items():
        if key != "examples":
            _close(inner)
    if schema.get("type") == "object" and schema.get("properties"):
        schema.setdefault("additionalProperties", False)
    if "allOf" in schema:
        schema["unevaluatedProperties"] = False
