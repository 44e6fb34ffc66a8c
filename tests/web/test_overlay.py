"""What is drawn in a window, what is at a point of it, and the tiles of very many shapes."""

import io
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from flask import Flask
from PIL import Image as Picture

from app.extensions import db
from app.kept import Kept
from app.models import Analysis, Annotation, Image, Project
from app.services import snapshots
from app.web import overlay as routes
from tests.cast import Person, Pipeline
from tests.factories import World, gradient, picture
from tests.steps import box, finalize, store, upload
from tests.support.crowds import crowd
from tests.support.hostile import STRINGS

HTMX = {"HX-Request": "true"}
RLE = {
    "annotation_type": "segmentation",
    "class_name": "mask",
    "data": {"format": "rle", "counts": [48 * 20 + 10, 5, 43, 5, 3072 - 48 * 20 - 63], "size": [48, 64]},
}


def place(x: float, y: float, side: float) -> dict[str, float]:
    return {"x_min": x, "y_min": y, "x_max": x + side, "y_max": y + side}


@pytest.fixture
def ids(image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person) -> list[str]:
    viewer.client.get(f"/images/{image.id}")  # the page that the fragments are for
    return store(
        pipeline,
        analysis,
        [
            box(class_name="car", confidence=0.9, data=place(2, 2, 30)),
            box(class_name="bus", confidence=0.3, data=place(4, 4, 8)),
            box(class_name="car", data=place(40, 30, 5)),
            RLE,
        ],
    )


@pytest.fixture
def overlay(image: Image, ids: list[str]) -> str:
    return f"/images/{image.id}/overlay"


def words(text: str) -> str:
    line = text.split('id="statusline"')[1].split("</footer>")[0].split(">", 1)[1]
    return " ".join(re.sub(r"<[^>]+>", " ", line).split())


def test_who_may_and_as_what(overlay: str, viewer: Person, stranger: Person) -> None:
    assert stranger.client.get(overlay, headers=HTMX).status_code == 403
    assert viewer.client.get(overlay).text.lstrip().startswith("<!doctype html>")
    fragment = viewer.client.get(overlay, headers=HTMX).text
    assert fragment.lstrip().startswith("<footer") and 'id="overlay"' in fragment
    assert 'hx-swap-oob="true"' in fragment and 'id="annotations"' not in fragment


def test_only_what_is_in_the_window_is_drawn(overlay: str, viewer: Person) -> None:
    near = viewer.client.get(f"{overlay}?box=36,26,20,20&scale=8", headers=HTMX).text
    assert near.count('class="shape"') == 1
    assert "3 outside the view" in words(near), "the mask is counted as what is seen of it"
    for nonsense in ("box=1,2,3", "box=1,2,-3,4&scale=1", "box=nan,0,1,1&scale=1", "box=0,0,9,9&scale=0"):
        text = viewer.client.get(f"{overlay}?{nonsense}", headers=HTMX).text
        assert text.count('class="shape"') == 3, nonsense


@pytest.mark.parametrize(
    ("query", "drawn", "why"),
    [
        ("off=car", 2, "2 class switched off"),
        ("only=bus", 1, "3 class switched off"),
        ("q=A", 3, "1 class does not match the search"),
        ("min=0.5", 3, "1 below the confidence threshold"),
        ("off=car&min=0.5&clear=1", 4, None),
        ("off=", 4, None),
    ],
)
def test_filters_are_told(overlay: str, viewer: Person, query: str, drawn: int, why: str | None) -> None:
    answer = viewer.client.get(f"{overlay}?table=1&{query}", headers=HTMX)
    told = words(answer.text)
    assert f"4 received {drawn} drawn" in told
    assert why is None or why in told
    assert answer.text.count('<tr id="r-') == drawn
    assert 'id="legend"' in answer.text
    here = answer.headers["HX-Replace-Url"]
    assert ("off=car" in here) == (query == "off=car"), "the address has the view that is shown"


def test_the_table_is_sorted(overlay: str, viewer: Person, ids: list[str]) -> None:
    def order(sort: str) -> list[int]:
        text = viewer.client.get(f"{overlay}?table=1&sort={sort}", headers=HTMX).text
        return [ids.index(found) for found in re.findall(r'<tr id="r-([^"]+)"', text)]

    assert order("-confidence") == [0, 1, 2, 3]
    assert order("confidence") == [1, 0, 2, 3]
    assert order("class") == [1, 0, 2, 3]
    assert order("-area") == [0, 1, 2, 3]
    assert order("nonsense") == order("order") == [0, 1, 2, 3]


