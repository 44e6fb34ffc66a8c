"""The signed API that pipelines write through."""

from flask import Blueprint

from app import guards

pipeline = Blueprint("pipeline", __name__, url_prefix="/api")
pipeline.before_request(guards.pipeline_caller)

from app.pipeline import analyses, annotations, artifacts  # noqa: E402

__all__ = ["analyses", "annotations", "artifacts", "pipeline"]
