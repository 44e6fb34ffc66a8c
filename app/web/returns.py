"""Addresses that only take forms: opened by a reload or by Enter, they lead to the page that holds the form.

A form that is refused is answered in place, so its address is what the browser shows then.
"""

from uuid import UUID

from flask import Response, url_for

from app import access
from app.guards import ml_feature, principal
from app.responses import see_other
from app.web import web


@web.get("/projects")
def return_to_projects() -> Response:
    return see_other(url_for("web.list_projects"))


@web.get("/account/keys")
@web.get("/account/password")
@web.get("/account/sign-out-everywhere")
def return_to_account() -> Response:
    return see_other(url_for("web.show_account"))


@web.get("/account/keys/<key_id>/revoke")
def return_to_keys(key_id: str) -> Response:
    return see_other(url_for("web.show_account", _anchor="keys"))


@web.get("/projects/<uuid:project_id>/images")
def return_to_project(project_id: UUID) -> Response:
    project = access.project_for(principal(), project_id)
    return see_other(url_for("web.show_project", project_id=project.id))


@web.get("/images/<uuid:image_id>/delete")
@web.get("/images/<uuid:image_id>/restore")
def return_to_image(image_id: UUID) -> Response:
    image = access.image_for(principal(), image_id)
    return see_other(url_for("web.show_image", image_id=image.id))


@web.get("/projects/<uuid:project_id>/members/<uuid:user_id>")
@web.get("/projects/<uuid:project_id>/members/<uuid:user_id>/remove")
def return_to_members(project_id: UUID, user_id: UUID) -> Response:
    project = access.project_for(principal(), project_id)
    return see_other(url_for("web.list_members", project_id=project.id))


@web.get("/analyses/<uuid:analysis_id>/cancel")
@web.get("/analyses/<uuid:analysis_id>/delete")
@web.get("/analyses/<uuid:analysis_id>/restore")
@ml_feature
def return_to_analysis(analysis_id: UUID) -> Response:
    analysis = access.analysis_for(principal(), analysis_id)
    return see_other(url_for("web.show_image", image_id=analysis.image_id, analysis=analysis.id))
