"""Annotations that are gone while an analysis is exported: no file ends as if it were whole."""

import itertools
import json
from datetime import UTC, datetime

import pytest
from flask import Flask

from app import exports
from app.bundles import contents
from app.errors import Deleted
from app.exports import FORMATS, PAGE, Progress, Selection
from app.exports.many import entries
from app.extensions import db
from app.models import Analysis, Annotation, Image, Project
from tests.factories import World
from tests.support.crowds import crowd

NUMBER = 2 * PAGE + 5


def delete_from(analysis: Analysis, position: int) -> None:
    gone = db.delete(Annotation).where(Annotation.analysis_id == analysis.id)
    db.session.execute(gone.where(Annotation.position >= position))
    db.session.commit()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("alone", [True, False])
def test_what_is_gone_under_a_slow_reader_breaks_it_off(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    world: World,
    project: Project,
    image: Image,
    form: str,
    alone: bool,
) -> None:
    monkeypatch.setattr(exports, "WAIT", 0.0)
    analysis = crowd(world, image, NUMBER)
    files = app.extensions["storage"]
    with app.app_context():
        if alone:
            found = exports.of_analysis(db.session.get_one(Analysis, analysis.id), form, files)
        else:
            selection = Selection(project_id=project.id)
            found = exports.of_selection(selection, "P", form, files, datetime.now(UTC))
        begun = b"".join(itertools.islice(found.chunks, 2))
        delete_from(analysis, PAGE + 500)
        with pytest.raises(Deleted):
            for piece in found.chunks:
                begun += piece
    assert begun and b'"end"' not in begun and b"PK\x05\x06" not in begun
    if FORMATS[form].content_type == "application/json":
        with pytest.raises(json.JSONDecodeError):
            json.loads(begun)


def test_a_small_one_among_others_and_in_a_bundle(
    app: Flask, world: World, project: Project, image: Image
) -> None:
    crowd(world, image, 3)
    short = crowd(world, image, 5)
    selection = Selection(project_id=project.id)
    with app.app_context():
        delete_from(short, 4)
        first, second = entries(selection, datetime.now(UTC), None)
        assert first.pages is not None and second.pages is not None
        assert sum(map(len, first.pages)) == 3
        with pytest.raises(Deleted):
            list(second.pages)
        with pytest.raises(Deleted):
            for _ in contents.of_selection(selection, contents.making(False), Progress()):
                pass
        only = entries(Selection(project_id=project.id, annotations=False), datetime.now(UTC), None)
        assert [entry.pages for entry in only] == [None, None], "nothing is read of these"


def test_one_that_runs_is_as_it_was_set_aside(
    app: Flask, world: World, project: Project, image: Image
) -> None:
    world.analysis(image, "processing", annotation_count=2)
    with app.app_context():
        [entry] = entries(Selection(project_id=project.id), datetime.now(UTC), None)
        assert entry.pages is not None and list(entry.pages) == []
