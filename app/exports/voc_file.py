"""Analyses as Pascal VOC annotations in a zip: a folder for each model and version, a file for each analysis."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any
from xml.etree.ElementTree import Element

from app.exports.file_names import Folders, Names, stem
from app.exports.losses import Losses
from app.exports.many import Entry
from app.exports.parts import FIRST_DAY, manifest, readme
from app.exports.voc_xml import document, object_of
from app.exports.zips import ZipStream
from app.geometry import Frame

README = "Pascal VOC annotations: a file for each analysis, with a box for each thing in its image."


def write_voc(head: dict[str, Any], entries: Iterable[Entry], losses: Losses) -> Iterator[bytes]:
    """`{model}-{version}/Annotations/{image}.xml`; what VOC has no element for stands in elements of its own."""
    names, folders = Names(), Folders()
    with closing(ZipStream(FIRST_DAY)) as stream:
        yield from readme(stream, README)
        for entry in entries:
            folder = f"{folders.of(entry)}/Annotations"
            path = names.unique(folder, stem(entry.row.filename), ".xml", entry.about["id"][-12:])
            yield from stream.add(path, document(_about(entry), _objects(entry, losses)), deflate=True)
        yield from manifest(stream, head, losses)
        yield from stream.end()


def _objects(entry: Entry, losses: Losses) -> Iterator[Element | None]:
    """None is the end of a page."""
    frame = Frame(entry.row.width, entry.row.height)
    for rows in entry.pages or ():
        for row in rows:
            element = object_of(row, frame, losses)
            if element is not None:
                yield element
        yield None


def _about(entry: Entry) -> dict[str, Any]:
    row, about = entry.row, entry.about
    return {
        "folder": "images",
        "filename": row.filename,
        "source": {"database": "Loupe", "annotation": f"{about['model_name']} {about['model_version']}"},
        "size": {"width": row.width, "height": row.height, "depth": 3},
        "segmented": 0,
        "loupe": {"image_id": about["image_id"], "analysis_id": about["id"], "status": about["status"]},
    }
