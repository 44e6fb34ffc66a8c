"""The OpenAPI document of the JSON API."""

from flask import Response, current_app, request

from app.api import api
from app.guards import open_to_anyone
from app.openapi import Answer, document, nothing, operation


@api.get("/openapi.json")
@operation(
    "Document",
    {
        200: Answer(types=("application/json",), says="The document.", headers=("ETag",)),
        304: nothing("It is the one that `If-None-Match` named."),
    },
)
@open_to_anyone
def show_document() -> Response:
    """This document: OpenAPI 3.1."""
    made = document(current_app)
    response = Response(made.body, content_type="application/json")
    response.headers["Cache-Control"] = "no-cache"
    response.set_etag(made.etag)
    return response.make_conditional(request)  # type: ignore[return-value]
