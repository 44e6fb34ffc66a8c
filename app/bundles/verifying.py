"""Whether a bundle is whole, and which byte is the first that lies.

Needs the standard library only, but for the signature: that takes `cryptography`, and where it is missing, everything
else is checked and the answer says so. `scripts/verify_bundle.py` runs it without Loupe.
"""

import argparse
import hashlib
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import IO, Any

from app.bundles.faults import changed_run
from app.bundles.layout import (
    BLOCK,
    FULL,
    MANIFEST,
    MOST_MANIFEST,
    SIGNATURE,
    SIGNATURE_SIZE,
    descriptor,
    directory_entry,
    ending,
    is_public_key,
    local_header,
    plain,
    read_manifest,
    read_signature,
    statement,
)

CHANGED = "this byte was changed"
SEARCHED = 1024 * 1024  # at a time
BEGINNING = local_header("")[:26]  # of every bundle, up to the length of the first name
DESCRIPTOR, ENDING = len(descriptor(0, 0)), len(ending(0, 0, 0))
SIGNATURE_ENTRY = len(local_header(SIGNATURE)) + SIGNATURE_SIZE + DESCRIPTOR


class Lie(Exception):
    """The first byte that is not what it should be is among the `length` from `offset` of the file on.

    `part` is what stands there, and `within` how far into that part it is.
    """

    def __init__(self, offset: int, part: str, within: int, says: str, length: int = 1) -> None:
        self.offset, self.part, self.within, self.length = offset, part, within, length
        where, inside = (
            f"{first} to {first + length - 1}" if length > 1 else str(first) for first in (offset, within)
        )
        super().__init__(f"byte {where} of the bundle, which is byte {inside} of {part}: {says}")


class CannotTell(Exception):
    """What was asked for cannot be checked here."""


@dataclass(frozen=True)
class Verdict:
    """A bundle that is whole. `signed` is None where that could not be checked; `trusted` says that the key is one of
    those that were named."""

    manifest: dict[str, Any]
    signature: dict[str, str]
    signed: bool | None
    trusted: bool

    def lines(self) -> Iterator[str]:
        files, key = self.manifest["files"], self.signature["key_id"]
        yield f"whole: {len(files)} files, {sum(file['size'] for file in files)} bytes"
        if self.signed is None:
            yield "signature NOT checked: that takes the Python library cryptography"
        elif self.trusted:
            yield f"signed by key {key}, which was named"
        else:
            yield f"signed by the key inside, {key}: nobody changed it since then, but who made it is not proven."
            yield f"compare this key with the server's, or name that with --public-key: {self.signature['public_key']}"
        for file in [*files, *self.manifest["absent"]]:
            if file.get("state") not in (None, "present"):
                yield f"{file['state']} when the bundle was made: {file['name']}"


@dataclass
class _Zip:
    """The file, and how far it has been compared."""

    file: IO[bytes]
    length: int
    offset: int = 0
    entries: list[tuple[str, int, int, int]] = field(default_factory=list)

    def at(self, offset: int, size: int) -> bytes:
        """Fewer bytes where the file ends before."""
        if offset < 0:
            return b""
        self.file.seek(offset)
        return self.file.read(size)

    def number(self, form: str, offset: int) -> int:
        """0 where there is none."""
        raw = self.at(offset, struct.calcsize(form))
        return int(struct.unpack(form, raw)[0]) if len(raw) == struct.calcsize(form) else 0

    def rfind(self, wanted: bytes) -> int:
        """The last place of these bytes, or -1."""
        for end in range(self.length, 0, -SEARCHED):
            start = max(0, end - SEARCHED)
            place = self.at(start, end - start + len(wanted) - 1).rfind(wanted)
            if place >= 0:
                return start + place
        return -1

    def expect(self, wanted: bytes, part: str) -> None:
        found = self.at(self.offset, len(wanted))
        if found != wanted:
            index = _first_other(found, wanted)
            ended = index == len(found)
            says = (
                "the file ends here" if ended else f"{found[index]:#04x} where {wanted[index]:#04x} belongs"
            )
            raise Lie(self.offset + index, part, index, says)
        self.offset += len(wanted)

    def begin(self, name: str) -> int:
        begins = self.offset
        self.expect(local_header(name), f"the header of {name}")
        return begins

    def end(self, name: str, crc: int, size: int, begins: int) -> None:
        self.expect(descriptor(crc, size), f"the checksum behind {name}")
        self.entries.append((name, crc, size, begins))


def verify(file: IO[bytes], trusted_keys: Sequence[str] = ()) -> Verdict:
    """Reads all of it once, and keeps no more than a block beside the manifest. Raises Lie, and CannotTell."""
    try:
        return _verify(_Zip(file, file.seek(0, 2)), trusted_keys)
    except MemoryError:
        raise CannotTell(f"{MANIFEST} does not fit into the memory of this computer") from None


