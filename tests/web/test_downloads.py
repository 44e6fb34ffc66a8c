"""A view as a file: a drawing that is whole by itself, and the same as a picture."""

import base64
import io
import re
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from flask import Flask
from PIL import Image as Picture

from app import rasteriser
from app.imaging import DECODING
from app.models import Analysis, Image, Project
from app.web import downloads
from tests.cast import Person, Pipeline
from tests.factories import World, gradient, picture, some_id
from tests.steps import box, store, upload
from tests.support.crowds import crowd
from tests.support.hostile import STRINGS

SVG = "{http://www.w3.org/2000/svg}"
INSIDE = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=]+")


def drawing(person: Person, image: Image, query: str = "") -> ElementTree.Element:
    """The drawing, read by a strict parser; nothing in it may run, or lead anywhere else."""
    answer = person.client.get(f"/images/{image.id}/view.svg?{query}")
    assert (answer.status_code, answer.mimetype) == (200, "image/svg+xml"), answer.text
    root = ElementTree.fromstring(answer.data)
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in {
            "svg", "title", "g", "rect", "path", "circle", "image", "text", "linearGradient", "stop",
        }  # fmt: skip
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on")
            assert "href" not in name or INSIDE.fullmatch(value)
    return root


def texts(root: ElementTree.Element) -> str:
    return " | ".join(element.text or "" for element in root.iter(f"{SVG}text"))


def pictures(root: ElementTree.Element) -> list[tuple[Picture.Image, dict[str, str]]]:
    """The pictures inside, decoded, each with its attributes."""
    found = []
    for element in root.iter(f"{SVG}image"):
        content = base64.b64decode(element.attrib["href"].partition(",")[2])
        found.append((Picture.open(io.BytesIO(content)), element.attrib))
    return found


