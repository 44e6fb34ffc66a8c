"""A POST to an address outside: only where it may go, to the very machine that was checked, and never for long.

Whoever can say where a server sends to could otherwise reach what only the server can: its own network, the data of its
cloud account. So every address that the name stands for is checked, the connection goes to one that was checked while
TLS still asks for the name, no redirect is followed, and no proxy of the environment is used.
"""

import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

READ_BYTES = 4096  # of an answer; the rest is left where it is
PORTS = {"http": 80, "https": 443}
GLOBAL_UNICAST = IPv6Network("2000::/3")  # RFC 4291; everything else has another use
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052

Resolve: TypeAlias = Callable[[str, int], Sequence[str]]


class NotSent(Exception):
    """No answer came; says why, in words for people."""


@dataclass(frozen=True)
class Answer:
    """`text` is what could be read of the body, `retry_after` the header as it came."""

    status: int
    text: str
    retry_after: str | None


def without_secrets(url: str) -> str:
    """An address as it may be shown: without user and password, and without the query, where tokens stand."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def look_up(host: str, port: int) -> Sequence[str]:
    """Every address of the host, as the system knows it. Raises OSError or UnicodeError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


def is_public(text: str) -> bool:
    """Whether an IP address leads out into the internet, also through what carries IPv4 inside IPv6."""
    address = ip_address(text)
    return all(map(_is_public_itself, _carried(address) or [address]))


def _carried(address: IPv4Address | IPv6Address) -> Sequence[IPv4Address | IPv6Address]:
    """The IPv4 addresses that packets to this one end at: mapped, NAT64, 6to4, Teredo (its server and its client)."""
    if isinstance(address, IPv4Address):
        return ()
    if address in NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    single = address.ipv4_mapped or address.sixtofour
    return (single,) if single else address.teredo or ()


def _is_public_itself(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


@cache
def _system_trust() -> ssl.SSLContext:
    return ssl.create_default_context()


@dataclass(frozen=True)
class Sender:
    """Sends by these rules. `allow_private` lets it go anywhere, also without TLS.

    `total_seconds` is for all of it, however slowly the other side speaks; connecting and TLS have `connect_seconds`
    each, and so has looking up the name.
    """

    allow_private: bool = False
    resolve: Resolve = look_up
    trust: Callable[[], ssl.SSLContext] = _system_trust
    connect_seconds: float = 5.0
    total_seconds: float = 15.0

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer, whatever its status. Raises NotSent."""
        target, until, over = urlsplit(url), time.monotonic() + self.total_seconds, threading.Event()
        try:
            with closing(self._connect(target)) as plain, _cut_off(plain, until - time.monotonic(), over):
                return _exchange(self._secured(plain, target), target, body, headers, over)
        except (OSError, HTTPException, ValueError) as error:
            if over.is_set():
                raise NotSent(f"no answer within {self.total_seconds:g} seconds") from error
            raise NotSent(_reason(error)) from error

    def _connect(self, target: SplitResult) -> socket.socket:
        """A connection to the first of the checked addresses that takes one."""
        if target.scheme != "https" and not self.allow_private:
            raise NotSent("the address is not https://")
        host, port = target.hostname or "", target.port or PORTS[target.scheme]
        addresses = self._looked_up(host, port)
        wrong = [address for address in addresses if not (self.allow_private or is_public(address))]
        if wrong or not addresses:
            raise NotSent(
                f"{host} stands for {wrong[0]}, which is not public" if wrong else f"{host} has no address"
            )
        until = time.monotonic() + self.connect_seconds
        for address in addresses:
            left = max(until - time.monotonic(), 0.001)
            try:
                return socket.create_connection((address, port), timeout=left)
            except OSError as error:
                failed = error
        raise failed

    def _looked_up(self, host: str, port: int) -> Sequence[str]:
        """In a thread of its own: the system's resolver takes as long as it likes, and nothing can stop it."""
        found: Future[Sequence[str]] = Future()

        def look() -> None:
            try:
                found.set_result(self.resolve(host, port))
            except Exception as error:
                found.set_exception(error)

        threading.Thread(target=look, daemon=True).start()
        try:
            return found.result(self.connect_seconds)
        except (OSError, UnicodeError) as error:
            raise NotSent(f"the name {host} cannot be resolved") from error

    def _secured(self, plain: socket.socket, target: SplitResult) -> socket.socket:
        """The certificate must be that of the name, whichever address was connected to."""
        sock = plain
        plain.settimeout(self.connect_seconds)
        if target.scheme == "https":
            sock = self.trust().wrap_socket(plain, server_hostname=target.hostname)
        sock.settimeout(self.total_seconds)
        return sock


@contextmanager
def _cut_off(plain: socket.socket, seconds: float, over: threading.Event) -> Iterator[None]:
    """After so many seconds whoever waits for the other side finds the connection at its end, and `over` is set.

    A timeout of the socket would begin anew with every byte that comes. It is the connection that is shut down, over a
    descriptor of its own, so that TLS may have taken the socket over meanwhile.
    """
    handle = plain.dup()

    def shut() -> None:
        over.set()
        with suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(seconds, 0), shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        handle.close()


def _exchange(
    sock: socket.socket,
    target: SplitResult,
    body: bytes,
    headers: Mapping[str, str],
    over: threading.Event,
) -> Answer:
    connection = HTTPConnection(target.hostname or "")
    connection.sock = sock
    with closing(connection):
        path = target._replace(scheme="", netloc="", path=target.path or "/", fragment="").geturl()
        connection.request("POST", path, body, {**headers, **_of_address(target)})
        with connection.getresponse() as response:
            if over.is_set():  # a head that was cut off passes for a whole one
                raise TimeoutError
            return Answer(response.status, _beginning(response), response.getheader("Retry-After"))


def _of_address(target: SplitResult) -> dict[str, str]:
    """The headers that the address gives: its host, and the user and password that may stand in it."""
    user, at, host = target.netloc.rpartition("@")
    proof = b64encode(unquote(user).encode()).decode()
    return {"Host": host, "Connection": "close"} | ({"Authorization": f"Basic {proof}"} if at else {})


def _beginning(response: HTTPResponse) -> str:
    """The status has said it all, so what goes wrong here is no fault; NUL is what no database takes."""
    read = b""
    with suppress(OSError, HTTPException):
        read = response.read(READ_BYTES)
    return read.decode("utf-8", "replace").replace("\0", "\ufffd")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate was refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"what came is no answer ({type(error).__name__})"
