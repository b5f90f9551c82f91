"""Both ends for the tests of policies: services, handshakes in memory, workers by fork."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from culvert import tls
from culvert.config.model import Service
from culvert.errors import TlsError
from culvert.openssl import Session
from tests.openssl.memory import End, Ours, Theirs, carry, shake
from tests.pki import Pki

DEADLINE = 10.0
"""Seconds that a handshake with another process may take."""


def server(pki: Pki, **options: Any) -> Service:
    """A server service with the test authority's certificate."""
    return Service(**{"name": "server", "cert": (str(pki.server.both),), **options})


def client(**options: Any) -> Service:
    return Service(**{"name": "client", "client": True, **options})


class Log:
    """Collects the lines of one connection."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []

    def __call__(self, level: int, text: str) -> None:
        self.lines.append((level, text))

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.lines]


def connect(
    near: tls.TlsPolicy, far: tls.TlsPolicy, destination: str = "there:443", log: Log | None = None
) -> tuple[Ours, Ours]:
    """A finished handshake of two policies: client end and server end."""
    ends = Ours(near.session(destination, log)), Ours(far.session(None, log))
    shake(*ends)
    return ends


def part(*ends: End) -> None:
    """End a connection in order, so that its sessions stay good."""
    first, second = ends
    for end in ends:
        end.shutdown()
    carry(first, second)
    for end in ends:
        end.close()


def python_client(
    pki: Pki, *, version: ssl.TLSVersion | None = None, tickets: bool = True, identity: bool = False
) -> ssl.SSLContext:
    """Python's own client, which trusts the test authority."""
    context = ssl.create_default_context(cafile=str(pki.ca))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    if identity:
        context.load_cert_chain(str(pki.client.both))
    return context


class Worker:
    """A forked process that serves ``count`` connections of a policy that was made before the fork."""

    def __init__(self, policy: tls.TlsPolicy, count: int) -> None:
        pairs = [socket.socketpair() for _ in range(count)]
        self._answers, answers = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                for near, _ in pairs:
                    near.close()
                for _, far in pairs:
                    os.write(answers, json.dumps(_serve(policy, far)).encode() + b"\n")
                code = 0
            finally:
                os._exit(code)
        os.close(answers)
        for _, far in pairs:
            far.close()
        self._sockets = [near for near, _ in pairs]
        self._lines = os.fdopen(self._answers)

    def talk(self, end: End) -> dict[str, Any]:
        """One connection through ``end``; gives what the worker saw.  ``end`` has its tickets afterwards."""
        with self._sockets.pop(0) as link:
            link.settimeout(DEADLINE)
            _converse(end, link)
            end.shutdown()
            link.sendall(end.to_send())
            link.shutdown(socket.SHUT_WR)  # workers forked later hold the socket, too
            answer: dict[str, Any] = json.loads(self._lines.readline())
        end.close()
        return answer

    def close(self) -> None:
        for link in self._sockets:
            link.shutdown(socket.SHUT_RDWR)
            link.close()
        self._lines.close()
        os.waitpid(self.pid, 0)


@contextmanager
def workers(policy: tls.TlsPolicy, counts: tuple[int, ...]) -> Iterator[list[Worker]]:
    """Forked workers, one for each count of connections; reaped at the end."""
    forked = [Worker(policy, count) for count in counts]
    try:
        yield forked
    finally:
        for worker in forked:
            worker.close()


def forked(count: int, work: Callable[[int], list[str]]) -> list[str]:
    """What ``count`` processes bring back, all together."""
    children = []
    for child in range(count):
        answers, answer = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                with os.fdopen(answer, "w") as out:
                    json.dump(work(child), out)
                code = 0
            finally:
                os._exit(code)
        os.close(answer)
        children.append((pid, answers))
    found: list[str] = []
    for pid, answers in children:
        with os.fdopen(answers) as lines:
            found += json.load(lines)
        assert os.waitpid(pid, 0)[1] == 0
    return found


def _converse(end: End, link: socket.socket) -> None:
    got = b""
    while not got:
        if end.done:
            got = end.read()
            if got:
                break
        else:
            end.handshake()
            if end.done:
                link.sendall(end.to_send())
                continue
        if waiting := end.to_send():
            link.sendall(waiting)
        data = link.recv(1 << 16)
        if not data:
            raise ConnectionError("the worker left")
        end.receive(data)
    assert got == b"welcome"


def _serve(policy: tls.TlsPolicy, link: socket.socket) -> dict[str, Any]:
    end = Ours(policy.session(None, Log()))
    answer: dict[str, Any] = {}
    with link:
        while data := link.recv(1 << 16):
            end.receive(data)
            try:
                if not end.done:
                    end.handshake()
                    if end.done:
                        end.write(b"welcome")
                        answer = facts(end.session)
                else:
                    end.read()
            except TlsError as error:
                answer = {"failed": error.reason}
            link.sendall(end.to_send())
            if "failed" in answer:
                break
    end.shutdown()
    end.close()
    return answer


def facts(session: Session) -> dict[str, Any]:
    """What a server knows of a connection."""
    peer = session.peer_certificate
    return {
        "version": session.version,
        "resumed": session.resumed,
        "id": session.id.hex(),
        "random": session.server_random.hex(),
        "peer": peer.subject if peer else None,
        "verify": session.verify_result,
        "vouched": session.vouched,
    }


def resumed(make: Callable[[ssl.SSLSession | None], Theirs], far: tls.TlsPolicy) -> bool:
    """Whether a second connection resumes the first; both in memory."""
    saved: ssl.SSLSession | None = None
    again = False
    for _ in range(2):
        near, end = make(saved), Ours(far.session())
        shake(near, end)
        saved, again = near.object.session, end.session.resumed
        part(near, end)
    return again
