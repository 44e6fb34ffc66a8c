"""The bundle as an RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) in the shape of a Process Run Crate 0.5
(https://w3id.org/ro/wfrun/process/0.5): each analysis is an action that a model did on an image, with its files."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from app.bundles.layout import MANIFEST
from app.bundles.writing import WaitingList, Written
from app.models import Status

METADATA = "ro-crate-metadata.json"
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
ENCODINGS = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "txt": "text/plain",
}
ENDS = {
    Status.COMPLETED: "http://schema.org/CompletedActionStatus",
    Status.FAILED: "http://schema.org/FailedActionStatus",
    Status.CANCELED: "http://schema.org/FailedActionStatus",
    Status.PROCESSING: "http://schema.org/ActiveActionStatus",
    Status.QUEUED: "http://schema.org/PotentialActionStatus",
}


class Crate:
    """Is told of each file and each analysis while they are sent, and is then written as one file."""

    def __init__(self) -> None:
        self._entities, self._parts, self._actions = WaitingList(), WaitingList(), WaitingList()
        self._known: set[str] = set()
        self._runs = 0

    def file(self, written: Written, description: str) -> None:
        about = {
            "@id": written.name,
            "@type": "File",
            "name": written.name.rpartition("/")[2],
            "description": description,
            "encodingFormat": _encoding(written.name),
            "contentSize": str(written.size),
            "sha256": written.sha256,
        }
        self._entities.append(about)
        self._parts.append(_at(written.name))

    def action(self, analysis: Any, image: Any, image_at: str | None, results: Sequence[str]) -> None:
        """`analysis` and `image` are rows; `image_at` is the image's name in the bundle, if it is in there."""
        action = f"#analysis-{analysis.id}"
        model = f"{analysis.model_name} {analysis.model_version}"
        taken = [image_at or self._image(image), *self._values(f"{action}-parameter", analysis.parameters)]
        about: dict[str, Any] = {
            "@id": action,
            "@type": "CreateAction",
            "name": f"{model} on {image.filename}",
            "description": f"The analysis {analysis.id}, which is {analysis.status}.",
            "instrument": _at(self._model(analysis)),
            "object": _all(taken),
            "result": _all(results),
            "actionStatus": ENDS[Status(analysis.status)],
            "startTime": _seconds(analysis.started_at),
            "endTime": _seconds(analysis.completed_at),
            "error": analysis.error_message if analysis.status == Status.FAILED else None,
            "agent": _at(self._person(analysis.requested_by_id)) if analysis.requested_by_id else None,
        }
        about["additionalProperty"] = _all(self._values(f"{action}-provenance", analysis.provenance))
        self._entities.append({name: value for name, value in about.items() if value is not None})
        self._actions.append(_at(action))
        self._runs += 1

    def chunks(self, name: str, description: str, made_at: datetime) -> Iterator[bytes]:
        root = {
            "@id": "./",
            "@type": "Dataset",
            "name": name,
            "description": description,
            "datePublished": _seconds(made_at),
            "license": _at("#license"),
            "conformsTo": _at(PROFILE),
        }
        yield b'{"@context":' + orjson.dumps(CONTEXT) + b',\n"@graph":['
        for entity in _around():
            yield orjson.dumps(entity) + b",\n"
        yield orjson.dumps(root)[:-1] + b',"hasPart":['
        yield from self._parts.chunks()
        alone = self._runs == 1  # RO-Crate wants no array of one
        yield b'],"mentions":' + (b"" if alone else b"[")
        yield from self._actions.chunks()
        yield b"}," if alone else b"]},"
        yield from self._entities.chunks()
        yield b"]}\n"

    def close(self) -> None:
        for waiting in (self._entities, self._parts, self._actions):
            waiting.close()

    def _once(self, entity: dict[str, Any]) -> str:
        name: str = entity["@id"]
        if name not in self._known:
            self._known.add(name)
            self._entities.append(entity)
        return name

    def _model(self, analysis: Any) -> str:
        name, version = analysis.model_name, analysis.model_version
        about = {"@type": "SoftwareApplication", "name": name, "softwareVersion": version}
        return self._once({"@id": f"#model-{_word(name)}-{_word(version)}", **about})

    def _image(self, image: Any) -> str:
        """The image where only its hash is in the bundle."""
        about = {
            "@id": f"urn:uuid:{image.id}",
            "@type": ["CreativeWork", "ImageObject"],
            "name": image.filename,
            "description": "The image, which is not in this bundle.",
            "encodingFormat": image.content_type,
            "contentSize": str(image.size_bytes),
            "sha256": image.sha256,
        }
        return self._once(about)

    def _person(self, user_id: Any) -> str:
        return self._once({"@id": f"#person-{user_id}", "@type": "Person", "name": str(user_id)})

    def _values(self, prefix: str, values: Mapping[str, Any] | None) -> list[str]:
        names = []
        for number, (name, value) in enumerate((values or {}).items()):
            text = value if isinstance(value, str) else orjson.dumps(value).decode()
            about = {"@id": f"{prefix}-{number}", "@type": "PropertyValue", "name": name, "value": text}
            self._entities.append(about)
            names.append(about["@id"])
        return names


def _around() -> list[dict[str, Any]]:
    """What every crate says of itself."""
    return [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "conformsTo": _at("https://w3id.org/ro/crate/1.1"),
            "about": _at("./"),
        },
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        {
            "@id": "#license",
            "@type": "CreativeWork",
            "name": "Not stated",
            "description": f"Ask whoever runs the project. {MANIFEST} has the hash of every file.",
        },
    ]


def _at(name: str) -> dict[str, str]:
    return {"@id": name}


def _all(names: Sequence[str]) -> Any:
    """None, one or several, as RO-Crate writes them."""
    found = [_at(name) for name in names]
    return found if len(found) > 1 else next(iter(found), None)


def _word(text: str) -> str:
    """Letters, digits and `_` that stand for this text alone."""
    return "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in text)


def _encoding(name: str) -> str:
    return ENCODINGS.get(name.rpartition(".")[2], "application/octet-stream")


def _seconds(moment: datetime | None) -> str | None:
    """ISO 8601 to the thousandth, which is what the profile's checks take."""
    return moment.isoformat(timespec="milliseconds") if moment else None
