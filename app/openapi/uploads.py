"""The PUT of an artifact's bytes, in the document: an operation without a path, as its address comes in an answer."""

from collections.abc import Collection

from app import errors
from app.openapi import problems
from app.openapi.schemas import Json

# of local disk; an object store has refusals of its own
RAISED: set[problems.Kind] = {
    errors.MalformedRequest,
    errors.Forbidden,
    errors.PayloadTooLarge,
    errors.StorageUnavailable,
    errors.InternalError,
}
SAYS = """\
The address is the permission: no key and no signature. A wrong type or an address that has expired is 403, another size
or hash than was announced 400, too many bytes 413. The last PUT before the end of the analysis wins."""
LINKS: Json = {
    "upload": {
        "operationRef": "#/components/pathItems/upload_url/put",
        "description": "To the whole of `upload_url`, with exactly the `headers` of this answer.",
    }
}


def path_items(types: Collection[str], *, local: bool) -> Json:
    """`components.pathItems`, by the field that has the address; `local`: this server stores the bytes itself."""
    etag = {"ETag": {"$ref": "#/components/headers/ETag"}}
    refused = {"default": {"description": "As the object store refuses: not in the shape of this API."}}
    operation = {
        "operationId": "put_artifact",
        "tags": ["Artifacts"],
        "summary": "Puts the bytes of an artifact at the address that presigning gave.",
        "description": SAYS,
        "x-who": "Whoever has the address.",
        "security": [],
        "parameters": [],
        "requestBody": {"required": True, "content": {kind: {} for kind in types}},
        "responses": {"200": {"description": "Stored.", "headers": etag}}
        | (problems.answers(RAISED) if local else refused),
    }
    return {"upload_url": {"put": operation}}
