"""The cookie of a session: its value stays for a day, and it is never sent with what a browser keeps.

Flask would write it anew into every answer. Answers say `Vary: Cookie`, since who is signed in decides what they are:
with another cookie at each request a browser would find nothing again of all that it keeps.
"""

from flask import Flask, Response
from flask.sessions import SecureCookieSessionInterface, SessionMixin

DAY = 24 * 3600  # seconds


class Sessions(SecureCookieSessionInterface):
    """As Flask has them with SESSION_REFRESH_EACH_REQUEST off, which writes the cookie when the session changed."""

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if session.accessed and session.permanent and not response.cache_control.max_age:
            _renew(session, int(app.extensions["clock"]().timestamp()) // DAY)
        super().save_session(app, session, response)


def _renew(session: SessionMixin, day: int) -> None:
    """Changes the session with the first answer of a day."""
    if session.get("day") != day:
        session["day"] = day
