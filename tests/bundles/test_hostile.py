"""Zips that somebody made to be taken for a bundle, or to harm whoever verifies one: each is named as what it is."""

import hashlib
import io
import struct
import subprocess
import sys
import zipfile
import zlib
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from app.bundles import verifying, writing
from app.bundles.layout import BLOCK, MANIFEST, SIGNATURE, descriptor, directory_entry, ending, local_header
from app.bundles.verifying import CannotTell
from app.bundles.writing import Writer, least_manifest
from app.errors import LimitReached
from tests.bundles.made import FILES, KEY, OTHER_KEY, bundle, checked, flipped, lie_in

SMALL = bundle()
SCRIPT = Path(__file__).parents[2] / "scripts" / "verify_bundle.py"
DIRECTORY = SMALL.index(b"PK\1\2")
END = len(SMALL) - 22


def put(place: int, new: bytes) -> bytes:
    """These bytes in the place of as many."""
    return SMALL[:place] + new + SMALL[place + len(new) :]


def inserted(place: int, new: bytes) -> bytes:
    """More bytes, with the end saying where the directory is now."""
    moved = len(new) if place <= DIRECTORY else 0
    data = bytearray(SMALL[:place] + new + SMALL[place:])
    struct.pack_into("<L", data, len(data) - 6, DIRECTORY + moved)
    return bytes(data)


def entry_at(name: str) -> int:
    """Where the directory has this file."""
    return SMALL.index(name.encode(), DIRECTORY) - 46


def named(name: bytes) -> bytes:
    """The first file, in both places where its name stands, is called so; it is as long as the old one."""
    assert len(name) == len("a.json")
    return SMALL.replace(b"PK\3\4" + SMALL[4:30] + b"a.json", b"PK\3\4" + SMALL[4:30] + name)[
        :DIRECTORY
    ] + SMALL[DIRECTORY:].replace(b"a.json", name)


BEHIND_FIRST = len(local_header("a.json")) + len(FILES["a.json"]) + len(descriptor(0, 0))
RECORDS = ending(5, END - DIRECTORY, 2**33)[: 56 + 20]  # the two of Zip64

