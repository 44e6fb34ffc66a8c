"""A bundle that is whole is found whole; of any other the first byte that lies is named."""

import hashlib
import io
import json
import random
import sys
import zipfile
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bundles import verifying
from app.bundles.faults import changed_run
from app.bundles.layout import (
    BLOCK,
    MANIFEST,
    SIGNATURE,
    descriptor,
    directory_entry,
    ending,
    local_header,
    read_manifest,
)
from tests.bundles.made import FILES, KEY, OTHER_KEY, bundle, checked, flipped, lie_in

SMALL = bundle()
LARGE_FILES = {"a.bin": random.Random(1).randbytes(3 * BLOCK + 100), "z.txt": b"end"}
LARGE = bundle(LARGE_FILES)


def test_whole() -> None:
    verdict = checked(SMALL)
    assert (verdict.signed, verdict.trusted) == (True, False)
    lines = "\n".join(verdict.lines())
    assert "whole: 3 files, 265 bytes" in lines
    assert "by the key inside" in lines and "not proven" in lines
    assert KEY.public in lines
    assert "missing when the bundle was made: d/lost.png" in lines


def test_signed_by_a_key_that_was_named() -> None:
    verdict = checked(SMALL, OTHER_KEY, KEY)
    assert verdict.trusted
    assert f"signed by key {KEY.id}, which was named" in list(verdict.lines())
    assert "not proven" not in "\n".join(verdict.lines())


def test_signed_by_another_key() -> None:
    lie = lie_in(SMALL, OTHER_KEY)
    assert lie.part == SIGNATURE and KEY.id in str(lie) and "none that was named" in str(lie)


# --- any byte ----------------------------------------------------------------------------------------------------


def check_named(data: bytes, place: int, bits: int) -> None:
    lie = lie_in(flipped(data, place, bits))
    assert (lie.offset, lie.length) == (place, 1), str(lie)


def test_every_byte_is_watched_and_named() -> None:
    """One bit of each, another one each time."""
    for place in range(len(SMALL)):
        check_named(SMALL, place, 1 << place % 8)


@pytest.mark.soak
@pytest.mark.parametrize("bit", range(8))
def test_every_bit_is_watched_and_named(bit: int) -> None:
    for place in range(len(SMALL)):
        check_named(SMALL, place, 1 << bit)


def test_bytes_of_large_files_are_named() -> None:
    chosen = random.Random(2)
    edges = [place for block in range(4) for place in (block * BLOCK - 1, block * BLOCK) if place >= 0]
    first = len(local_header("a.bin"))
    for place in [*(first + edge for edge in edges), *chosen.sample(range(len(LARGE)), 40)]:
        check_named(LARGE, place, chosen.randrange(1, 256))


def test_the_part_and_the_place_in_it_are_named() -> None:
    at = SMALL.index(FILES["d/b.bin"])
    lie = lie_in(flipped(SMALL, at + 7))
    assert (lie.part, lie.within) == ("d/b.bin", 7)
    assert str(lie) == f"byte {at + 7} of the bundle, which is byte 7 of d/b.bin: this byte was changed"
    for place, part in (
        (0, "the header of a.json"),
        (SMALL.index(FILES["a.json"]) + len(FILES["a.json"]), "the checksum behind a.json"),
        (SMALL.index(b'{"format"'), MANIFEST),
        (SMALL.index(KEY.public.encode()), SIGNATURE),
        (SMALL.index(b"PK\1\2"), "the directory's entry of a.json"),
        (len(SMALL) - 1, "the end of the directory"),
    ):
        assert lie_in(flipped(SMALL, place)).part == part


# --- more than a byte --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 3, 4, 22, 100, len(SMALL) - 4, len(SMALL)])
def test_truncated(number: int) -> None:
    lie = lie_in(SMALL[:-number])
    assert lie.offset <= len(SMALL) - number


def test_every_truncation() -> None:
    for length in range(len(SMALL)):
        lie_in(SMALL[:length])


@pytest.mark.parametrize("more", [b"\0", b"x" * 22, b"PK\5\6" + bytes(18), SMALL])
def test_bytes_behind(more: bytes) -> None:
    lie = lie_in(SMALL + more)
    assert lie.offset == len(SMALL) or more == SMALL


def test_bytes_before() -> None:
    assert lie_in(b"\0" + SMALL).offset == 0
    assert lie_in(b"PK" + SMALL).offset in (2, 3)
    lie_in(SMALL[:30] + SMALL)


