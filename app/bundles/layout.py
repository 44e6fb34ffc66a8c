"""What a bundle looks like, byte for byte; `docs/bundles.md` says it in words. The standard library only.

A bundle is a zip (PKWARE's APPNOTE 6.3.10) with no freedom in it: files are stored as they are, one after the other,
each between a header and a data descriptor that follow from its name and content; then the directory, the end, and no
byte more. The last two files are the manifest, which names the others in order with their hashes, and its signature.
So exactly one bundle follows from a manifest, and a file that differs from it anywhere is none.
"""

import base64
import binascii
import hashlib
import json
import re
import struct
from typing import Any

FORMAT, VERSION = "loupe-bundle", 1
MANIFEST, SIGNATURE = "manifest.json", "manifest.json.sig"
BLOCK = 64 * 1024  # bytes of a file that have a hash of their own
MOST_MANIFEST = 64 * 1024 * 1024  # bytes: some 50 GiB, or 80,000 analyses; whoever verifies has it in memory
STATES = ("present", "changed", "missing", "pending")
FULL, FULL_COUNT = 0xFFFFFFFF, 0xFFFF  # what does not fit below these stands in the fields of Zip64
# no place outside, nothing hidden, nothing that has a meaning for a shell or a file system
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,254}){0,7}")

_HASH, _SHORT = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{8}")
_STORED, _BY_DESCRIPTOR, _PLAIN_FILE = 0, 8, 0o100644 << 16
_MIDNIGHT, _FIRST_DAY = 0, 0x21  # 1980-01-01 00:00:00, the first moment that a zip knows
_PLAIN, _ZIP64, _UNIX = 20, 45, 3 << 8

# --- the zip -----------------------------------------------------------------------------------------------------


def local_header(name: str) -> bytes:
    """Checksum and size are zero here: they follow the content, so that it can be sent before they are known."""
    raw = name.encode("ascii")
    fields = (_PLAIN, _BY_DESCRIPTOR, _STORED, _MIDNIGHT, _FIRST_DAY, 0, 0, 0, len(raw), 0)
    return struct.pack("<4s5H3L2H", b"PK\3\4", *fields) + raw


def descriptor(crc: int, size: int) -> bytes:
    return struct.pack("<4s3L" if size < FULL else "<4sL2Q", b"PK\7\10", crc, size, size)


def directory_entry(name: str, crc: int, size: int, offset: int) -> bytes:
    raw = name.encode("ascii")
    large = ([size, size] if size >= FULL else []) + ([offset] if offset >= FULL else [])
    extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    needed, shown = (_ZIP64 if large else _PLAIN), min(size, FULL)
    head = (_UNIX | _ZIP64, needed, _BY_DESCRIPTOR, _STORED, _MIDNIGHT, _FIRST_DAY, crc, shown, shown)
    rest = (len(raw), len(extra), 0, 0, 0, _PLAIN_FILE, min(offset, FULL))
    return struct.pack("<4s6H3L5H2L", b"PK\1\2", *head, *rest) + raw + extra


def ending(count: int, size: int, offset: int) -> bytes:
    """What follows the directory of `count` entries, which has `size` bytes and begins at `offset`."""
    large = b""
    if count >= FULL_COUNT or size >= FULL or offset >= FULL:
        known = (44, _UNIX | _ZIP64, _ZIP64, 0, 0, count, count, size, offset)
        large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", *known)
        large += struct.pack("<4sLQL", b"PK\6\7", 0, offset + size, 1)
    number = min(count, FULL_COUNT)
    shown = (0, 0, number, number, min(size, FULL), min(offset, FULL), 0)
    return large + struct.pack("<4s4H2LH", b"PK\5\6", *shown)


# --- the signature -----------------------------------------------------------------------------------------------


def statement(manifest_sha256: str) -> bytes:
    """What is signed, with Ed25519 (RFC 8032)."""
    return f"{FORMAT} {VERSION}\n{manifest_sha256}\n".encode()


def key_id(public_key: str) -> str:
    return hashlib.sha256(base64.b64decode(public_key)).hexdigest()[:16]


def signature_file(public_key: str, manifest_sha256: str, signature: str) -> bytes:
    """Key and signature are standard base64. It always has SIGNATURE_SIZE bytes."""
    said = {
        "algorithm": "Ed25519",
        "key_id": key_id(public_key),
        "public_key": public_key,
        "manifest_sha256": manifest_sha256,
        "signature": signature,
    }
    return json.dumps(said, indent=1).encode() + b"\n"


def read_signature(raw: bytes) -> dict[str, str] | None:
    """What a signature file says, None if it has another form."""
    try:
        said = json.loads(raw)
        key, sha256, signature = (said[name] for name in ("public_key", "manifest_sha256", "signature"))
        same = signature_file(key, sha256, signature) == raw
        lengths = len(plain(key)), len(plain(signature))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return dict(said) if same and lengths == (32, 64) and _HASH.fullmatch(sha256) else None


def plain(text: str) -> bytes:
    """The bytes of base64 that is written as it should be. Raises ValueError."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise binascii.Error("not as base64 is written")
    return raw


def is_public_key(text: str) -> bool:
    try:
        return len(plain(text)) == 32
    except ValueError:
        return False


SIGNATURE_SIZE = len(signature_file(base64.b64encode(bytes(32)).decode(), "0" * 64, "A" * 86 + "=="))

# --- the manifest ------------------------------------------------------------------------------------------------


def read_manifest(raw: bytes) -> dict[str, Any]:
    """Raises ValueError, saying why, where it does not have the form."""
    try:
        manifest = json.loads(raw)
        about = [manifest[name] for name in ("format", "format_version", "block_size")]
        if about != [FORMAT, VERSION, BLOCK]:
            raise ValueError("it is of another version")
        for file in [*manifest["files"], *manifest["absent"]]:
            if not NAME.fullmatch(file["name"]):
                raise ValueError("it has a name that no file may have")
            if file.get("state", STATES[0]) not in STATES:
                raise ValueError("it has a state that no file can be in")
        for file in manifest["files"]:
            _check_file(file)
        names = {file["name"] for file in manifest["files"]}
        if len(names) != len(manifest["files"]) or {MANIFEST, SIGNATURE} & names:
            raise ValueError("it names a file twice")
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("it does not have the form of a manifest") from None
    return dict(manifest)


def _check_file(file: dict[str, Any]) -> None:
    size, blocks = file["size"], file["blocks"]
    if type(size) is not int or size < 0 or len(blocks) != -(-size // BLOCK):
        raise ValueError(f"size and blocks of {file['name']} are at odds")
    hashes = [_SHORT.fullmatch(crc) and _HASH.fullmatch(sha256) for crc, sha256 in blocks]
    if not all(hashes) or not _HASH.fullmatch(file["sha256"]):
        raise ValueError(f"a hash of {file['name']} is none")
