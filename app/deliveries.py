"""Sends the webhooks that are due: claimed, sent, written down. Nothing is held in the database while one is sent."""

import time

from flask import current_app

from app.config import VERSION
from app.extensions import db
from app.outgoing import NotSent, Sender
from app.services import webhooks
from app.services.webhooks import Due, Outcome
from app.signing import sign_webhook


def deliver_due(limit: int) -> int:
    """Makes at most `limit` attempts at what is due now, one after the other; how many it made.

    An attempt without an answer ends the round, because the others would most likely take as long.
    """
    for made in range(limit):
        outcome = deliver_next()
        if outcome is None or outcome.status is None:
            return made + (outcome is not None)
    return limit


def deliver_next() -> Outcome | None:
    """One attempt at what has been due for the longest, and what came of it; None when nothing is due.

    Any number of processes may do this at once. No transaction may be open, and none is afterwards.
    """
    settings, clock = current_app.config, current_app.extensions["clock"]
    if not (settings["ML_ANALYSIS_ENABLED"] and settings["ML_PIPELINE_PUSH_WEBHOOKS_ENABLED"]):
        return None
    url: str = settings["ML_WEBHOOK_URL"]
    due = webhooks.claim(url, clock())
    db.session.commit()
    if due is None:
        return None
    outcome = attempt(due, url)
    state = webhooks.settle(due, outcome, url, clock())
    db.session.commit()
    if state == "given-up":
        current_app.logger.warning("the webhook %s was given up; an admin can send it again", due.id)
    return outcome


def attempt(due: Due, url: str) -> Outcome:
    """One request, with the headers of Standard Webhooks; the body is what was stored, byte for byte."""
    sender: Sender = current_app.extensions["sender"]
    body, timestamp = due.body.encode(), int(current_app.extensions["clock"]().timestamp())
    secrets = current_app.config["ML_CALLBACK_HMAC_SECRET"]
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"Loupe/{VERSION}",
        "webhook-id": str(due.id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign_webhook(secrets, str(due.id), timestamp, body),
    }
    started = time.monotonic()
    try:
        answer = sender.post(url, body, headers)
    except NotSent as error:
        return Outcome(time.monotonic() - started, error=str(error))
    return Outcome(time.monotonic() - started, answer.status, answer.text, answer.retry_after)
