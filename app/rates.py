"""How often the signed API may be asked: moving windows for each address and for each key.

An address is counted before anything else is looked at, so that a flood of wrong signatures is slowed down as well; a
key only when it is proven, or anybody could use up the share of another. Over either is 429, and such a request does
not count itself.
"""

import functools
import math
import time

import click
import limits
from flask import Flask, current_app, g, request

from app import windows
from app.errors import RateLimited
from app.extensions import limiter
from app.models import Principal
from app.services import sign_ins

PER_ADDRESS, PER_KEY = "RATE_LIMIT_PIPELINE_PER_IP", "RATE_LIMIT_PIPELINE_PER_KEY"
OFF = "off"


def register(app: Flask) -> None:
    """Says where requests are counted when it is not obvious; to a command of `flask` it does not matter."""
    app.extensions["limiter"] = {limiter}  # so that it does not look at every request by itself
    limiter.init_app(app)
    counts = {app.config[PER_ADDRESS], app.config[PER_KEY]} != {OFF}
    if (
        counts
        and isinstance(limiter.storage, windows.OwnWindows)
        and not click.get_current_context(silent=True)
    ):
        app.logger.info("REDIS_URL is not set: rate limits are counted in each process by itself")


def count_address() -> None:
    """Counts this request for where it comes from, IPv6 by its network. Raises RateLimited."""
    _count(PER_ADDRESS, sign_ins.subject_of_address(request.remote_addr or ""))


def count_key(principal: Principal) -> None:
    """Counts this request for the key that was sent; without one, for the secret that signed or the person whom a
    reverse proxy signed in. Raises RateLimited."""
    if key_id := principal.key.id if principal.key else g.get("key_id"):
        _count(PER_KEY, f"key:{key_id}")
    else:
        _count(PER_KEY, "default" if principal.kind == "pipeline" else principal.actor)


def _count(setting: str, who: str) -> None:
    if current_app.config[setting] == OFF:
        return
    limit = _limit(current_app.config[setting])
    if limiter.limiter.hit(limit, setting, who):
        return
    reset_at = limiter.limiter.get_window_stats(limit, setting, who).reset_time
    seconds = max(1, math.ceil(reset_at - time.time()))
    raise RateLimited(
        f"At most {limit.amount} requests in {limit.get_expiry()} s. Try again in {seconds} s.",
        headers={
            "Retry-After": str(seconds),
            "X-RateLimit-Limit": str(limit.amount),
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(math.ceil(reset_at)),
        },
    )


_limit = functools.cache(limits.parse)
