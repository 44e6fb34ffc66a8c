"""GET /api/projects/{id}/bundle: all analyses of a group, and those too many. Who may is asked with an analysis's."""

import io
import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import update

from app.bundles import writing
from app.bundles.verifying import verify
from app.bundles.writing import least_manifest
from app.extensions import db
from app.models import Analysis, Artifact, Image, Project
from tests.cast import Person
from tests.factories import World
from tests.steps import check_problem
from tests.support.bundles import GROUP, of_group


def test_a_group(full: Analysis, world: World, image: Image, project: Project, viewer: Person) -> None:
    more = [world.analysis(image, "failed", group_id=GROUP, error_message="no memory") for _ in range(2)]
    world.analysis(image, "completed", group_id="another")
    elsewhere = world.image(world.project("Elsewhere", owner=viewer))
    world.analysis(elsewhere, "completed", group_id=GROUP)
    deleted = world.analysis(image, "completed", group_id=GROUP)
    with world.app.app_context():
        db.session.get_one(Analysis, deleted.id).deleted_at = deleted.created_at
        db.session.commit()
    made = of_group(viewer, project, images="1")
    told = [name for name in made.zip.namelist() if name.endswith("analysis.json")]
    assert told == [f"analyses/{analysis.id}/analysis.json" for analysis in (full, *more)]
    assert made.manifest["counts"] == {"analyses": 3, "annotations": 3}
    assert made.manifest["scope"] == {"project_id": str(project.id), "group_id": GROUP}
    assert [name for name in made.zip.namelist() if name.startswith("images/")] == [f"images/{image.id}.png"]
    assert "filename*=UTF-8''group_night%20run%20_%20%E8%91%89_" in made.answer.headers["Content-Disposition"]


def test_a_group_of_many(world: World, image: Image, project: Project, viewer: Person) -> None:
    """More than are read at a time, some born in the same moment."""
    moment = world.analysis(image).created_at
    ids = [world.analysis(image, group_id="g", created_at=moment).id for _ in range(55)]
    names = of_group(viewer, project, "g").zip.namelist()
    assert {name.split("/")[1] for name in names if name.startswith("analyses/")} == {str(i) for i in ids}
    assert len(names) == 3 * 55 + 3


def test_a_group_too_large_for_a_bundle_is_refused_before_the_first_byte(
    app: Flask,
    full: Analysis,
    image: Image,
    project: Project,
    viewer: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the number of its analyses, and by what is recorded of its files, of images only where they come along."""

    def asked(images: str = "0") -> Any:
        query = {"group_id": GROUP, "images": images}
        return viewer.api("GET", f"/api/projects/{project.id}/bundle", query_string=query)

    assert asked().status_code == 200
    with monkeypatch.context() as patched:
        patched.setattr(writing, "MOST_MANIFEST", least_manifest(5, 0) - 1)
        assert check_problem(asked(), 400, "limit-reached")["limit"] == least_manifest(5, 0) - 1
    for table, images in ((Image, "1"), (Artifact, "0")):
        with app.app_context():
            db.session.execute(update(table).values(size_bytes=2**40))
            db.session.commit()
        check_problem(asked(images), 400, "limit-reached")
        assert asked().status_code == (200 if images == "1" else 400)


def test_the_page_of_a_group_offers_it(full: Analysis, project: Project, viewer: Person) -> None:
    query = urlencode({"group_id": GROUP})
    page = viewer.client.get(f"/projects/{project.id}/group/export?{query}")
    [address] = re.findall(r'id="take-bundle" href="([^"]+)"', page.text)
    assert (
        verify(io.BytesIO(viewer.client.get(unescape(address)).data)).manifest["scope"]["group_id"] == GROUP
    )
