"""The API as a page: the OpenAPI document, for people."""

from flask import Response, current_app, render_template

from app.guards import open_to_anyone
from app.openapi import document
from app.openapi.reading import Reader
from app.web import web


@web.get("/reference")
@open_to_anyone
def show_reference() -> Response:
    content = document(current_app).content
    reader = Reader(content)
    with_analyses = current_app.config["ML_ANALYSIS_ENABLED"]
    page = render_template(
        "reference/show.html",
        version=content["info"]["version"],
        about=content["info"]["description"],
        groups=reader.groups(),
        shapes=reader.shapes(),
        errors=reader.errors(),
        proofs=reader.proofs(),
        answer_headers=reader.headers(),
        types=reader.types() if with_analyses else [],
        item=reader.item() if with_analyses else [],
        headers=reader.signing(),
    )
    return Response(page)
