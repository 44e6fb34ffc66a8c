"""The OpenAPI 3.1 document of the JSON API, made from what the code says already.

`operation` marks a route with what its code does not tell; `document` puts the whole together, once for each app.
"""

from app.openapi.document import Document, document
from app.openapi.marks import Answer, Operation, binary, nothing, operation

__all__ = ["Answer", "Document", "Operation", "binary", "document", "nothing", "operation"]
