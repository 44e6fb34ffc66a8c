"""The formats analyses leave in.

To add one: a module with a function that yields bytes, and its entry in `FORMATS`. It takes what stands over the
analyses (`schema_version`, `filters`, and for files that tell it also the `format` and what it `never` has), the
analyses as they are read, and where it counts what it leaves out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.exports.coco_file import write_coco, write_coco_results
from app.exports.coco_items import KEPT
from app.exports.csv_file import write_csv, write_csv_of_many
from app.exports.json_file import write_json, write_json_of_many, write_ndjson, write_ndjson_of_many
from app.exports.losses import Losses
from app.exports.many import Entry
from app.exports.voc_file import write_voc
from app.exports.yolo_file import write_yolo, write_yolo_with_scores
from app.models.exports import BUNDLE, BUNDLE_WITH_IMAGES, EVERYTHING

Write = Callable[[dict[str, Any], Iterable[Entry], Losses], Iterator[bytes]]
WriteOne = Callable[[Entry, Losses], Iterator[bytes]]


@dataclass(frozen=True)
class Format:
    """`keeps` is a line for people. `drops` has what befalls all annotations of a type (a key of losses.REASONS).

    `writes` are the fields of an analysis and of annotations that are in a file, by the names that `manifests` gives
    them; None is all of them, or with columns what these say.

    `write_one` is for formats where one analysis is not a list of one, and `begins` are the bytes with which it begins
    whatever it says; `write` writes how a file begins before it takes an analysis. `manifest` says whether the file
    itself tells what it dropped; `shows_artifacts` whether they are in it. Where it `has_columns`, `write` also takes
    the names of those that are wanted, none for all.
    """

    title: str
    keeps: str
    extension: str
    content_type: str
    write: Write
    write_one: WriteOne | None = None
    begins: bytes = b""
    drops: Mapping[str, str] = field(default_factory=dict)
    writes: frozenset[str] | None = None
    manifest: bool = False
    shows_artifacts: bool = False
    has_columns: bool = False

    @property
    def is_lossless(self) -> bool:
        return not (self.drops or self.writes or self.has_columns)


@dataclass(frozen=True)
class KeptFormat:
    """A zip with files in it, which is written in the background only: everything of a project, or a bundle.

    Bundles are made by `bundles`, which knows of these exports.
    """

    title: str
    keeps: str
    extension: str
    content_type: str = "application/zip"
    is_everything: bool = False
    has_images: bool = False


JSON, ZIP = "application/json", "application/zip"
NOT_DRAWN = {name: name for name in ("heatmap", "classification", "custom")}
BOXES_ONLY = NOT_DRAWN | {name: f"{name}_shape" for name in ("polygon", "segmentation", "keypoint")}
OF_RESULTS = frozenset(KEPT) | {"annotation_id", "confidence", "data"}
OF_YOLO = frozenset(
    {"analysis_id", "image_id", "filename", "model_name", "model_version", "class_name", "data"}
)
WITH_SCORES = OF_YOLO | {"confidence"}
YOLO: dict[str, Any] = {
    "extension": "yolo.zip",
    "content_type": ZIP,
    "drops": NOT_DRAWN,
    "writes": OF_YOLO,
    "manifest": True,
}

FORMATS: dict[str, Format] = {
    "json": Format(
        title="JSON",
        keeps="Everything, with data and provenance",
        extension="json",
        content_type=JSON,
        write=write_json_of_many,
        write_one=write_json,
        begins=b'{"schema_version":',
        shows_artifacts=True,
    ),
    "ndjson": Format(
        title="NDJSON",
        keeps="Everything, an annotation on each line",
        extension="ndjson",
        content_type="application/x-ndjson",
        write=write_ndjson_of_many,
        write_one=write_ndjson,
        begins=b'{"kind":"analysis",',
        shows_artifacts=True,
    ),
    "csv": Format(
        title="CSV",
        keeps="One row an annotation, for a spreadsheet",
        extension="csv",
        content_type="text/csv; charset=utf-8",
        write=write_csv_of_many,
        write_one=write_csv,
        begins=b"annotation_id,",
        has_columns=True,
    ),
    "coco": Format(
        title="COCO dataset",
        keeps="Boxes, masks and keypoints with scores, for training",
        extension="coco.json",
        content_type=JSON,
        write=write_coco,
        drops=NOT_DRAWN,
        manifest=True,
        shows_artifacts=True,
    ),
    "coco-results": Format(
        title="COCO results",
        keeps="The same as a list with scores, for evaluation",
        extension="coco-results.json",
        content_type=JSON,
        write=write_coco_results,
        drops=NOT_DRAWN,
        writes=OF_RESULTS,
    ),
    "yolo": Format(
        title="YOLO labels",
        keeps="Boxes, outlines and keypoints as text, for training",
        write=write_yolo,
        **YOLO,
    ),
    "yolo-scores": Format(
        title="YOLO with scores",
        keeps="The same with a confidence on each line",
        write=write_yolo_with_scores,
        **YOLO | {"extension": "yolo-scores.zip", "writes": WITH_SCORES},
    ),
    "voc": Format(
        title="Pascal VOC",
        keeps="A box for each annotation, as XML",
        extension="voc.zip",
        content_type=ZIP,
        write=write_voc,
        drops=BOXES_ONLY,
        writes=WITH_SCORES | {"status", "annotation_id"},
        manifest=True,
    ),
}

KEPT_ONLY: dict[str, KeptFormat] = {
    BUNDLE: KeptFormat(
        title="Provenance bundle",
        keeps="signed zip with files, and the hashes of images",
        extension="bundle.zip",
    ),
    BUNDLE_WITH_IMAGES: KeptFormat(
        title="Provenance bundle and images",
        keeps="the same with the images in it",
        extension="bundle.zip",
        has_images=True,
    ),
    EVERYTHING: KeptFormat(
        title="Everything of a project",
        keeps="zip with its images and files",
        extension="zip",
        is_everything=True,
        has_images=True,
    ),
}
# what a selection can be written as
FORMATS_OF_MANY: dict[str, Format | KeptFormat] = {**FORMATS, **KEPT_ONLY}
