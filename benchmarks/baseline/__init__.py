"""The bare baseline: what the same work costs in Flask, gunicorn and SQL with nothing else around it.

It stands on Loupe's own tables, with their indexes, under Loupe's own gunicorn settings, and does the least that can
be called the same: it checks the signature, parses, inserts, reads, dumps. It validates nothing, knows no access, no
states, no locks, no audit, no duplicates. Never serve it. Figures are given beside its own, so that those of another
machine can be compared. To add a route: in the module of its subject, or a new one, named in SUBJECTS.
"""

from flask import Flask

from benchmarks.baseline import annotations, changes, views
from benchmarks.baseline.bare import Bare

SUBJECTS = (annotations, changes, views)


def make_app() -> Flask:
    """Settings: DATABASE_URL and ML_CALLBACK_HMAC_SECRET, as Loupe's."""
    app = Flask("baseline")
    app.config["BACKGROUND_LOOP"] = False  # deploy/gunicorn.conf.py asks for it
    bare = Bare.from_environ()

    @app.get("/healthz")
    def healthz() -> str:
        return "ok"

    for subject in SUBJECTS:
        subject.register(app, bare)
    return app
