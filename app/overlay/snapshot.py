"""All annotations of an analysis as columns: what is counted, filtered, found and drawn without reading a row again.

A million rows are 29 MB and a question about all of them takes milliseconds; the same rows from the database take
a second or more, and as objects they would not fit.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.geometry import Frame, Rect
from app.overlay.colours import Colours
from app.overlay.filters import BELOW, Filter

Indexes: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

KINDS = (
    "bounding_box",
    "polygon",
    "keypoint",
    "polygons",
    "rle",
    "png",
    "heatmap",
    "classification",
    "custom",
)
"""The form an annotation is drawn in: its type, or for a segmentation its format."""
BOX, POLYGON, KEYPOINT, POLYGONS, RLE, PNG, HEATMAP, CLASSIFICATION, CUSTOM = range(len(KINDS))
LAST_VECTOR = POLYGONS
LAST_COLOURED = PNG  # what comes after has no colour of its class

COLUMNS = np.dtype(
    [
        ("position", "i4"),
        ("x_min", "f4"),
        ("y_min", "f4"),
        ("x_max", "f4"),
        ("y_max", "f4"),
        ("confidence", "f4"),
        ("class", "i4"),
        ("kind", "i4"),
    ]
)
"""What is read of each. `class` is a place in the list of names; see NOWHERE and UNSURE."""
WITH_IDS = np.dtype([*COLUMNS.descr, ("id", "V16")])
DASHED = 36
"""The characters of an id."""
_DIGITS = [place for place in range(DASHED) if place not in (8, 13, 18, 23)]
OVERHEAD = 2_800
"""Bytes that a snapshot takes beyond its numbers and names: one of 50 boxes in 8 classes takes 5,490 in all."""
NOWHERE = -1e30
"""In place of a coordinate: the annotation has no place in the image."""
UNSURE = -1.0
"""In place of a confidence: none was given."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Columns of one length, in the order of insertion. Coordinates are in pixels of the upright image.

    `ids` has the bytes of each; those of very many are not kept.
    """

    positions: NDArray[np.int32]
    x_min: NDArray[np.float32]
    y_min: NDArray[np.float32]
    x_max: NDArray[np.float32]
    y_max: NDArray[np.float32]
    confidence: NDArray[np.float32]
    classes: NDArray[np.int32]
    kinds: NDArray[np.uint8]
    names: tuple[str | None, ...]
    ids: NDArray[np.void] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def size_bytes(self) -> int:
        """What it takes of the memory, the names included, as there may be as many as annotations; what is made of a
        snapshot and kept with it, as for few classes."""
        columns = (self.positions, self.confidence, self.classes, self.kinds)
        names = sum(map(sys.getsizeof, self.names))
        ids = 0 if self.ids is None else self.ids.nbytes
        return OVERHEAD + sum(column.nbytes for column in columns) + 4 * self.x_min.nbytes + names + ids

    @cached_property
    def colours(self) -> Colours:
        """The palette index of each class."""
        return Colours(self.names)

    def colours_of(self, chosen: Indexes) -> NDArray[np.uint8]:
        """The palette index of each of these."""
        return self._palette[self.classes[chosen]]

    @cached_property
    def _palette(self) -> NDArray[np.uint8]:
        return np.array([self.colours[name] for name in self.names], dtype=np.uint8)

    @cached_property
    def class_counts(self) -> list[tuple[str | None, int]]:
        """The classes of what is drawn in their colours and how many of each, the most frequent first."""
        return self.classes_among(self.kinds <= LAST_COLOURED)

    def classes_among(self, chosen: Mask) -> list[tuple[str | None, int]]:
        """The classes of these and how many of each, the most frequent first."""
        counts = np.bincount(self.classes[chosen], minlength=len(self.names))
        order = np.argsort(-counts, kind="stable")
        return [(self.names[i], int(counts[i])) for i in order.tolist() if counts[i]]

    @cached_property
    def kind_counts(self) -> dict[int, int]:
        counts = np.bincount(self.kinds, minlength=len(KINDS))
        return {kind: int(number) for kind, number in enumerate(counts) if number}

    def passing(self, chosen: Filter) -> tuple[Mask, Mapping[str, int]]:
        """Which ones the filter lets through, and why the others are hidden: reason → how many."""
        shown = np.ones(len(self), dtype=np.bool_)
        hidden: dict[str, int] = {}
        by_name = chosen.hidden_classes(self.names)
        for reason in dict.fromkeys(by_name.values()):
            lost = np.array([by_name.get(name) == reason for name in self.names], dtype=np.bool_)[
                self.classes
            ]
            shown &= ~lost
            hidden[reason] = int(np.count_nonzero(lost))
        if chosen.confidence:
            # a column in 32 bits must not lose the one that lies right on the threshold
            unsure = self.confidence == np.float32(UNSURE)
            lost = shown & ~unsure & (self.confidence < np.float32(chosen.confidence))
            shown &= ~lost
            hidden[BELOW] = int(np.count_nonzero(lost))
        return shown, {reason: number for reason, number in hidden.items() if number}

    def meeting(self, rect: Rect) -> Mask:
        """Which ones have bounds that meet the rectangle."""
        return np.asarray(
            (self.x_min <= rect.x_max)
            & (self.x_max >= rect.x_min)
            & (self.y_min <= rect.y_max)
            & (self.y_max >= rect.y_min)
        )

    def inside(self, frame: Frame) -> Mask:
        """Which ones have a place, at least in part, in the image; only to touch it from outside is none."""
        return np.asarray(
            self.meeting(Rect(0, 0, frame.width, frame.height))
            & ((self.x_max > 0) | (self.x_min >= 0))
            & ((self.y_max > 0) | (self.y_min >= 0))
            & ((self.x_min < frame.width) | (self.x_max <= frame.width))
            & ((self.y_min < frame.height) | (self.y_max <= frame.height))
        )

    def ids_of(self, chosen: Indexes) -> list[str] | None:
        """The ids of these as they are written, if they are kept."""
        if self.ids is None:
            return None
        digits = np.frombuffer(self.ids[chosen].tobytes().hex().encode(), np.uint8).reshape(-1, 32)
        written = np.full((len(digits), DASHED), ord("-"), np.uint8)
        written[:, _DIGITS] = digits
        texts = written.tobytes().decode()
        return [texts[start : start + DASHED] for start in range(0, len(texts), DASHED)]

    @property
    def is_vector(self) -> Mask:
        return np.asarray(self.kinds <= LAST_VECTOR)

    def areas(self, chosen: Indexes) -> NDArray[np.float32]:
        """Of the bounds, in square pixels; -1 for what has no place."""
        width, height = self.x_max[chosen] - self.x_min[chosen], self.y_max[chosen] - self.y_min[chosen]
        return np.where(self.x_min[chosen] == np.float32(NOWHERE), np.float32(-1), width * height)

    def by_importance(self, chosen: Indexes, most: int) -> Indexes:
        """The surest of these, and of equally sure ones the largest, first."""
        if len(chosen) > most:
            sure = self.confidence[chosen]
            chosen = chosen[np.argpartition(-sure, most - 1)[:most]] if sure.min() != sure.max() else chosen
        order = np.lexsort((-self.areas(chosen), -np.maximum(self.confidence[chosen], 0)))
        return np.asarray(chosen[order[:most]])

    def ordered(self, chosen: Indexes, sort: str) -> Indexes:
        """These in the order of `order`, `confidence`, `class` or `area`, with `-` before it descending.

        What has no confidence, class or place comes last either way; equal ones stay in the order of insertion.
        """
        name, descending = sort.removeprefix("-"), sort.startswith("-")
        if name == "order":
            return chosen[::-1] if descending else chosen
        key = {"confidence": self._confidences, "class": self._ranks, "area": self.areas}[name](chosen)
        missing = key < 0
        return np.asarray(chosen[np.lexsort((-key if descending else key, missing))])

    def _confidences(self, chosen: Indexes) -> NDArray[np.float32]:
        return self.confidence[chosen]

    def _ranks(self, chosen: Indexes) -> NDArray[np.float32]:
        """The place of each class in the alphabet; -1 for none."""
        named = sorted(name for name in self.names if name is not None)
        places = {name: place for place, name in enumerate(named)}
        ranks = [-1 if name is None else places[name] for name in self.names]
        return np.array(ranks, dtype=np.float32)[self.classes[chosen]]

    def at(self, x: float, y: float, slack: float, among: Mask, most: int) -> Indexes:
        """Those whose bounds, grown by `slack` pixels, hold a point: the smallest first."""
        near = Rect(x - slack, y - slack, x + slack, y + slack)
        found = np.flatnonzero(self.meeting(near) & among)
        return np.asarray(found[np.argsort(self.areas(found), kind="stable")][:most])

    def place_of(self, position: int) -> int | None:
        """The index of the annotation at this position."""
        index = int(np.searchsorted(self.positions, position))
        return index if index < len(self) and self.positions[index] == position else None


def snapshot_of(columns: Mapping[str, NDArray[Any]], names: tuple[str | None, ...]) -> Snapshot:
    """From columns as COLUMNS or WITH_IDS names them, in any order."""
    if np.any(np.diff(columns["position"]) < 0):
        order = np.argsort(columns["position"], kind="stable")
        columns = {name: column[order] for name, column in columns.items()}
    whole = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    return Snapshot(
        positions=whole["position"],
        x_min=whole["x_min"],
        y_min=whole["y_min"],
        x_max=whole["x_max"],
        y_max=whole["y_max"],
        confidence=whole["confidence"],
        classes=whole["class"],
        kinds=whole["kind"].astype(np.uint8),
        names=names,
        ids=whole.get("id"),
    )