def test_a_view_is_drawn_with_its_legend(
    image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    store(pipeline, analysis, [box(class_name="oak"), box(class_name="oak"), box(class_name="elm")])
    root = drawing(viewer, image)
    assert len(root.findall(f".//{SVG}rect[@fill-opacity='.14']")) == 3
    said = texts(root)
    assert "leaf.png" in said and "64 × 48 px" in said and "leaf-net 1.0.0" in said
    assert "3 received · 3 drawn · 0 hidden" in said and "oak | 2 | elm | 1" in said


def test_what_is_hidden_is_said_and_not_drawn(
    image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    store(pipeline, analysis, [box(class_name="oak"), box(class_name="elm", confidence=0.25)])
    root = drawing(viewer, image, "off=oak&min=0.5")
    said = texts(root)
    assert not root.findall(f".//{SVG}rect[@fill-opacity='.14']")
    assert "2 received · 0 drawn · 2 hidden (1 class switched off, 1 below the confidence threshold)" in said
    assert "without oak; confidence of at least 0.5" in said
    assert "boxes switched off" in texts(drawing(viewer, image, "boxes=0"))


def test_a_part_is_cut_out_and_placed_to_the_pixel(world: World, project: Project, viewer: Person) -> None:
    dotted = Picture.new("RGB", (64, 48), "#204060")
    dotted.putpixel((33, 21), (250, 10, 20))
    file = io.BytesIO()
    dotted.save(file, "PNG")
    image = world.image(project, "dot.png", file.getvalue())
    root = drawing(viewer, image, "box=30.5,20,9.5,8")
    ((part, where),) = pictures(root)
    assert part.size == (10, 8) and part.getpixel((3, 1)) == (250, 10, 20)
    assert [where[name] for name in ("x", "y", "width", "height")] == ["30", "20", "10", "8"]
    assert "The part from x 30 to 40 and y 20 to 28, of 64 × 48 px" in texts(root)
    assert "64 × 48 px" in texts(drawing(viewer, image, "box=900,900,5,5"))


def test_pictures_of_an_analysis_are_inside_with_the_scale_of_a_heatmap(
    app: Flask, image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    heat: dict[str, Any] = {"width": 16, "height": 12, "vmin": 0, "vmax": 40, "unit": "°C"}
    path = upload(app, pipeline, analysis, content=gradient(16, 12))
    rle = {"format": "rle", "counts": [100, 40, 2932], "size": [48, 64]}
    store(
        pipeline,
        analysis,
        [
            {"annotation_type": "heatmap", "data": heat, "storage_path": path},
            {"annotation_type": "segmentation", "class_name": "leaf", "data": rle},
        ],
    )
    root = drawing(viewer, image, "map=magma")
    sizes = [made.size for made, _ in pictures(root)]
    assert sizes == [(64, 48), (16, 12), (64, 48)]
    assert "Heatmap (°C) | 0 | 40" in texts(root) and len(root.findall(f".//{SVG}stop")) == 16
    (_, (usual, _), _), (_, (chosen, _), _) = (
        pictures(root),
        pictures(drawing(viewer, image, "map=magma&low=25&high=75")),
    )
    assert usual.getpalette() != chosen.getpalette() and usual.tobytes() == chosen.tobytes()
    assert "Heatmap (°C) | 10 | 30" in texts(drawing(viewer, image, "low=25&high=75"))
    assert "2 hidden (2 bitmaps switched off)" in texts(drawing(viewer, image, "bitmaps=0"))


def test_pictures_that_cannot_be_had_are_counted_apart(
    app: Flask, image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    path = upload(app, pipeline, analysis, content=gradient(16, 12))
    broken = upload(app, pipeline, analysis, "mask", content=b"no picture")
    said = {"annotation_type": "heatmap", "data": {"width": 16, "height": 12}, "storage_path": path}
    mask = {"annotation_type": "segmentation", "data": {"format": "png"}, "storage_path": broken}
    store(pipeline, analysis, [said, said, mask, box()])
    assert "4 received · 3 drawn · 0 hidden · 1 not a picture that can be drawn" in texts(
        drawing(viewer, image)
    )
    app.extensions["storage"].delete([path])
    root = drawing(viewer, image)
    assert len(pictures(root)) == 1, "the image alone"
    told = "4 received · 1 drawn · 0 hidden · 2 not uploaded · 1 not a picture that can be drawn"
    assert told in texts(root)
    assert "4 received · 1 drawn · 3 hidden (3 bitmaps switched off)" in texts(
        drawing(viewer, image, "bitmaps=0")
    )


def test_a_picture_has_the_size_and_the_colours_of_the_drawing(
    image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    data = {"x_min": 10, "y_min": 10, "x_max": 30, "y_max": 30}
    store(pipeline, analysis, [{"annotation_type": "bounding_box", "class_name": "oak", "data": data}])
    root = drawing(viewer, image, "labels=0")
    answer = viewer.client.get(f"/images/{image.id}/view.png?labels=0")
    assert (answer.status_code, answer.mimetype) == (200, "image/png"), answer.text
    made = Picture.open(io.BytesIO(answer.data)).convert("RGB")
    assert made.size == (int(root.attrib["width"]), int(root.attrib["height"]))
    assert made.getpixel((24 + 900, 24 + 600)) == (0x3F, 0x7F, 0x5F)
    assert made.getpixel((2, 2)) == (255, 255, 255)


def test_one_picture_is_drawn_at_a_time_and_others_are_told_soon(
    image: Image, analysis: Analysis, viewer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasteriser, "WAITS_SECONDS", 0.01)
    address = f"/images/{image.id}/view.png"
    with rasteriser.turn():
        busy = viewer.client.get(address)
        assert viewer.client.get(f"/images/{image.id}/view.svg").status_code == 200
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "5")
    assert "Another view is being drawn" in busy.text and f'href="{address}">Try again' in busy.text
    assert viewer.client.get(address).status_code == 200


def test_a_picture_that_is_drawn_keeps_no_other_from_being_decoded(
    image: Image, analysis: Analysis, viewer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(_svg: str) -> bytes:
        free = [DECODING.acquire(blocking=False) for _ in range(2)]
        for _ in filter(None, free):
            DECODING.release()
        assert all(free)
        return b"png"

    monkeypatch.setattr(downloads, "png_of", draw)
    assert viewer.client.get(f"/images/{image.id}/view.png").data == b"png"


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_it_is_saved_under_a_name_that_says_what_it_is(
    image: Image, analysis: Analysis, viewer: Person, kind: str
) -> None:
    answer = viewer.client.get(f"/images/{image.id}/view.{kind}")
    assert answer.headers["Content-Disposition"] == f"attachment; filename=leaf_leaf-net.{kind}"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert viewer.client.get(f"/images/{some_id()}/view.{kind}").status_code == 404
    assert viewer.client.get(f"/images/{image.id}/view.{kind}?analysis={some_id()}").status_code == 404


def test_names_that_no_xml_may_hold(world: World, project: Project, viewer: Person) -> None:
    hostile = "a\x01\x0b]]><script>alert(1)</script>&amp;\"'\ufffe.png"
    image = world.image(project, hostile, picture())
    world.analysis(image, "completed", model_name=hostile)
    assert "<script>alert(1)</script>" in texts(drawing(viewer, image))
    assert viewer.client.get(f"/images/{image.id}/view.png").status_code == 200


def test_without_analyses_it_is_the_image_alone(
    app: Flask, image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    store(pipeline, analysis, [box(class_name="oak")])
    app.config["ML_ANALYSIS_ENABLED"] = False
    root = drawing(viewer, image, f"analysis={analysis.id}")
    assert texts(root) == "leaf.png | 64 × 48 px" and len(pictures(root)) == 1


def test_others_are_drawn_below_each_with_its_opacity(
    world: World, image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    other = world.analysis(image, "processing", model_name="moss-net")
    for row in (analysis, other):
        store(pipeline, row, [box(class_name="oak")])
    root = drawing(viewer, image, f"analysis={analysis.id}&with={other.id}:40&opacity=70&labels=0")
    groups = root.findall(f".//{SVG}g[@stroke-linejoin]")
    assert [group.attrib["opacity"] for group in groups] == ["0.4", "0.7"]
    assert texts(root).index("moss-net") < texts(root).index("leaf-net")


def test_so_many_that_they_are_a_picture(world: World, project: Project, viewer: Person) -> None:
    image = world.image(project, "crowd.png", picture(600, 400))
    crowd(world, image, 20_001)
    root = drawing(viewer, image)
    (_, (outlines, where)) = pictures(root)
    assert outlines.size == (1200, 800) and outlines.mode == "P" and len(outlines.getcolors() or ()) > 5
    assert [where[name] for name in ("x", "y", "width", "height")] == ["0", "0", "600.0", "400.0"]
    assert not root.findall(f".//{SVG}path") and "20,001 received · 20,001 drawn · 0 hidden" in texts(root)
    part = drawing(viewer, image, "box=0,0,60,40")
    assert part.findall(f".//{SVG}g[@stroke-linejoin]//{SVG}rect") and "outside the view" in texts(part)
    assert "20,001 boxes switched off" in texts(drawing(viewer, image, "boxes=0"))


def test_the_one_that_is_picked_has_its_own_border(
    image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    rle = {"format": "rle", "counts": [100, 40, 2932], "size": [48, 64]}
    said = {"annotation_type": "segmentation", "class_name": "leaf", "data": rle}
    (picked,) = store(pipeline, analysis, [said])
    root = drawing(viewer, image, f"pick={picked}")
    outlines = [path.attrib["d"] for path in root.iter(f"{SVG}path") if path.attrib["fill"] == "none"]
    assert outlines == ["M2 4H3V44H2z"] * 2
    assert not list(drawing(viewer, image).iter(f"{SVG}path"))


def test_hostile_names_are_only_text_in_a_drawing(
    image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    """In the legend, on labels, as titles, and in what says which filter was on; `drawing` looks at every element."""
    store(pipeline, analysis, [box(class_name=name, client_id=str(n)) for n, name in enumerate(STRINGS)])
    said = {element.text for element in drawing(viewer, image).iter() if element.text}
    for name in STRINGS:
        clean = downloads.well_formed(name)
        assert any(clean in text or clean[:20] in text for text in said), name
    for name in STRINGS[::8]:
        query = urlencode({"only": name, "q": name, "off": name})
        assert downloads.well_formed(name)[:20] in texts(drawing(viewer, image, query))