def test_unchanged_is_304_and_reads_no_annotation(
    overlay: str,
    viewer: Person,
    pipeline: Pipeline,
    analysis: Analysis,
    count_queries: Callable[[], Any],
) -> None:
    first = viewer.client.get(overlay, headers=HTMX)
    etag = first.headers["ETag"]
    assert not etag.startswith("W/") and first.headers["Cache-Control"] == "private, no-cache"
    with count_queries() as statements:
        again = viewer.client.get(overlay, headers={**HTMX, "If-None-Match": etag})
    assert again.status_code == 304 and not any("ml_annotations" in one for one in statements)
    finalize(pipeline, analysis)
    ended = viewer.client.get(overlay, headers={**HTMX, "If-None-Match": etag})
    assert ended.status_code == 200 and ended.headers["ETag"] != etag
    version = re.findall(r"overlay\?v=([^\"&]+)", ended.text)[0]
    kept = viewer.client.get(f"{overlay}?v={version}", headers=HTMX)
    assert "immutable" in kept.headers["Cache-Control"]
    assert "immutable" not in viewer.client.get(f"{overlay}?v=c1", headers=HTMX).headers["Cache-Control"]


class Waiting(Kept[Any]):
    """Keeps what is made, and whether whoever asks for it has a transaction open meanwhile."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(most_bytes, len)
        self.held: list[bool] = []

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        self.held.append(db.session().in_transaction())
        return super().get(name, make)


@pytest.mark.parametrize("kept_up_to", [50_000, 0])  # the ids are in the snapshot, and they are not
def test_boxes_have_their_ids_and_those_that_are_gone_are_left_out(
    overlay: str,
    viewer: Person,
    app: Flask,
    ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
    kept_up_to: int,
) -> None:
    monkeypatch.setattr(snapshots, "STORED_ABOVE", kept_up_to)
    near, all_of_it = f"{overlay}?box=0,0,20,20&scale=8", f"{overlay}?box=0,0,64,48&scale=8"
    assert re.findall(r'id="s-([^"]+)"', viewer.client.get(all_of_it, headers=HTMX).text) == ids[:3]
    with app.app_context():  # without a new revision
        db.session.delete(db.session.get_one(Annotation, UUID(ids[1])))
        db.session.commit()
    left = ids[:2] if kept_up_to else ids[:1]
    assert re.findall(r'id="s-([^"]+)"', viewer.client.get(near, headers=HTMX).text) == left


@pytest.mark.parametrize("kind", ["_fragments", "_tiles"])
def test_whoever_waits_for_what_another_makes_holds_nothing(
    overlay: str, analysis: Analysis, viewer: Person, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    waiting = Waiting(1_000_000)
    monkeypatch.setattr(routes, kind, waiting)
    address = {"_fragments": overlay, "_tiles": f"/analyses/{analysis.id}/tiles/0/0/0.png"}[kind]
    assert viewer.client.get(address, headers=HTMX).status_code == 200
    assert waiting.held == [False]


def test_another_analysis_lies_below_with_its_opacity(
    world: World, overlay: str, image: Image, analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    other = world.analysis(image, "processing", model_name="moss-net")
    store(pipeline, other, [box(class_name="moss")])
    query = f"analysis={analysis.id}&with={other.id}:40"
    text = viewer.client.get(f"{overlay}?{query}", headers=HTMX).text
    layers = re.findall(r'<g class="(layer[^"]*)" id="layer-([^"]+)" opacity="([^"]+)"', text)
    assert layers == [("layer other", str(other.id), "0.4"), ("layer", str(analysis.id), "1.0")]
    assert "5 received 5 drawn" in words(text)
    elsewhere = world.analysis(world.image(world.project("Other")), "completed")
    assert str(elsewhere.id) not in viewer.client.get(f"{overlay}?with={elsewhere.id}", headers=HTMX).text


def picked(answer: Any) -> str | None:
    found = re.findall(r'<section class="section picked"[^>]* data-pick="([^"]+)"', answer.text)
    return found[0] if found else None


def test_a_point_picks_the_smallest_and_then_the_next(
    image: Image, ids: list[str], viewer: Person, stranger: Person
) -> None:
    address = f"/images/{image.id}/pick"
    assert stranger.client.get(f"{address}?x=6&y=6", headers=HTMX).status_code == 403
    at = f"{address}?x=6&y=6&box=0,0,64,48&scale=20"
    first = viewer.client.get(at, headers=HTMX)
    assert picked(first) == ids[1] and "M4 4h8v8h-8z" in first.text
    assert f'id="r-{ids[1]}"' in first.text
    assert picked(viewer.client.get(f"{at}&pick={ids[1]}", headers=HTMX)) == ids[0]
    assert picked(viewer.client.get(f"{at}&pick={ids[0]}", headers=HTMX)) == ids[1]
    nothing = viewer.client.get(f"{address}?x=60&y=3&box=0,0,64,48&scale=20", headers=HTMX)
    assert picked(nothing) is None and 'id="picked"' in nothing.text
    assert picked(viewer.client.get(f"{address}?pick={ids[2]}", headers=HTMX)) == ids[2]


def test_a_pick_asks_for_the_analyses_of_the_image_once(
    image: Image, ids: list[str], viewer: Person, count_queries: Callable[[], Any]
) -> None:
    """Nor is the list of analyses read under what was set for the search, which is for an index that it has not."""
    at = f"/images/{image.id}/pick?x=6&y=6&box=0,0,64,48&scale=20"
    viewer.client.get(at, headers=HTMX)  # signs in
    with count_queries() as statements:
        assert picked(viewer.client.get(at, headers=HTMX)) == ids[1]
    assert sum("FROM ml_analyses" in one and "ORDER BY" in one for one in statements) == 1, statements


def test_a_hand_that_is_unsteady_still_picks_what_is_six_pixels_of_the_screen_away(
    image: Image, ids: list[str], viewer: Person
) -> None:
    """The box begins at x = 40."""
    for scale, near, far in ((20, 39.75, 39.6), (2, 37.5, 36)):
        at = f"/images/{image.id}/pick?y=32&box=0,0,64,48&scale={scale}&density=1&only=car"
        assert picked(viewer.client.get(f"{at}&x={near}", headers=HTMX)) == ids[2]
        assert picked(viewer.client.get(f"{at}&x={far}", headers=HTMX)) is None
    dense = f"/images/{image.id}/pick?y=32&box=0,0,64,48&scale=4&density=2&only=car&x=37.5"
    assert picked(viewer.client.get(dense, headers=HTMX)) == ids[2]


def test_a_mask_is_picked_by_its_pixels_and_outlined_along_them(
    image: Image, ids: list[str], viewer: Person
) -> None:
    address = f"/images/{image.id}/pick?off=car&off=bus&box=0,0,64,48&scale=20"
    answer = viewer.client.get(f"{address}&x=20.5&y=12.5", headers=HTMX)
    assert picked(answer) == ids[3]
    d = re.findall(r'<path class="spot" d="([^"]+)"', answer.text)[0]
    assert sorted(float(one) for one in set(re.findall(r"[HV ]([\d.]+)", d))) == [10, 15, 20, 22]
    assert picked(viewer.client.get(f"{address}&x=20.5&y=16.5", headers=HTMX)) is None


def mask_png(mode: str) -> bytes:
    """A square of 4 pixels in the middle of 16 × 12."""
    mask, file = Picture.new(mode, (16, 12)), io.BytesIO()
    mask.paste(200 if mode == "L" else (200, 40, 40), (6, 4, 10, 8))
    mask.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_mask_in_the_storage_is_picked_by_its_pixels_too(
    app: Flask, image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person, mode: str
) -> None:
    viewer.client.get(f"/images/{image.id}")
    path = upload(app, pipeline, analysis, "segmentation", mask_png(mode))
    said = {"annotation_type": "segmentation", "data": {"format": "png"}, "storage_path": path}
    (mask,) = store(pipeline, analysis, [said])
    address = f"/images/{image.id}/pick?box=0,0,64,48&scale=20"
    answer = viewer.client.get(f"{address}&x=32&y=24", headers=HTMX)
    assert picked(answer) == mask
    assert 'd="M24 16' in answer.text, "four times as large as its picture"
    assert picked(viewer.client.get(f"{address}&x=10&y=24", headers=HTMX)) is None


def test_a_mask_that_was_not_uploaded_has_no_pixels(
    image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    viewer.client.get(f"/images/{image.id}")
    path = pipeline.post(f"/api/analyses/{analysis.id}/artifacts/presign", {"artifact_type": "segmentation"})
    said = {
        "annotation_type": "segmentation",
        "data": {"format": "png"},
        "storage_path": path.json["storage_path"],
    }
    (mask,) = store(pipeline, analysis, [said])
    address = f"/images/{image.id}/pick?box=0,0,64,48&scale=20"
    assert picked(viewer.client.get(f"{address}&x=32&y=24", headers=HTMX)) is None
    answer = viewer.client.get(f"{address}&pick={mask}", headers=HTMX)
    assert picked(answer) == mask and 'd="M0 0h64v48h-64z"' in answer.text


def test_a_tile_shows_the_outlines_that_pass_the_filter(
    analysis: Analysis, ids: list[str], viewer: Person, stranger: Person, pipeline: Pipeline
) -> None:
    tile = f"/analyses/{analysis.id}/tiles/0/0/0.png"
    assert stranger.client.get(tile).status_code == 403
    answer = viewer.client.get(tile)
    seen = np.asarray(Picture.open(io.BytesIO(answer.data)).convert("RGBA"))
    assert seen.shape == (48, 64, 4)
    assert seen[2, 20, 3] and seen[4, 6, 3] and not seen[20, 20, 3]
    filtered = viewer.client.get(f"{tile}?off=bus")
    seen = np.asarray(Picture.open(io.BytesIO(filtered.data)).convert("RGBA"))
    assert seen[2, 20, 3] and not seen[4, 6, 3]
    assert filtered.headers["ETag"] != answer.headers["ETag"]
    assert viewer.client.get(tile, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    for nowhere in ("0/9/0", "0/0/7", "40/0/0", "-30/0/0"):
        assert viewer.client.get(f"/analyses/{analysis.id}/tiles/{nowhere}.png").status_code == 404, nowhere
    assert viewer.client.get(f"/analyses/{analysis.id}/tiles/-1/0/0.png").status_code == 200


def test_of_very_many_pictures_fifty_are_drawn_and_the_rest_is_told(
    app: Flask, image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    path = upload(app, pipeline, analysis, content=gradient(16, 12))
    said = {"annotation_type": "heatmap", "data": {"width": 16, "height": 12}, "storage_path": path}
    store(pipeline, analysis, [said] * 53)
    viewer.client.get(f"/images/{image.id}")
    text = viewer.client.get(f"/images/{image.id}/overlay", headers=HTMX).text
    assert text.count('class="bitmap heatmap"') == 50
    assert "53 received 50 drawn 0 hidden 3 beyond the first 50 pictures" in words(text)


def test_it_is_told_where_shapes_are_drawn_as_their_bounds(
    world: World, project: Project, pipeline: Pipeline, viewer: Person
) -> None:
    image = world.image(project, "crowd.png", picture(600, 400))
    analysis = crowd(world, image, 20_001, status="processing")
    viewer.client.get(f"/images/{image.id}")
    overlay = f"/images/{image.id}/overlay"
    said = "shapes as their bounds at this zoom"
    assert said not in viewer.client.get(overlay, headers=HTMX).text, "boxes are their bounds"
    triangle = {"annotation_type": "polygon", "data": {"points": [[10, 10], [30, 10], [30, 30]]}}
    store(pipeline, analysis, [triangle])
    assert said in words(viewer.client.get(overlay, headers=HTMX).text)
    near = viewer.client.get(f"{overlay}?box=0,0,60,40&scale=10", headers=HTMX).text
    assert 'class="shape"' in near and said not in near


def test_names_are_only_text_wherever_they_are_told(
    image: Image, analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    names = [text[:200] for text in STRINGS if "<" in text and text.strip() == text][:30]
    (first, *_) = store(
        pipeline, analysis, [box(client_id=f"n{i}", class_name=name) for i, name in enumerate(names)]
    )
    viewer.client.get(f"/images/{image.id}")
    for address in ("overlay?table=1&q=%3C", f"pick?pick={first}", "overlay?only=%3Cscript%3E&table=1"):
        text = viewer.client.get(f"/images/{image.id}/{address}", headers=HTMX).text
        assert "<script" not in text and "<img" not in text
