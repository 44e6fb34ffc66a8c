"""Addresses that only take forms, and the one above all: opened by a reload or by Enter, they lead to a page."""

from uuid import UUID

from flask import Response, url_for

from app import access
from app.admin import admin
from app.admin.webhooks import webhooks_feature
from app.guards import ml_feature, principal
from app.responses import see_other


@admin.get("/")
def show_admin() -> Response:
    return see_other(url_for("admin.list_users"))


@admin.get("/users/new")
def return_to_users() -> Response:
    return see_other(url_for("admin.list_users"))


@admin.get("/projects/new")
def return_to_projects() -> Response:
    return see_other(url_for("admin.list_projects"))


@admin.get("/exports/download")
@admin.get("/exports/new")
@admin.get("/exports/<uuid:export_id>/cancel")
@admin.get("/exports/<uuid:export_id>/delete")
@ml_feature
def return_to_exports(export_id: UUID | None = None) -> Response:
    return see_other(url_for("admin.show_exports"))


@admin.get("/webhooks/enable")
@admin.get("/webhooks/<uuid:delivery_id>/redeliver")
@ml_feature
@webhooks_feature
def return_to_webhooks(delivery_id: UUID | None = None) -> Response:
    return see_other(url_for("admin.list_webhooks"))


@admin.get("/users/<uuid:user_id>/role")
@admin.get("/users/<uuid:user_id>/state")
@admin.get("/users/<uuid:user_id>/password")
@admin.get("/users/<uuid:user_id>/sign-out")
@admin.get("/users/<uuid:user_id>/let-in")
def return_to_user(user_id: UUID) -> Response:
    return see_other(url_for("admin.show_user", user_id=access.user_for(principal(), user_id).id))


@admin.get("/users/<uuid:user_id>/keys/<key_id>/revoke")
def return_to_keys(user_id: UUID, key_id: str) -> Response:
    key = access.user_key_for(principal(), user_id, key_id)
    return see_other(url_for("admin.show_user", user_id=key.user_id))


@admin.get("/pipeline-keys/new")
@ml_feature
def return_to_pipeline_keys() -> Response:
    return see_other(url_for("admin.list_pipeline_keys"))


@admin.get("/pipeline-keys/<key_id>/rotate")
@admin.get("/pipeline-keys/<key_id>/revoke")
@ml_feature
def return_to_pipeline_key(key_id: str) -> Response:
    key = access.pipeline_key_for(principal(), key_id)
    return see_other(url_for("admin.show_pipeline_key", key_id=key.id))
