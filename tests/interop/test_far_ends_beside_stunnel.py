"""Far ends and sockets: the same text, run by stunnel and by Culvert, leads to the same places.

What differs on purpose stands in DIFFERENT, with the reason; docs/migration.md tells it to operators.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.daemon.scene import context
from tests.interop.beside import KINDS, PATIENCE, logged, sections, until
from tests.pki import Pki
from tests.proxies import Kind
from tests.proxies.procfs import is_listening, tree

pytestmark = [pytest.mark.integration, pytest.mark.interop]

TEXT = """\
foreground = quiet
pid =
syslog = no
debug = info
output = @FOLDER@/log
cert = @CERT@
[prio]
accept = 127.0.0.1:@prio@
connect = 127.0.0.1:@dead@
connect = 127.0.0.1:@one@
connect = 127.0.0.1:@two@
failover = prio
[first]
accept = 127.0.0.1:@first@
connect = 127.0.0.1:@one@
connect = 127.0.0.1:@two@
connect = 127.0.0.1:@three@
[ring]
accept = 127.0.0.1:@ring@
connect = 127.0.0.1:@one@
connect = 127.0.0.1:@two@
connect = 127.0.0.1:@three@
failover = rr
[none]
accept = 127.0.0.1:@none@
connect = 127.0.0.1:@dead@
connect = 127.0.0.1:@dead@
[local]
accept = 127.0.0.1:@local@
connect = 127.0.0.1:@one@
local = 127.0.0.7
[slow]
accept = 127.0.0.1:@slow@
connect = 127.0.0.1:@full@
connect = 127.0.0.1:@two@
TIMEOUTconnect = 1
failover = prio
[late]
accept = 127.0.0.1:@late@
delay = yes
connect = localhost:@one@
[unix]
accept = @FOLDER@/near.sock
connect = @FOLDER@/far.sock
[options]
accept = 127.0.0.1:@options@
connect = 127.0.0.1:@one@
socket = l:SO_KEEPALIVE=1
socket = l:TCP_KEEPIDLE=77
socket = l:IP_TOS=16
socket = r:SO_KEEPALIVE=1
socket = r:TCP_KEEPIDLE=88
socket = r:TCP_KEEPINTVL=9
socket = r:TCP_KEEPCNT=3
socket = r:SO_OOBINLINE=0
[usual]
accept = 127.0.0.1:@usual@
connect = 127.0.0.1:@one@
"""
PORTS = ("prio", "first", "ring", "none", "local", "slow", "late", "options", "usual")

DIFFERENT: dict[str, dict[Kind, int]] = {
    # Peers that have vanished are noticed in minutes without a line in the file.
    "SO_KEEPALIVE": {Kind.STUNNEL: 0, Kind.CULVERT: 1},
    "TCP_USER_TIMEOUT": {Kind.STUNNEL: 0, Kind.CULVERT: 300_000},
}


class Named:
    """Plain services that say their name and the address that they see, on TCP and one on a Unix socket."""

    def __init__(self, unix: Path) -> None:
        self._selector = selectors.DefaultSelector()
        self.ports: dict[str, int] = {}
        for name in ("one", "two", "three"):
            listener = socket.create_server(("127.0.0.1", 0), backlog=100)
            self.ports[name] = listener.getsockname()[1]
            self._selector.register(listener, selectors.EVENT_READ, name)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(unix))
        listener.listen()
        self._selector.register(listener, selectors.EVENT_READ, "unix")
        self._waker, self._wake = socket.socketpair()
        self._selector.register(self._waker, selectors.EVENT_READ)
        self._open = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def wait_idle(self) -> None:
        """Until every connection has been closed: sockets of this process are counted after each test."""
        until(lambda: self._open == 0, "a connection stays open")

    def close(self) -> None:
        self._wake.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _run(self) -> None:
        """Say it, and close when the other side has: until then its sockets can be looked at."""
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._waker:
                    return
                if key.data:
                    accepted, peer = sock.accept()
                    self._open += 1
                    accepted.sendall(f"{key.data} {peer[0] if peer else '-'}\n".encode())
                    self._selector.register(accepted, selectors.EVENT_READ)
                else:
                    self._selector.unregister(sock)
                    sock.close()
                    self._open -= 1


@contextmanager
def full() -> Iterator[int]:
    """A port of 127.0.0.1 that answers no SYN, for its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield listener.getsockname()[1]


class Running:
    """One of the two, with all sections."""

    def __init__(
        self,
        kind: Kind,
        pki: Pki,
        folder: Path,
        places: dict[str, tuple[str, int] | str],
        number: int,
        far: Named,
    ) -> None:
        self.kind, self.log, self.places, self.number = kind, folder / "log", places, number
        self._pki, self._far = pki, far

    @contextmanager
    def open(self, name: str) -> Iterator[tuple[socket.socket, str]]:
        """A tunnel, and what the service behind it says; empty when there is none."""
        place = self.places[name]
        with socket.socket(socket.AF_UNIX if isinstance(place, str) else socket.AF_INET) as raw:
            raw.settimeout(PATIENCE)
            raw.connect(place)
            believes = context(self._pki)
            with believes.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as tunnel:
                try:
                    said = tunnel.recv(100).decode().strip()
                except OSError:
                    said = ""
                yield tunnel, said
        self._far.wait_idle()

    def asked(self, name: str) -> str:
        with self.open(name) as (_, said):
            return said


