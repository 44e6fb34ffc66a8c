"""The formats analyses leave in.

To add one: a module with a function that yields bytes, and its entry in `FORMATS`. It takes what stands over the
analyses (`schema_version`, `filters`, and for files that tell it also the `format` and what it `never` has), the
analyses as they are read, and where it counts what it leaves out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.exports.coco_file import write_coco, write_coco_results
from app.exports.csv_file import write_csv, write_csv_of_many
from app.exports.json_file import write_json, write_json_of_many, write_ndjson, write_ndjson_of_many
from app.exports.losses import Losses
from app.exports.many import Entry
from app.exports.voc_file import write_voc
from app.exports.yolo_file import write_yolo, write_yolo_with_scores

Write = Callable[[dict[str, Any], Iterable[Entry], Losses], Iterator[bytes]]
WriteOne = Callable[[Entry, Losses], Iterator[bytes]]


@dataclass(frozen=True)
class Format:
    """`keeps` is a line for people. `drops` has what befalls all annotations of a type (a key of losses.REASONS).

    `never` are fields that are in no file, `never_alone` those that are missing in a file of one analysis besides.
    `write_one` is for formats where one analysis is not a list of one. `manifest` says whether the file itself tells
    what it dropped; `shows_artifacts` whether they are in it. Where it `has_columns`, `write` also takes the names of
    those that are wanted, none for all.
    """

    title: str
    keeps: str
    extension: str
    content_type: str
    write: Write
    write_one: WriteOne | None = None
    drops: Mapping[str, str] = field(default_factory=dict)
    never: tuple[str, ...] = ()
    never_alone: tuple[str, ...] = ()
    manifest: bool = False
    shows_artifacts: bool = False
    has_columns: bool = False

    @property
    def is_lossless(self) -> bool:
        return not (self.drops or self.never)


JSON, ZIP = "application/json", "application/zip"
NOT_DRAWN = {name: name for name in ("heatmap", "classification", "custom")}
BOXES_ONLY = NOT_DRAWN | {name: f"{name}_shape" for name in ("polygon", "segmentation", "keypoint")}
OF_THE_RUN = ("parameters", "provenance", "error_message", "artifacts")
OF_LABELS = (*OF_THE_RUN, "ordering", "client_id", "storage_path", "created_at")
YOLO: dict[str, Any] = {
    "extension": "yolo.zip",
    "content_type": ZIP,
    "drops": NOT_DRAWN,
    "never": (*OF_LABELS, "annotation_id"),
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
        shows_artifacts=True,
    ),
    "ndjson": Format(
        title="NDJSON",
        keeps="Everything, an annotation on each line",
        extension="ndjson",
        content_type="application/x-ndjson",
        write=write_ndjson_of_many,
        write_one=write_ndjson,
        shows_artifacts=True,
    ),
    "csv": Format(
        title="CSV",
        keeps="One row an annotation, for a spreadsheet",
        extension="csv",
        content_type="text/csv; charset=utf-8",
        write=write_csv_of_many,
        write_one=write_csv,
        never=OF_THE_RUN,
        never_alone=("model_name", "model_version", "status", "group_id"),
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
        never=(*OF_THE_RUN, "class_name"),
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
        **YOLO | {"extension": "yolo-scores.zip"},
    ),
    "voc": Format(
        title="Pascal VOC",
        keeps="A box for each annotation, as XML",
        extension="voc.zip",
        content_type=ZIP,
        write=write_voc,
        drops=BOXES_ONLY,
        never=OF_LABELS,
        manifest=True,
    ),
}