def test_a_byte_added_or_removed_anywhere() -> None:
    for place in range(0, len(SMALL), 3):
        before = SMALL[:place] + b"\x5a" + SMALL[place:]
        if before != SMALL:
            assert lie_in(before).offset <= place + len(SMALL)
        lie_in(SMALL[:place] + SMALL[place + 1 :])


def test_a_longer_run_is_placed_in_its_block() -> None:
    start = len(local_header("a.bin"))
    place = start + BLOCK + 500
    data = LARGE[:place] + bytes(byte ^ 0xFF for byte in LARGE[place : place + 40]) + LARGE[place + 40 :]
    lie = lie_in(data)
    assert (lie.offset, lie.length, lie.part, lie.within) == (start + BLOCK, BLOCK, "a.bin", BLOCK)
    assert "among these" in str(lie)


def test_the_first_of_several_lies_is_named() -> None:
    for near, far in ((40, 300), (300, 900), (35, len(SMALL) - 1)):
        assert lie_in(flipped(flipped(SMALL, near), far)).offset in (near, far)
    start = len(local_header("a.bin"))
    assert lie_in(flipped(flipped(LARGE, start + 5), start + 2 * BLOCK)).offset == start + 5


def rebuilt(data: bytes, order: list[str], change: dict[str, bytes]) -> bytes:
    """The same zip, well-formed, with its files in this order and these changed; the manifest is left as it is."""
    source = zipfile.ZipFile(io.BytesIO(data))
    out, directory = bytearray(), bytearray()
    for name in order:
        content = change[name] if name in change else source.read(name)
        directory += directory_entry(name, zlib.crc32(content), len(content), len(out))
        out += local_header(name) + content + descriptor(zlib.crc32(content), len(content))
    last = ending(len(order), len(directory), len(out))
    return bytes(out + directory + last)


NAMES = [*FILES, MANIFEST, SIGNATURE]


def test_the_zip_made_anew_is_the_same() -> None:
    assert rebuilt(SMALL, NAMES, {}) == SMALL


def test_files_added_removed_swapped_renamed_and_replaced() -> None:
    assert lie_in(rebuilt(SMALL, ["new.txt", *NAMES], {"new.txt": b"new"})).part == "the header of a.json"
    assert lie_in(rebuilt(SMALL, [*NAMES, "new.txt"], {"new.txt": b"new"})).part.startswith("the directory")
    assert lie_in(rebuilt(SMALL, NAMES[1:], {})).part == "the header of a.json"
    assert lie_in(rebuilt(SMALL, [NAMES[1], NAMES[0], *NAMES[2:]], {})).part == "the header of a.json"
    assert lie_in(rebuilt(SMALL, NAMES, {"a.json": b'{"x": 2}\n'})).within == 6
    assert lie_in(rebuilt(SMALL, NAMES, {"a.json": b'{"x": 12}\n'})).part == "a.json"
    assert lie_in(rebuilt(SMALL, NAMES, {"d/empty.txt": b"x"})).part == "the checksum behind d/empty.txt"


def test_a_comment_an_extra_field_and_compression_are_noticed() -> None:
    lie_in(SMALL[:-2] + b"\5\0hello")
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", method) as copy, zipfile.ZipFile(io.BytesIO(SMALL)) as source:
            for name in source.namelist():
                copy.writestr(name, source.read(name))
        lie_in(made.getvalue())


# --- whoever lies on purpose -------------------------------------------------------------------------------------


def test_another_manifest_under_the_old_signature() -> None:
    """Every checksum and the hash in the signature's file are made to fit."""
    files = {**FILES, "a.json": b'{"x": 2}\n'}
    forged = zipfile.ZipFile(io.BytesIO(bundle(files, OTHER_KEY)))
    said = json.loads(zipfile.ZipFile(io.BytesIO(SMALL)).read(SIGNATURE))
    said["manifest_sha256"] = json.loads(forged.read(SIGNATURE))["manifest_sha256"]
    signature = json.dumps(said, indent=1).encode() + b"\n"
    data = rebuilt(bundle(files, OTHER_KEY), NAMES, {SIGNATURE: signature})
    lie = lie_in(data)
    assert lie.part == SIGNATURE and "not what this key signed" in str(lie)


