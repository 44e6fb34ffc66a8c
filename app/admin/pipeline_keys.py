"""The keys of pipelines: made, narrowed to projects, rotated, revoked. A key and its signing secret are shown once."""

from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from flask import Response, current_app, flash, render_template, request, url_for

from app import access, signing
from app.admin import admin
from app.admin.paging import listing, read_page
from app.errors import Conflict, InvalidPayload, NotFound
from app.extensions import db
from app.guards import ml_feature, principal
from app.models import PipelineKey, Project
from app.responses import see_other
from app.schemas.admin import OVERLAPS, NewPipelineKeyForm, PipelineKeyForm, RotationForm
from app.schemas.base import load
from app.schemas.forms import as_sent
from app.services import pipeline_keys, projects

OFFERED = 200  # projects in a form; others are named by their ids


@admin.get("/pipeline-keys")
@ml_feature
def list_pipeline_keys() -> Response:
    return keys_page()


def keys_page(status: int = 200, **form: Any) -> Response:
    """`errors` and `sent` are those of the form for a new key."""
    state = request.args.get("state", "")
    state = state if state == "all" else ""
    load_page = partial(pipeline_keys.page, live_only=state != "all")
    text = render_template(
        "admin/pipeline_keys/list.html",
        listing=listing("admin.list_pipeline_keys", {"state": state}, read_page(request.args), load_page),
        **choices(form.get("sent", {}).get("projects", "")),
        **form,
    )
    return Response(text, status)


@admin.post("/pipeline-keys/new")
@ml_feature
def create_pipeline_key() -> Response:
    """The page of the new key, which shows it this once."""
    try:
        form, _ = load(NewPipelineKeyForm, sent_fields())
        made = pipeline_keys.create(
            form["name"],
            chosen(form["projects"]),
            encryption_keys=encryption_keys(),
            by=principal(),
            min_scheme=form["min_scheme"],
            expires_at=form["expires_at"],
            key_id=form["key_id"],
        )
    except (InvalidPayload, Conflict) as error:
        db.session.rollback()
        return keys_page(error.status, errors=at_fields(error, "name"), sent=as_sent(sent_fields()))
    return shown_once(made)


def shown_once(made: pipeline_keys.MadeKey) -> Response:
    """Made before the commit: after it nothing may go wrong any more, for nobody can see the key again."""
    page = key_page(made.key, 201, made=made)
    db.session.commit()
    return page


@admin.get("/pipeline-keys/<key_id>")
@ml_feature
def show_pipeline_key(key_id: str) -> Response:
    return key_page(access.pipeline_key_for(principal(), key_id))


def key_page(key: PipelineKey, status: int = 200, **more: Any) -> Response:
    """`made` is the key that was made just now, `errors` and `sent` are those of the forms on the page."""
    ids = " ".join(str(project.id) for project in key.projects)
    text = render_template(
        "admin/pipeline_keys/show.html",
        key=key,
        successors=pipeline_keys.successors(key),
        **choices(more.get("sent", {}).get("projects", ids)),
        **more,
    )
    return Response(text, status)


@admin.post("/pipeline-keys/<key_id>")
@ml_feature
def change_pipeline_key(key_id: str) -> Response:
    key = access.pipeline_key_for(principal(), key_id)
    try:
        form, _ = load(PipelineKeyForm, sent_fields())
        chosen_projects = chosen(form["projects"])
        pipeline_keys.change(key, form["name"], chosen_projects, form["min_scheme"], by=principal())
    except (InvalidPayload, Conflict) as error:
        return refused(key, error, "name", sent=as_sent(sent_fields()))
    db.session.commit()
    flash("The key has been changed.")
    return see_other(url_for("admin.show_pipeline_key", key_id=key.id))


@admin.post("/pipeline-keys/<key_id>/rotate")
@ml_feature
def rotate_pipeline_key(key_id: str) -> Response:
    """The page of the key that takes the place of this one, which shows it this once."""
    key = access.pipeline_key_for(principal(), key_id)
    try:
        form, _ = load(RotationForm, request.form)
        made = pipeline_keys.rotate(
            key,
            OVERLAPS[form["overlap"]],
            encryption_keys=encryption_keys(),
            by=principal(),
            key_id=form["key_id"],
        )
    except (InvalidPayload, Conflict) as error:
        return refused(key, error, "overlap")
    return shown_once(made)


@admin.post("/pipeline-keys/<key_id>/revoke")
@ml_feature
def revoke_pipeline_key(key_id: str) -> Response:
    key = access.pipeline_key_for(principal(), key_id)
    pipeline_keys.revoke(key, by=principal())
    db.session.commit()
    flash(f"The key “{key.name}” has been revoked.")
    return see_other(url_for("admin.show_pipeline_key", key_id=key.id))


# --- what the forms say ------------------------------------------------------------------------------------------


def encryption_keys() -> tuple[str, ...]:
    """What signing secrets are encrypted under; without one no key can be made."""
    keys: tuple[str, ...] = current_app.config["ML_KEY_ENCRYPTION_KEYS"]
    return keys


def sent_fields() -> dict[str, str]:
    """The form, with everything that was sent as a project in one text."""
    return {**request.form.to_dict(), "projects": " ".join(request.form.getlist("projects"))}


def chosen(ids: list[UUID]) -> list[Project]:
    """Raises InvalidPayload when one is not there."""
    try:
        return access.projects_for(principal(), ids)
    except NotFound as error:
        raise InvalidPayload(errors=[{"field": "projects", "reason": error.detail}]) from None


def choices(ticked: str) -> dict[str, Any]:
    """What the form of a key is drawn with; `ticked` is what was sent as projects: those that are there come first."""
    ids = set()
    for text in ticked.replace(",", " ").split():
        with suppress(ValueError):
            ids.add(UUID(text))
    found = projects.names(ids) if ids else {}
    return {
        "offered": found | projects.names(limit=OFFERED),
        "ticked": found.keys(),
        "unknown": " ".join(text for text in ticked.split() if text not in map(str, found)),
        "most_offered": OFFERED,
        "next_key_id": signing.mint_key_id(),
        "can_make": bool(encryption_keys()),
    }


def refused(key: PipelineKey, error: InvalidPayload | Conflict, field: str, **form: Any) -> Response:
    db.session.rollback()
    return key_page(key, error.status, errors=at_fields(error, field), **form)


def at_fields(error: InvalidPayload | Conflict, field: str) -> dict[str, str]:
    """The reasons by field; those of fields that nobody sees stand at `field`."""
    if error.errors is None:
        return {field: error.detail}
    seen = ("name", "projects", "min_scheme", "expires_at", "overlap")
    return {(entry["field"] if entry["field"] in seen else field): entry["reason"] for entry in error.errors}
