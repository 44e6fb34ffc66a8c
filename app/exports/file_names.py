"""Names of files inside a zip: they go where they say on every system, and each is there once."""

import re
from hashlib import blake2b
from unicodedata import normalize

from app.exports.many import Entry

LONGEST = 180  # bytes of a name before what is added to it; file systems take 255
RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|\Z)", re.IGNORECASE)
REFUSED = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff/\\:*?"<>|]')


def safe(name: str, otherwise: str) -> str:
    """One part of a path. What no file system takes is a dash; `otherwise` is for names of which nothing is left."""
    name = REFUSED.sub("-", normalize("NFC", name)).encode()[:LONGEST].decode("utf-8", "ignore")
    name = name.strip(". ")
    return f"_{name}" if RESERVED.match(name) else name or otherwise


def stem(filename: str) -> str:
    """The name without its last ending, as label files are called."""
    before, dot, _ = filename.rpartition(".")
    return safe(before if dot else filename, "image")


class Names:
    """Gives each file a name that no other has, nor one that differs in upper and lower case only.

    Holds a number for each name that it gave.
    """

    def __init__(self) -> None:
        self.taken: set[int] = set()

    def unique(self, folder: str, name: str, ending: str, mark: str) -> str:
        """`folder/name.ending`; where that is taken, the mark of whose it is stands behind the name."""
        tries = [name, f"{name}-{mark}"]
        for number in range(2, 1_000_000):
            for one in tries:
                path = f"{folder}/{one}{ending}"
                key = _key(path)
                if key not in self.taken:
                    self.taken.add(key)
                    return path
            tries = [f"{name}-{mark}-{number}"]
        raise ValueError(f"there is no name left for {name}")


def _key(path: str) -> int:
    """Equal for names that some file system takes for the same."""
    folded = normalize("NFC", path.casefold()).encode()
    return int.from_bytes(blake2b(folded, digest_size=8).digest())


class Folders:
    """A folder for each model and version: `leaf-net-1.0.0`."""

    def __init__(self) -> None:
        self.names = Names()
        self.known: dict[tuple[str, str], str] = {}

    def of(self, entry: Entry) -> str:
        pair = entry.about["model_name"], entry.about["model_version"]
        if pair not in self.known:
            name = safe("-".join(pair), "model")
            self.known[pair] = self.names.unique("", name, "", "other").lstrip("/")
        return self.known[pair]
