"""What goes out: where it may go, that it goes where was checked, and that nobody keeps it waiting. Real sockets."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.outgoing import READ_BYTES, Answer, NotSent, Sender, is_public, look_up, without_secrets
from tests.support.receivers import Inbox, Reply, certificate, listening, read_request, speaking

BODY = b'{"type": "analysis.queued"}'
NAME = "hooks.example"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def here(_host: str, _port: int) -> Sequence[str]:
    return ["127.0.0.1"]


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with listening() as found:
        yield found


@pytest.fixture
def talking() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """talking(talk): the address of a receiver that reads a request and then says what `talk` says."""
    with ExitStack() as stack:
        yield lambda talk: f"http://{NAME}:{stack.enter_context(speaking(talk))}/"


def send(url: str, **rules: object) -> Answer:
    return Sender(**{"allow_private": True, "resolve": here, **rules}).post(url, BODY, {"webhook-id": "1"})  # type: ignore[arg-type]


def not_sent(url: str, **rules: object) -> str:
    with pytest.raises(NotSent) as raised:
        send(url, **rules)
    return str(raised.value)


# --- where it may go ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "2606:2800:220:1:248:1893:25c8:1946",
        "::ffff:93.184.216.34",
        "64:ff9b::5db8:d822",
        "2002:5db8:d822::1",
        "2001:0:5db8:d822::a247:27dd",
    ],
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",  # IPv4-compatible
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "2001:db8::1",
        "100::1",
        # carried: mapped, NAT64, 6to4, Teredo by its server and by its client
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::1",
        "2002:c0a8:101::1",
        "2001:0:7f00:1::a247:27dd",
        "2001:0:5db8:d822::80ff:fffe",
    ],
)
def test_addresses_that_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::ffff:127.0.0.1"]])
def test_every_address_of_a_name_must_be_public(inbox: Inbox, addresses: list[str]) -> None:
    told = not_sent(f"https://{NAME}:{inbox.port}/", allow_private=False, resolve=lambda *_: addresses)
    assert told == f"{NAME} stands for {addresses[-1]}, which is not public"
    assert not inbox.received


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "2130706433", "0x7f.1", "localhost", "127.1"])
def test_however_it_is_written(inbox: Inbox, host: str) -> None:
    told = not_sent(f"https://{host}:{inbox.port}/", allow_private=False, resolve=look_up)
    assert "not public" in told or "cannot be resolved" in told
    assert not inbox.received


def test_without_tls_only_where_it_is_allowed(inbox: Inbox) -> None:
    assert "not https" in not_sent(f"http://{NAME}:{inbox.port}/", allow_private=False)
    assert send(f"http://{NAME}:{inbox.port}/").status == 204


def test_names_that_stand_for_nothing() -> None:
    def unknown(*_: object) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert not_sent(f"https://{NAME}/", resolve=unknown) == f"the name {NAME} cannot be resolved"
    assert not_sent(f"https://{NAME}/", resolve=lambda *_: []) == f"{NAME} has no address"
    assert "cannot be resolved" in not_sent(f"https://{'a' * 64}.example/", resolve=look_up)


def test_a_name_is_looked_up_once_and_not_for_long(inbox: Inbox) -> None:
    """A second look could find another address than the one that was checked."""
    asked: list[tuple[str, int]] = []

    def once(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    assert send(f"http://{NAME}:{inbox.port}/", resolve=once).status == 204
    assert asked == [(NAME, inbox.port)]
    stuck = threading.Event()
    told = not_sent(f"http://{NAME}/", resolve=lambda *_: [str(stuck.wait(10))], connect_seconds=0.1)
    stuck.set()
    assert told == f"the name {NAME} cannot be resolved"


def test_an_address_that_takes_nobody_is_passed_over(inbox: Inbox) -> None:
    assert send(f"http://{NAME}:{inbox.port}/", resolve=lambda *_: ["127.0.0.2", "127.0.0.1"]).status == 204
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert not_sent(f"http://{NAME}:{port}/") == "connection refused"


# --- TLS ---------------------------------------------------------------------------------------------------------


def test_tls_asks_for_the_name_at_the_address(tmp_path: Path) -> None:
    server, trusting = certificate(NAME, tmp_path)
    asked: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    with listening(server) as inbox:
        answer = send(f"https://{NAME}:{inbox.port}/in", trust=lambda: trusting)
        assert answer.status == 204 and asked == [NAME]
        assert inbox.received[0].headers["host"] == f"{NAME}:{inbox.port}"
        told = not_sent(f"https://other.example:{inbox.port}/", trust=lambda: trusting)
        assert "the certificate was refused" in told and "other.example" in told
        assert "the certificate was refused" in not_sent(
            f"https://{NAME}:{inbox.port}/"
        )  # nobody vouches for it
        assert len(inbox.received) == 1


def test_what_speaks_no_tls(inbox: Inbox) -> None:
    assert not_sent(f"https://{NAME}:{inbox.port}/").startswith("TLS failed")


# --- what is sent ------------------------------------------------------------------------------------------------


def test_the_request(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Straight to the receiver, whatever proxy the environment names."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    inbox.replies = [Reply(202, b"thank you")]
    answer = send(f"http://ann:p%40ss@{NAME}:{inbox.port}/in/box?token=a%20b")
    assert answer == Answer(202, "thank you", None)
    [got] = inbox.received
    assert (got.method, got.path, got.body) == ("POST", "/in/box?token=a%20b", BODY)
    assert got.headers == {
        "host": f"{NAME}:{inbox.port}",
        "connection": "close",
        "authorization": "Basic YW5uOnBAc3M=",
        "webhook-id": "1",
        "content-length": str(len(BODY)),
        "accept-encoding": "identity",
    }


def test_an_address_without_a_path(inbox: Inbox) -> None:
    assert send(f"http://{NAME}:{inbox.port}").status == 204
    assert inbox.received[0].path == "/"
    assert "authorization" not in inbox.received[0].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(inbox: Inbox, status: int) -> None:
    inbox.replies = [Reply(status, b"", {"Location": f"http://{NAME}:{inbox.port}/elsewhere"})]
    assert send(f"http://{NAME}:{inbox.port}/").status == status
    assert [got.path for got in inbox.received] == ["/"]


def test_what_is_told_of_an_address() -> None:
    assert without_secrets("https://a:b@c.example:8443/in?token=x") == "https://c.example:8443/in"


# --- receivers that misbehave ------------------------------------------------------------------------------------


def quickly(call: Callable[[], object], within: float = 3) -> object:
    started = time.monotonic()
    found = call()
    assert time.monotonic() - started < within
    return found


def drip(connection: socket.socket, text: bytes) -> None:
    """Byte by byte, far more often than any timeout of a socket."""
    for _ in range(500):
        connection.sendall(text)
        time.sleep(0.02)


def test_a_head_that_drips(talking: Callable[..., str]) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        drip(connection, b".")

    told = quickly(lambda: not_sent(talking(talk), total_seconds=0.5))
    assert told == "no answer within 0.5 seconds"


def test_an_endless_row_of_answers_that_are_none_yet(talking: Callable[..., str]) -> None:
    told = quickly(
        lambda: not_sent(
            talking(lambda connection: drip(connection, b"HTTP/1.1 100 Continue\r\n\r\n")), total_seconds=0.5
        )
    )
    assert told == "no answer within 0.5 seconds"


@pytest.mark.parametrize(
    "head", [b"\r\n", b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"]
)
def test_a_body_that_drips(talking: Callable[..., str], head: bytes) -> None:
    """The status is what counts, and it has come."""

    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(HEAD + head)
        drip(connection, b"1\r\n.\r\n" if b"chunked" in head else b".")

    answer = quickly(lambda: send(talking(talk), total_seconds=0.5))
    assert isinstance(answer, Answer) and answer.status == 200


def test_one_that_never_answers(talking: Callable[..., str]) -> None:
    over = threading.Event()
    told = quickly(lambda: not_sent(talking(lambda _: bool(over.wait(10))), total_seconds=0.3))  # type: ignore[arg-type, return-value]
    over.set()
    assert told == "no answer within 0.3 seconds"


def test_one_that_never_shakes_hands(talking: Callable[..., str]) -> None:
    url = talking(lambda connection: drip(connection, b"\x16\x03\x01")).replace("http://", "https://")
    told = quickly(lambda: not_sent(url, connect_seconds=0.3))
    assert str(told).startswith(("TLS failed", "no connection in time"))


def test_one_that_does_not_read(talking: Callable[..., str]) -> None:
    over = threading.Event()
    url = talking(lambda _: bool(over.wait(10)))  # type: ignore[arg-type, return-value]
    sender = Sender(allow_private=True, resolve=here, total_seconds=0.5)
    with pytest.raises(NotSent, match=r"no answer within 0\.5 seconds"):
        quickly(lambda: sender.post(url, b"x" * 50_000_000, {}))
    over.set()


def test_a_large_body_is_left_where_it_is(talking: Callable[..., str]) -> None:
    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    answer = quickly(lambda: send(talking(talk)))
    assert answer == Answer(200, "x" * READ_BYTES, None)


def test_a_reset(talking: Callable[..., str]) -> None:
    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert not_sent(talking(talk)) == "connection reset by peer"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 100_000,
        HEAD + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n",
    ],
)
def test_what_is_no_answer(talking: Callable[..., str], said: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(said)

    assert not_sent(talking(talk)).startswith(("what came is no answer", "connection reset"))


def test_bytes_that_no_database_takes(talking: Callable[..., str]) -> None:
    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(HEAD + b"Retry-After: 7\r\nConnection: close\r\n\r\n\x00\xff\xfe<b>")

    assert send(talking(talk)) == Answer(200, "\ufffd\ufffd\ufffd<b>", "7")