def _verify(zip_file: _Zip, trusted_keys: Sequence[str]) -> Verdict:
    for key in trusted_keys:
        if not is_public_key(key):
            raise CannotTell(f"{key!r} is no public key: that is 32 bytes in base64")
    tail = _tail(zip_file)
    said, signed = _check_signature(zip_file, tail, trusted_keys)
    try:
        manifest = read_manifest(tail.manifest)
    except ValueError as error:
        raise Lie(tail.manifest_at, MANIFEST, 0, str(error), max(1, len(tail.manifest))) from None
    for entry in manifest["files"]:
        _compare_file(zip_file, entry)
    for name, content in ((MANIFEST, tail.manifest), (SIGNATURE, tail.signature)):
        begins = zip_file.begin(name)
        zip_file.expect(content, name)
        zip_file.end(name, zlib.crc32(content), len(content), begins)
    directory = zip_file.offset
    for name, crc, size, begins in zip_file.entries:
        zip_file.expect(directory_entry(name, crc, size, begins), f"the directory's entry of {name}")
    last = ending(len(zip_file.entries), zip_file.offset - directory, directory)
    zip_file.expect(last, "the end of the directory")
    if zip_file.offset != zip_file.length:
        raise Lie(zip_file.offset, "what follows the end", 0, "the file should have ended here")
    return Verdict(manifest, said, signed, bool(trusted_keys))


def _compare_file(zip_file: _Zip, entry: dict[str, Any]) -> None:
    name, size = entry["name"], entry["size"]
    begins, crc, whole = zip_file.begin(name), 0, hashlib.sha256()
    start = zip_file.offset
    for number, (block_crc, block_sha256) in enumerate(entry["blocks"]):
        block = zip_file.at(zip_file.offset, min(BLOCK, size - number * BLOCK))
        if _sha256(block) != block_sha256:
            if not block:
                raise Lie(zip_file.offset, name, number * BLOCK, "the file ends here")
            right = _has(block_sha256)
            raise _among(block, int(block_crc, 16), right, zip_file.offset, name, number * BLOCK)
        crc = zlib.crc32(block, crc)
        whole.update(block)
        zip_file.offset += len(block)
    if whole.hexdigest() != entry["sha256"]:
        says = "the manifest has another hash for the whole of it than for its blocks"
        raise Lie(start, name, 0, says, size or 1)
    zip_file.end(name, crc, size, begins)


# --- the manifest and its signature ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tail:
    """The manifest and its signature, and where each begins."""

    manifest: bytes
    signature: bytes
    manifest_at: int
    signature_at: int

    def fits(self) -> bool:
        return _speaks_of(_sha256(self.manifest))(self.signature)


def _tail(zip_file: _Zip) -> _Tail:
    """A manifest with a signature that speaks of it; which one is right shows when all is compared. Raises Lie."""
    first = None
    for tail in _tails(zip_file):
        if tail.fits():
            return tail
        first = first or tail
    if first is not None:
        raise _of_tail(zip_file, first)
    index = _first_other(zip_file.at(0, len(BEGINNING)), BEGINNING)
    if index < min(len(BEGINNING), zip_file.length):
        raise Lie(index, "the first header", index, "no bundle begins like this")
    says = "it was cut off here, or what stands before is no longer the end of a bundle: there is no manifest"
    raise Lie(zip_file.length, "the file", zip_file.length, says)


def _tails(zip_file: _Zip) -> Iterator[_Tail]:
    """Where the two may be: as the fields of the zip say, and where their headers are found. Any of that may lie.

    Raises CannotTell after the last one where a manifest begins that is too long to be read.
    """
    longest = 0
    directory = zip_file.number("<L", zip_file.length - ENDING + 16)
    if directory == FULL:
        directory = zip_file.number("<Q", zip_file.length - len(ending(0, 0, FULL)) + 48)
    manifest_head, signature_head = local_header(MANIFEST), local_header(SIGNATURE)
    told, found = directory - SIGNATURE_ENTRY, zip_file.rfind(signature_head)
    after_head = zip_file.rfind(manifest_head) + len(manifest_head)
    places = [place for place in (told, found) if 0 < place < zip_file.length]
    for place, by_size in product(places, (True, False)):
        end = place - DESCRIPTOR
        start = end - zip_file.number("<L", end + 8) if by_size else after_head
        if not len(manifest_head) <= start <= end:
            continue
        if end <= start + MOST_MANIFEST:
            signature_at = place + len(signature_head)
            signature = zip_file.at(signature_at, SIGNATURE_SIZE)
            yield _Tail(zip_file.at(start, end - start), signature, start, signature_at)
        elif zip_file.at(start - len(manifest_head), len(manifest_head)) == manifest_head:
            longest = end - start
    if longest:
        raise CannotTell(f"{MANIFEST} has {longest} bytes, and no more than {MOST_MANIFEST} are read")