HOSTILE: dict[str, tuple[bytes, str]] = {
    "data before the first header": (inserted(0, b"MZ\x90\0" * 8), "the header of a.json"),
    "a script before the first header": (inserted(0, b"#!/bin/sh\n"), "the header of a.json"),
    "data between two files": (inserted(BEHIND_FIRST, b"between"), "the header of d/empty.txt"),
    "a hidden file between two files": (
        inserted(BEHIND_FIRST, local_header("x") + b"hidden" + descriptor(zlib.crc32(b"hidden"), 6)),
        "the header of d/empty.txt",
    ),
    "data before the directory": (inserted(DIRECTORY, b"before"), "the directory's entry of a.json"),
    "data behind the directory": (inserted(END, b"behind"), "the end of the directory"),
    "data behind the end": (SMALL + b"behind", "what follows the end"),
    "a second zip behind": (SMALL + bundle({"evil.txt": b"!"}, OTHER_KEY), ""),
    "a comment of the zip": (put(len(SMALL) - 2, b"\5\0") + b"hello", "the end of the directory"),
    "a comment of a file": (
        inserted(entry_at("d/empty.txt"), b"comment"),
        "the directory's entry of d/empty.txt",
    ),
    "encrypted, it says before the file": (put(6, b"\x09\0"), "the header of a.json"),
    "encrypted, it says in the directory": (put(DIRECTORY + 8, b"\x09\0"), "the directory's entry of a.json"),
    "deflated, it says before the file": (put(8, b"\x08\0"), "the header of a.json"),
    "deflated, it says in the directory": (put(DIRECTORY + 10, b"\x08\0"), "the directory's entry of a.json"),
    "a name that leads up": (named(b"../../"), "the header of a.json"),
    "a name from the root": (named(b"/etc/x"), "the header of a.json"),
    "a name of Windows": (named(b"C:\\a.b"), "the header of a.json"),
    "another name in the directory": (
        put(DIRECTORY + 46, b"/etc/x"),
        "the directory's entry of a.json",
    ),
    "a name twice": (put(entry_at("d/b.bin") + 46, b"a.json!"), "the directory's entry of d/b.bin"),
    "two entries of the same bytes": (
        put(entry_at("d/b.bin") + 42, struct.pack("<L", 0)),
        "the directory's entry of d/b.bin",
    ),
    "a file that reaches into the next": (
        put(DIRECTORY + 20, struct.pack("<2L", 999, 999)),
        "the directory's entry of a.json",
    ),
    "a size of Zip64 that is not there": (
        put(DIRECTORY + 20, b"\xff" * 8),
        "the directory's entry of a.json",
    ),
    "records of Zip64 that are not needed": (inserted(END, RECORDS), "the end of the directory"),
    "a link": (put(DIRECTORY + 38, struct.pack("<L", 0o120777 << 16)), "the directory's entry of a.json"),
    "a time": (put(10, b"\x21\x43"), "the header of a.json"),
    "no directory": (SMALL[:DIRECTORY] + ending(0, 0, DIRECTORY), "the directory's entry of a.json"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_the_first_byte_that_is_no_bundles_is_named(what: str) -> None:
    data, part = HOSTILE[what]
    lie = lie_in(data)
    if part:
        pairs = enumerate(zip(data + b"!", SMALL + b"?", strict=False))
        assert lie.offset == next(index for index, (one, other) in pairs if one != other), str(lie)
        assert lie.part == part
    with pytest.raises((verifying.Lie, CannotTell)):
        checked(data, KEY)


def zipped(method: int) -> bytes:
    """What somebody packs again."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as copy, zipfile.ZipFile(io.BytesIO(SMALL)) as source:
        for name in source.namelist():
            copy.writestr(zipfile.ZipInfo(name), source.read(name), method)
    return made.getvalue()


@pytest.mark.parametrize(
    ("data", "place"),
    [
        *((b"", 0), (b"%PDF-1.7\n", 0), (b"PK\5\6" + bytes(18), 2), (b"\x1f\x8b\x08" + bytes(60), 0)),
        *((zipped(zipfile.ZIP_STORED), 6), (zipped(zipfile.ZIP_DEFLATED), 6), (zipped(zipfile.ZIP_BZIP2), 4)),
        *((SMALL[:4], 4), (SMALL[:200], 200)),
    ],
)
def test_what_is_no_bundle_from_its_beginning_on(data: bytes, place: int) -> None:
    """A bundle that was cut off ends too soon; a zip of another kind differs in its first header."""
    lie = lie_in(data)
    assert lie.offset == place, str(lie)
    assert ("no bundle begins like this" in str(lie)) is (place < len(data))


# --- manifests that harm -----------------------------------------------------------------------------------------


def with_manifest(raw: bytes) -> bytes:
    """A zip of nothing else, signed, with every checksum right."""
    out, directory = bytearray(), bytearray()
    for name, content in ((MANIFEST, raw), (SIGNATURE, OTHER_KEY.sign(hashlib.sha256(raw).hexdigest()))):
        crc = zlib.crc32(content)
        directory += directory_entry(name, crc, len(content), len(out))
        out += local_header(name) + content + descriptor(crc, len(content))
    return bytes(out + directory + ending(2, len(directory), len(out)))


def test_a_manifest_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is whole otherwise, and where a byte of it was changed; one that is cut off is still cut off."""
    size = len(zipfile.ZipFile(io.BytesIO(SMALL)).read(MANIFEST))
    monkeypatch.setattr(verifying, "MOST_MANIFEST", size)
    assert checked(SMALL).signed
    monkeypatch.setattr(verifying, "MOST_MANIFEST", size - 1)
    for data in (SMALL, flipped(SMALL, SMALL.index(b'"format"')), flipped(SMALL, 0), flipped(SMALL, END)):
        with pytest.raises(CannotTell, match=f"{size} bytes, and no more than {size - 1} are read"):
            checked(data)
    for length in range(SMALL.index(local_header(SIGNATURE))):
        lie_in(SMALL[:length])


@pytest.mark.parametrize("raw", [b"[" * 1_000_000, b'{"a":' * 100_000, b"[" + b"1," * 100_000 + b"1]"])
def test_a_manifest_that_is_none_is_named(raw: bytes) -> None:
    lie = lie_in(with_manifest(raw))
    assert (lie.part, lie.length) == (MANIFEST, len(raw)) and "form of a manifest" in str(lie)


def test_what_memory_does_not_hold_is_not_checked(tmp_path: Path) -> None:
    """15 MB that become 400 in Python, where there are 250."""
    path = tmp_path / "hostile.zip"
    path.write_bytes(with_manifest(b"[" + b"[]," * 5_000_000 + b"[]]"))
    little = f"import resource, runpy; resource.setrlimit(resource.RLIMIT_AS, ({250 << 20},) * 2)"
    run = f"{little}; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", run, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "not checked: manifest.json does not fit into the memory of this computer\n"


# --- whoever writes one ------------------------------------------------------------------------------------------


def written(files: dict[str, bytes], sent: bytearray) -> None:
    with closing(Writer()) as writer:
        for name, content in files.items():
            for chunk in writer.file(name, [content]):
                sent += chunk
        for chunk in writer.finish({}, KEY):
            sent += chunk


def test_no_manifest_is_written_that_nobody_would_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with many blocks, or many files: both end on the way, and the last byte too many before the manifest."""
    sent = bytearray()
    written(FILES, sent)
    size = len(zipfile.ZipFile(io.BytesIO(sent)).read(MANIFEST))
    for most, begun in ((size - 1, True), (150, True), (10, True)):
        monkeypatch.setattr(writing, "MOST_MANIFEST", most)
        sent = bytearray()
        with pytest.raises(LimitReached) as refused:
            written(FILES, sent)
        assert bool(sent) is begun and MANIFEST.encode() not in sent
        assert refused.value.extra == {"limit": most}
    monkeypatch.setattr(writing, "MOST_MANIFEST", size)
    written(FILES, bytearray())


def test_what_a_manifest_has_at_least() -> None:
    """Nobody is refused beforehand whose manifest would fit, and not much is begun that does not."""
    names = [f"analyses/{UUID(int=n)}/audit.ndjson" for n in range(20)]
    for content in (b"", b"x", bytes(20 * BLOCK)):
        files = dict.fromkeys(names, content)
        sent = bytearray()
        written(files, sent)
        size = len(zipfile.ZipFile(io.BytesIO(sent)).read(MANIFEST))
        least = least_manifest(len(files), sum(map(len, files.values())))
        assert size / 2 < least < size
