#!/usr/bin/env python3
"""Shows how a request is signed: the string to sign byte by byte, the headers, and a curl line that sends it.

    export ML_CALLBACK_HMAC_SECRET=…
    python scripts/sign.py POST http://127.0.0.1:8000/api/analyses/ID/finalize --body body.json

To compare with a program of your own, give its --timestamp and --nonce, and `--print string` writes the very bytes:

    python scripts/sign.py … --nonce=N --timestamp=T --print string | cmp - the-string-of-mine

The secret comes from the environment or from a file, never from the command line, and is not printed. Standard
library only.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import secrets
import shlex
import sys
import time
from pathlib import Path

from loupe_client import Signable, newest_secret, signature_headers, string_to_sign, target_of

SHOWN_BYTES = 4096
FORMS = {"timestamp": r"[0-9]{1,11}", "nonce": r"[A-Za-z0-9_-]{22,64}", "key_id": r"[A-Za-z0-9_-]{4,64}"}


def visible(content: bytes) -> str:
    """Each byte that is not a printable ASCII character as an escape, and a new line after each line feed."""
    names = {0x0A: "\\n\n", 0x0D: "\\r", 0x09: "\\t", 0x5C: "\\\\"}
    return "".join(
        names.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in content
    )


def hex_dump(content: bytes) -> str:
    """Sixteen bytes a line: offset, hex, and what is printable, as `hexdump -C` has it."""
    lines = []
    for offset in range(0, len(content), 16):
        row = content[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{offset:08x}  {row.hex(' '):<47}  |{text}|")
    return "\n".join(lines)


def shown(title: str, content: bytes, as_hex: bool) -> str:
    """With the length and the hash of the whole, of which a long one shows its beginning only."""
    head = f"{title}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}"
    part = content[:SHOWN_BYTES]
    lines = (hex_dump(part) if as_hex else visible(part)).splitlines()
    more = [f"… {len(content) - len(part)} bytes more"] if len(content) > len(part) else []
    return "\n".join([head, *(f"  {line}" for line in [*lines, *more])])


def curl_line(url: str, request: Signable, headers: dict[str, str], body_file: str | None) -> str:
    """Globbing off and the path as it is, since what is sent must be what was signed."""
    words = ["curl", "-sS", "--globoff", "--path-as-is", "-X", request.method]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    if body_file is not None:
        words += ["--data-binary", "@" + body_file]
    return shlex.join([*words, url])


def warnings_of(scheme: str, request: Signable) -> list[str]:
    """What the server will refuse or what is likely not meant."""
    path = request.target.partition("?")[0]
    said = []
    if scheme == "v2" and ("%" in path or "//" in path or {".", ".."} & set(path.split("/"))):
        said.append("a v2 path holds no %, no // and no segment . or ..")
    if scheme == "plain" and request.method not in ("POST", "PATCH", "PUT"):
        said.append(f"a plain signature does not authorise {request.method}")
    if scheme == "plain" and request.key_id != "default":
        said.append("plain does not name a pipeline's key: send the key itself too, in X-API-Key")
    if not request.target.isascii() or " " in request.target:
        said.append("the address must be ASCII without spaces, as it stands in the request")
    if request.body.endswith((b"\n", b"\r")):
        said.append("the body ends with a line break; it is signed with it")
    return said


def read_secret(file: str | None) -> str:
    """From the file or the environment; LookupError when there is none."""
    text = Path(file).read_text() if file else os.environ.get("ML_CALLBACK_HMAC_SECRET", "")
    secret = newest_secret(text)
    if not secret:
        raise LookupError("no secret: set ML_CALLBACK_HMAC_SECRET, or name a file with --secret-file")
    return secret


def read_body(file: str | None) -> bytes:
    if file is None:
        return b""
    return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()


def full_url(address: str) -> str:
    if address.startswith("/"):
        return os.environ.get("LOUPE_URL", "http://127.0.0.1:8000").rstrip("/") + address
    return address


def key_id_of(arguments: argparse.Namespace) -> str:
    """As told, else out of a pipeline key in API_KEY, as the client does it."""
    key = os.environ.get("API_KEY", "")
    return arguments.key_id or (key.split("_")[1] if key.startswith("mlpip_") else "default")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Shows how a request is signed. Never prints the secret.")
    parser.add_argument("method")
    parser.add_argument("address", help="a whole address, or a path on LOUPE_URL")
    parser.add_argument("--body", metavar="FILE", help="the bytes that are sent; - is standard input")
    parser.add_argument("--scheme", choices=("v2", "plain"), default="v2")
    parser.add_argument(
        "--key-id", help="the id part of a pipeline key; without it that of API_KEY, or default"
    )
    parser.add_argument(
        "--nonce",
        default=secrets.token_urlsafe(16),
        help="a new one unless given; as --nonce=N, for it may begin with a dash",
    )
    parser.add_argument("--timestamp", default=str(int(time.time())), help="Unix seconds; now unless given")
    parser.add_argument("--secret-file", metavar="FILE", help="instead of ML_CALLBACK_HMAC_SECRET")
    parser.add_argument("--hex", action="store_true", help="dump string and body in hex")
    parser.add_argument("--print", choices=("all", "string", "headers", "curl"), default="all", dest="part")
    arguments = parser.parse_args()
    arguments.key_id = key_id_of(arguments)
    for name, form in FORMS.items():
        if not re.fullmatch(form, getattr(arguments, name)):
            parser.error(f"--{name.replace('_', '-')} must be {form}")
    return arguments


def main() -> int:
    arguments = read_arguments()
    try:
        secret, body = read_secret(arguments.secret_file), read_body(arguments.body)
    except (LookupError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    url = full_url(arguments.address)
    method = arguments.method.upper()
    request = Signable(method, target_of(url), body, arguments.timestamp, arguments.key_id, arguments.nonce)
    typed = {} if arguments.body is None else {"Content-Type": "application/json"}
    headers = typed | signature_headers(arguments.scheme, secret, request)
    for warning in warnings_of(arguments.scheme, request):
        print(f"warning: {warning}", file=sys.stderr)
    to_sign = string_to_sign(arguments.scheme, request)
    if arguments.part == "string":
        sys.stdout.buffer.write(to_sign)
        return 0
    parts = {
        "body": shown("body", body, arguments.hex),
        "string": shown("string to sign", to_sign, arguments.hex),
        "headers": "\n".join(f"{name}: {value}" for name, value in headers.items()),
        "curl": curl_line(url, request, headers, arguments.body),
    }
    print("\n\n".join(parts.values()) if arguments.part == "all" else parts[arguments.part])
    return 0


if __name__ == "__main__":
    sys.exit(main())