def _of_tail(zip_file: _Zip, tail: _Tail) -> Lie:
    """Which of the two lies when they do not fit. Behind each stands its checksum."""
    said = read_signature(tail.signature)
    crc = zip_file.number("<L", tail.signature_at + len(tail.signature) + 4)
    if said is None or zlib.crc32(tail.signature) != crc:
        right = _speaks_of(_sha256(tail.manifest))
        return _among(tail.signature, crc, right, tail.signature_at, SIGNATURE, 0)
    crc = zip_file.number("<L", tail.manifest_at + len(tail.manifest) + 4)
    return _among(tail.manifest, crc, _has(said["manifest_sha256"]), tail.manifest_at, MANIFEST, 0)


def _check_signature(
    zip_file: _Zip, tail: _Tail, trusted_keys: Sequence[str]
) -> tuple[dict[str, str], bool | None]:
    """What the signature says, and True; None where the library is missing. Raises Lie, and CannotTell."""
    said = read_signature(tail.signature)
    assert said is not None  # it fits
    if trusted_keys and said["public_key"] not in trusted_keys:
        raise _in_signature(
            tail, said["public_key"], f"key {said['key_id']} signed, and is none that was named"
        )
    proves = _prover(said["manifest_sha256"])
    if proves is None and trusted_keys:
        raise CannotTell("whether that key signed it takes the Python library cryptography")
    if proves is None or not proves(tail.signature):
        crc = zip_file.number("<L", tail.signature_at + SIGNATURE_SIZE + 4)
        right = proves or _speaks_of(said["manifest_sha256"])
        index = changed_run(tail.signature, crc, right)
        if index is not None:
            raise Lie(tail.signature_at + index, SIGNATURE, index, CHANGED)
    if proves is not None and not proves(tail.signature):
        says = "the manifest is not what this key signed, or the signature was changed"
        raise _in_signature(tail, said["signature"], says)
    return said, True if proves else None


def _prover(manifest_sha256: str) -> Callable[[bytes], bool] | None:
    """Whether a signature file proves that its key signed this manifest. None without the library."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return None

    def proves(raw: bytes) -> bool:
        said = read_signature(raw)
        if said is None or said["manifest_sha256"] != manifest_sha256:
            return False
        try:
            key = Ed25519PublicKey.from_public_bytes(plain(said["public_key"]))
            key.verify(plain(said["signature"]), statement(manifest_sha256))
        except (InvalidSignature, ValueError):
            return False
        return True

    return proves


def _in_signature(tail: _Tail, value: str, says: str) -> Lie:
    within = tail.signature.index(value.encode())
    return Lie(tail.signature_at + within, SIGNATURE, within, says, len(value))


# --- which byte --------------------------------------------------------------------------------------------------


def _among(data: bytes, crc: int, right: Callable[[bytes], bool], offset: int, part: str, within: int) -> Lie:
    """These bytes, which begin `within` the part, are not right: exactly which, or that it is among them."""
    index = changed_run(data, crc, right)
    if index is None:
        return Lie(offset, part, within, "the first that was changed is among these", max(1, len(data)))
    return Lie(offset + index, part, within + index, CHANGED)


def _first_other(found: bytes, wanted: bytes) -> int:
    """Where they differ first; the length of the shorter one where it is all of the other's beginning."""
    pairs = enumerate(zip(found, wanted, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(found), len(wanted)))


def _has(sha256: str) -> Callable[[bytes], bool]:
    return lambda data: _sha256(data) == sha256


def _speaks_of(sha256: str) -> Callable[[bytes], bool]:
    return lambda raw: (read_signature(raw) or {}).get("manifest_sha256") == sha256


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- the command -------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """0: whole. 1: it lies. 2: it could not be checked."""
    parser = argparse.ArgumentParser(description="Is a provenance bundle whole, and if not, which byte lies?")
    parser.add_argument("file", help="the bundle")
    help_text = "the key that must have signed it; more than once for any of several"
    parser.add_argument("--public-key", action="append", default=[], metavar="BASE64", help=help_text)
    asked = parser.parse_args(arguments)
    return tell(asked.file, asked.public_key)


def tell(path: str, trusted_keys: Sequence[str]) -> int:
    """Prints what is found, with what `main` ends with."""
    try:
        with open(path, "rb") as file:
            for line in verify(file, trusted_keys).lines():
                print(line)
    except Lie as lie:
        print(f"LIES: {lie}")
        return 1
    except (OSError, CannotTell) as error:
        print(f"not checked: {error}", file=sys.stderr)
        return 2
    return 0