@pytest.fixture(scope="module", params=KINDS, ids=[kind.value for kind in KINDS])
def daemon(
    request: pytest.FixtureRequest, pki: Pki, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    kind: Kind = request.param
    folder = tmp_path_factory.mktemp(kind.value)
    with ExitStack() as stack:
        named = Named(folder / "far.sock")
        stack.callback(named.close)
        dead = stack.enter_context(socket.socket())
        dead.bind(("127.0.0.1", 0))
        far = {**named.ports, "dead": dead.getsockname()[1], "full": stack.enter_context(full())}
        text = TEXT.replace("@CERT@", str(pki.server.both))
        for name, port in far.items():
            text = text.replace(f"@{name}@", str(port))
        one_worker = ("taskset", "-c", str(min(os.sched_getaffinity(0))))  # turns are each worker's own
        proxy, places = stack.enter_context(sections(kind, text, folder, PORTS, one_worker))
        unix = str(folder / "near.sock")
        until(lambda: is_listening(unix), "the Unix socket is not there")
        yield Running(kind, pki, folder, {**places, "unix": unix}, proxy.process.pid, named)


def test_prio_takes_the_first_that_answers(daemon: Running) -> None:
    assert [daemon.asked("first") for _ in range(3)] == ["one 127.0.0.1"] * 3
    assert [daemon.asked("prio") for _ in range(3)] == ["one 127.0.0.1"] * 3
    logged(daemon.log, r"LOG6.*failover: priority, starting at entry #0")
    logged(daemon.log, r"LOG3.*s_connect: connect 127\.0\.0\.1:\d+: Connection refused \(111\)")


def test_rr_goes_round(daemon: Running) -> None:
    found = [daemon.asked("ring").split()[0] for _ in range(6)]
    start = ("one", "two", "three").index(found[0])
    assert found == (["one", "two", "three"] * 3)[start : start + 6]
    logged(daemon.log, r"LOG6.*failover: round-robin, starting at entry #\d")


def test_when_nobody_answers_the_client_is_reset(daemon: Running) -> None:
    assert daemon.asked("none") == ""
    logged(daemon.log, r"LOG3.*No more addresses to connect")
    logged(daemon.log, r"LOG5.*Connection reset")


def test_local_is_where_connections_come_from(daemon: Running) -> None:
    assert daemon.asked("local") == "one 127.0.0.7"


def test_an_address_that_does_not_answer_costs_its_timeout_and_the_next_is_tried(daemon: Running) -> None:
    assert daemon.asked("slow") == "two 127.0.0.1"
    logged(daemon.log, r"LOG3.*s_connect: s_poll_wait 127\.0\.0\.1:\d+: TIMEOUTconnect exceeded")


def test_a_name_that_is_looked_up_late_is_found(daemon: Running) -> None:
    assert daemon.asked("late").split()[0] == "one"


def test_unix_sockets_on_both_sides(daemon: Running) -> None:
    assert daemon.asked("unix").split()[0] == "unix"


# Socket options, read back from the sockets of the daemon


class Sockets:
    """Copies of two sockets of the daemon: `near` was accepted from a client, `far` leads to the service."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far


_PIDFD_GETFD = 438  # pidfd_getfd(2)


@contextmanager
def sockets_of(daemon: Running, client: socket.socket) -> Iterator[Sockets]:
    libc = ctypes.CDLL(None, use_errno=True)
    near_peer = client.getsockname()
    with ExitStack() as stack:
        found: list[socket.socket] = []
        for pid in tree(daemon.number):
            handle = os.pidfd_open(pid)
            stack.callback(os.close, handle)
            for name in os.listdir(f"/proc/{pid}/fd"):
                if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                    continue
                copy = libc.syscall(_PIDFD_GETFD, handle, int(name), 0)
                if copy < 0:
                    pytest.skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
                found.append(stack.enter_context(socket.socket(fileno=copy)))
        established = [each for each in found if each.family == socket.AF_INET and _peer(each)]
        near = next(each for each in established if _peer(each) == near_peer)
        far = next(each for each in established if each.getsockname()[1] != near.getsockname()[1])
        yield Sockets(near, far)


def _peer(sock: socket.socket) -> object:
    try:
        return sock.getpeername()
    except OSError:
        return None


NEAR = {("SOL_SOCKET", "SO_KEEPALIVE"): 1, ("IPPROTO_TCP", "TCP_KEEPIDLE"): 77, ("IPPROTO_IP", "IP_TOS"): 16}
FAR = {
    ("SOL_SOCKET", "SO_KEEPALIVE"): 1,
    ("IPPROTO_TCP", "TCP_KEEPIDLE"): 88,
    ("IPPROTO_TCP", "TCP_KEEPINTVL"): 9,
    ("IPPROTO_TCP", "TCP_KEEPCNT"): 3,
    ("SOL_SOCKET", "SO_OOBINLINE"): 0,
}


def read_back(sock: socket.socket, names: tuple[str, str]) -> int:
    return sock.getsockopt(getattr(socket, names[0]), getattr(socket, names[1]))


def test_socket_options_are_on_the_sockets(daemon: Running) -> None:
    with daemon.open("options") as (client, _), sockets_of(daemon, client) as found:
        assert {names: read_back(found.near, names) for names in NEAR} == NEAR
        assert {names: read_back(found.far, names) for names in FAR} == FAR


def test_socket_options_that_nobody_names(daemon: Running) -> None:
    with daemon.open("usual") as (client, _), sockets_of(daemon, client) as found:
        for sock in (found.near, found.far):
            assert read_back(sock, ("IPPROTO_TCP", "TCP_NODELAY")) == 1
            for name, level in (("SO_KEEPALIVE", "SOL_SOCKET"), ("TCP_USER_TIMEOUT", "IPPROTO_TCP")):
                assert read_back(sock, (level, name)) == DIFFERENT[name][daemon.kind]
