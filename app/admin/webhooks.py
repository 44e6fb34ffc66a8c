"""Webhooks out: the log of what was told to whom, and what an admin does when it did not arrive."""

from functools import partial
from uuid import UUID

from flask import Response, current_app, flash, render_template, request, url_for

from app import access
from app.admin import admin
from app.extensions import db
from app.guards import ml_feature, principal, switched_on_by
from app.outgoing import without_secrets
from app.responses import see_other
from app.services import webhooks
from app.stretches import stretch

webhooks_feature = switched_on_by("ML_PIPELINE_PUSH_WEBHOOKS_ENABLED")


@admin.get("/webhooks")
@ml_feature
@webhooks_feature
def list_webhooks() -> Response:
    state, url = request.args.get("state", ""), current_app.config["ML_WEBHOOK_URL"]
    state = state if state in webhooks.STATES else ""
    address = partial(url_for, "admin.list_webhooks", state=state or None)
    text = render_template(
        "admin/webhooks/list.html",
        log=stretch(request.args, address, partial(webhooks.page, state)),
        state=state,
        states=webhooks.STATES,
        address=without_secrets(url),
        disabled_at=webhooks.disabled_at(url),
        waiting=webhooks.count_waiting(),
        kept=webhooks.KEPT,
    )
    return Response(text)


@admin.post("/webhooks/<uuid:delivery_id>/redeliver")
@ml_feature
@webhooks_feature
def redeliver_webhook(delivery_id: UUID) -> Response:
    delivery = access.delivery_for(principal(), delivery_id)
    webhooks.redeliver(delivery, current_app.extensions["clock"](), by=principal())
    db.session.commit()
    flash("The webhook is sent again within seconds.")
    return see_other(url_for("admin.list_webhooks"))


@admin.post("/webhooks/enable")
@ml_feature
@webhooks_feature
def enable_webhooks() -> Response:
    webhooks.enable(current_app.config["ML_WEBHOOK_URL"], by=principal())
    db.session.commit()
    flash("The address is asked again; what has waited is sent within seconds.")
    return see_other(url_for("admin.list_webhooks"))
