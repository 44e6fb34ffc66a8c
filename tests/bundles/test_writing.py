"""A bundle is an ordinary zip for whoever reads zips, says what is in it, and is written without keeping it."""

import base64
import hashlib
import io
import json
import shutil
import subprocess
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.bundles.keys import SigningKey, from_config
from app.bundles.layout import BLOCK, FULL, MANIFEST, SIGNATURE, directory_entry, ending
from app.bundles.verifying import verify
from app.bundles.writing import Writer, blocks
from tests.bundles.made import FILES, KEY, bundle, checked

MIB = 1024 * 1024


def test_others_read_it() -> None:
    read = zipfile.ZipFile(io.BytesIO(bundle()))
    assert read.testzip() is None
    assert read.namelist() == [*FILES, MANIFEST, SIGNATURE]
    assert {name: read.read(name) for name in FILES} == FILES
    assert {info.date_time for info in read.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.external_attr >> 16 for info in read.infolist()} == {0o100644}


@pytest.mark.skipif(shutil.which("unzip") is None, reason="one more reader, where it is there")
def test_unzip_reads_it(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(bundle())
    tried = subprocess.run(["unzip", "-tq", tmp_path / "b.zip"], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stdout + tried.stderr


def test_the_same_content_is_the_same_bundle() -> None:
    assert bundle() == bundle()


def test_the_manifest_has_size_and_hash_of_every_file() -> None:
    content = bytes(range(256)) * 600
    read = zipfile.ZipFile(io.BytesIO(bundle({"a": content, **FILES})))
    manifest = json.loads(read.read(MANIFEST))
    assert [file["name"] for file in manifest["files"]] == ["a", *FILES]
    for file in manifest["files"]:
        found = read.read(file["name"])
        assert (file["size"], file["sha256"]) == (len(found), hashlib.sha256(found).hexdigest())
        parts = [found[at : at + BLOCK] for at in range(0, len(found), BLOCK)]
        assert [sha256 for _, sha256 in file["blocks"]] == [
            hashlib.sha256(part).hexdigest() for part in parts
        ]
    assert manifest["absent"] == [{"name": "d/lost.png", "state": "missing"}]


def test_the_signature_can_be_checked_by_hand() -> None:
    """As docs/bundles.md says it."""
    read = zipfile.ZipFile(io.BytesIO(bundle()))
    said = json.loads(read.read(SIGNATURE))
    sha256 = hashlib.sha256(read.read(MANIFEST)).hexdigest()
    assert said["manifest_sha256"] == sha256
    signature = base64.b64decode(said["signature"])
    KEY.private.public_key().verify(signature, f"loupe-bundle 1\n{sha256}\n".encode())
    assert said["public_key"] == KEY.public and said["key_id"] == KEY.id


def test_names_that_no_file_may_have_are_not_written() -> None:
    for name in ("../x", "/x", "", "é", "a b"):
        with closing(Writer()) as writer, pytest.raises(ValueError, match="no name"):
            list(writer.file(name, [b""]))


@pytest.mark.parametrize("sizes", [[], [0], [1], [BLOCK], [BLOCK - 1, 1, 1], [3 * BLOCK + 1], [7] * 20_000])
def test_blocks(sizes: list[int]) -> None:
    given = [bytes([n % 251]) * size for n, size in enumerate(sizes)]
    found = list(blocks(given))
    assert b"".join(found) == b"".join(given)
    assert all(len(block) == BLOCK for block in found[:-1]) and all(found)


def test_memory_does_not_grow_with_the_files() -> None:
    """64 MiB in one file, then 20,000 files: each takes less than 4 MiB."""
    chunk = bytes(BLOCK)
    for files in (
        {"large": (chunk for _ in range(1024))},
        {f"f{number}": iter([b"x"]) for number in range(20_000)},
    ):
        sent = 0
        writer = Writer()
        tracemalloc.start()
        for name, chunks in files.items():
            for part in writer.file(name, chunks):
                sent += len(part)
        for part in writer.finish({}, KEY):
            sent += len(part)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        writer.close()
        assert sent > 2 * MIB and peak < 4 * MIB, (sent, peak)


# --- Zip64 -------------------------------------------------------------------------------------------------------


def test_more_files_than_a_plain_zip_counts() -> None:
    data = bundle({f"f{number}": b"" for number in range(0xFFFF)})
    assert len(zipfile.ZipFile(io.BytesIO(data)).infolist()) == 0xFFFF + 2
    assert len(checked(data).manifest["files"]) == 0xFFFF


def test_sizes_and_places_beyond_four_gib() -> None:
    """The fields as Python's zipfile reads them; nothing of that size is made."""
    for size, offset in ((FULL, 5), (FULL + 1, FULL), (7, FULL + 9), (FULL - 1, FULL - 1)):
        entry = directory_entry("a", 1, size, offset)
        last = ending(1, len(entry), 0)
        [info] = zipfile.ZipFile(io.BytesIO(entry + last)).infolist()
        assert (info.file_size, info.compress_size, info.header_offset) == (size, size, offset)


@pytest.mark.soak
def test_a_file_beyond_four_gib(tmp_path: Path) -> None:
    """Written with holes, read by zipfile, verified, and a byte of its end is missed by nobody."""
    chunk = bytes(MIB)

    def content() -> Iterator[bytes]:
        yield b"begin"
        for _ in range(4097):
            yield chunk
        yield b"end"

    writer, path = Writer(), tmp_path / "large.zip"
    with path.open("wb") as file:
        for name, chunks in (("large", content()), ("after", iter([b"after"]))):
            for part in writer.file(name, chunks):
                file.seek(len(part), 1) if not part.strip(b"\0") else file.write(part)
        for part in writer.finish({}, KEY):
            file.write(part)
    writer.close()
    with zipfile.ZipFile(path) as read:
        assert read.read("after") == b"after"
        assert read.getinfo("large").file_size == 4097 * MIB + 8
    with path.open("rb") as whole:
        assert verify(whole).signed


# --- keys --------------------------------------------------------------------------------------------------------


def config(*seeds: str, secret: str = "s" * 32) -> dict[str, object]:
    return {"ML_BUNDLE_SIGNING_KEY": seeds, "SECRET_KEY": secret}


def test_without_a_setting_the_key_follows_from_the_secret_key() -> None:
    [one], [again], [other] = (
        from_config(config(secret=secret)) for secret in ("a" * 32, "a" * 32, "b" * 32)
    )
    assert one.public == again.public != other.public


def test_several_keys_newest_first() -> None:
    """RFC 8032, section 7.1: the seeds of tests 1 and 2, and their public keys."""
    seeds = [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    ]
    public = [
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    ]
    keys = from_config(config(*(base64.b64encode(bytes.fromhex(seed)).decode() for seed in seeds)))
    assert [base64.b64decode(key.public).hex() for key in keys] == public
    assert all(isinstance(key, SigningKey) and isinstance(key.private, Ed25519PrivateKey) for key in keys)


def test_the_seed_is_shown_by_no_repr() -> None:
    assert "private" not in str(KEY.public) and KEY.private.private_bytes_raw().hex() not in repr(KEY)