def test_signed_anew_by_somebody_else() -> None:
    """That is a bundle of theirs: whole, and only who names the key sees that it is none of this server's."""
    forged = bundle({**FILES, "a.json": b'{"x": 2}\n'}, OTHER_KEY)
    assert not checked(forged).trusted
    assert "none that was named" in str(lie_in(forged, KEY))


def with_manifest(change: Any) -> bytes:
    """Signed with the right key, as only the server could: what the manifest says is still looked at."""
    manifest = json.loads(zipfile.ZipFile(io.BytesIO(SMALL)).read(MANIFEST))
    change(manifest)
    raw = json.dumps(manifest).encode()
    signature = KEY.sign(hashlib.sha256(raw).hexdigest())
    return rebuilt(SMALL, NAMES, {MANIFEST: raw, SIGNATURE: signature})


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../up",
            "/etc/passwd",
            "a//b",
            "a/../b",
            ".hidden",
            "a\\b",
            "C:x",
            "a\0b",
            "é",
            "",
            "a/",
            "x" * 256,
        ),
        *(5, "d/" * 8 + "d", "a b", "a\n"),
    ],
)
def test_names_that_lead_elsewhere(name: Any) -> None:
    def change(manifest: Any) -> None:
        manifest["files"][0]["name"] = name

    assert lie_in(with_manifest(change)).part == MANIFEST


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", -1),
        ("size", 2**80),
        ("size", 1.5),
        ("size", True),
        ("size", None),
        ("blocks", []),
        ("blocks", [["0", "0"]]),
        ("blocks", "x"),
        ("blocks", [[1, 2]]),
        ("sha256", "0" * 64),
        ("sha256", "A" * 64),
        ("sha256", None),
        ("name", "d/b.bin"),
        ("name", MANIFEST),
        ("state", "\x1b[2Jall is well"),
    ],
)
def test_manifests_that_cannot_be(field: str, value: Any) -> None:
    def change(manifest: Any) -> None:
        manifest["files"][0][field] = value

    lie = lie_in(with_manifest(change))
    assert lie.part in (MANIFEST, "a.json")


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000, b'{"format": "loupe-bundle"}', b"1" * 5000),
        b'{"format": "loupe-bundle", "format_version": 2, "block_size": 65536, "files": [], "absent": []}',
    ],
)
def test_what_is_no_manifest(raw: bytes) -> None:
    with pytest.raises(ValueError):
        read_manifest(raw)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_anything_is_answered(data: bytes) -> None:
    lie_in(data)


@settings(deadline=None)
@given(st.integers(0, len(SMALL)), st.integers(0, len(SMALL)), st.binary(max_size=40))
def test_any_other_bytes_in_the_place_of_any(start: int, end: int, instead: bytes) -> None:
    start, end = sorted((start, end))
    changed = SMALL[:start] + instead + SMALL[end:]
    if changed != SMALL:
        lie_in(changed)


def test_what_a_bundle_claims_costs_no_memory() -> None:
    """Sizes of the directory, of the manifest and of files that are not there are not made room for."""
    for offset in (0, 2**31, 2**32 - 2):
        lie_in(SMALL[:-22] + ending(5, 300, offset))
    lie_in(SMALL[:-22] + ending(5, 300, 2**60))
    place = SMALL.rindex(local_header(SIGNATURE)) - 8
    lie_in(SMALL[:place] + b"\xff" * 8 + SMALL[place + 8 :])


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the signature is checked; who asks for a key is told that it cannot be."""
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    verdict = checked(SMALL)
    assert verdict.signed is None
    assert "signature NOT checked" in "\n".join(verdict.lines())
    with pytest.raises(verifying.CannotTell):
        checked(SMALL, KEY)
    for place in range(0, len(SMALL), 5):
        lie_in(flipped(SMALL, place))


# --- finding a run of bytes by its checksum ----------------------------------------------------------------------


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=400), st.binary(min_size=1, max_size=3), st.data())
def test_a_short_run_is_found(data: bytes, bits: bytes, draw: st.DataObject) -> None:
    place = draw.draw(st.integers(0, len(data) - 1))
    changed = bytearray(data)
    for index, flips in enumerate(bits[: len(data) - place], place):
        changed[index] ^= flips
    found = changed_run(bytes(changed), zlib.crc32(data), lambda mended: mended == data)
    first = next((index for index in range(len(data)) if changed[index] != data[index]), None)
    assert found == first
