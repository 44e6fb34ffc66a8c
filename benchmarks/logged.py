"""How long the server itself says that it took: the line of its log for each request."""

import time
from pathlib import Path

import orjson

from benchmarks.wire import Wrong

REQUESTS = "app.requests"  # whose lines these are
PATIENCE_SECONDS = 5.0
PAUSE_SECONDS = 0.0005


class Log:
    """The log of a server whose only client asks for one thing after the other, from where it ends now."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._file.seek(0, 2)
        self._begun = b""

    def took(self) -> float:
        """Milliseconds from when the application got the next request until its answer was sent, and what follows
        that was done. The line comes just after. Raises Wrong when there is none."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            self._begun += self._file.readline()
            if not self._begun.endswith(b"\n"):
                time.sleep(PAUSE_SECONDS)
                continue
            line, self._begun = orjson.loads(self._begun), b""
            if line["logger"] == REQUESTS:
                return float(line["duration_ms"])
        raise Wrong("the server has written no line for a request")

    def close(self) -> None:
        self._file.close()
