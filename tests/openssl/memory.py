"""Handshakes without sockets: a Session of ours and an SSLObject of Python's ``ssl``, joined by memory."""

from __future__ import annotations

import ssl
from contextlib import suppress

from culvert.errors import TlsError
from culvert.openssl import Session
from culvert.openssl._errors import check_pointer, fail
from culvert.openssl._lib import ffi, lib

SIZE = 1 << 16


class Ours:
    """Drives a Session; stands where the engine stands in the daemon.

    accepts: the peer is accepted at the end of its handshake, as a tunnel does where no issuer objects.
    """

    def __init__(self, session: Session, *, accepts: bool = True) -> None:
        self.session = session
        self._accepts = accepts
        self._inbox = check_pointer(lib.BIO_new(lib.BIO_s_mem()), "allocate memory")
        self._outbox = check_pointer(lib.BIO_new(lib.BIO_s_mem()), "allocate memory")
        lib.SSL_set_bio(session._ssl, self._inbox, self._outbox)
        self.done = False

    def receive(self, data: bytes) -> None:
        if data:
            assert lib.BIO_write(self._inbox, data, len(data)) == len(data)

    def to_send(self) -> bytes:
        buffer = ffi.new("char[]", SIZE)
        count = lib.BIO_read(self._outbox, buffer, SIZE)
        return bytes(ffi.buffer(buffer, max(count, 0)))

    def handshake(self) -> None:
        """One step; raises TlsError when it failed."""
        lib.ERR_clear_error()
        result = lib.SSL_do_handshake(self.session._ssl)
        self.done = result == 1
        self._expect(result, "shake hands")
        if self.done and self._accepts:
            self.session.accept()

    def read(self) -> bytes:
        lib.ERR_clear_error()
        buffer = ffi.new("char[]", SIZE)
        count = lib.SSL_read(self.session._ssl, buffer, SIZE)
        self._expect(count, "read")
        return bytes(ffi.buffer(buffer, max(count, 0)))

    def write(self, data: bytes) -> None:
        lib.ERR_clear_error()
        self._expect(lib.SSL_write(self.session._ssl, data, len(data)), "write")

    def shutdown(self) -> None:
        lib.SSL_shutdown(self.session._ssl)

    def close(self) -> None:
        self.session.close()

    def _expect(self, result: int, doing: str) -> None:
        if result <= 0 and lib.SSL_get_error(self.session._ssl, result) not in (
            lib.SSL_ERROR_WANT_READ,
            lib.SSL_ERROR_WANT_WRITE,
            lib.SSL_ERROR_ZERO_RETURN,
        ):
            fail(doing)


class Theirs:
    """Drives an ssl.SSLObject behind the same verbs."""

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server: bool = False,
        name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._inbox, self._outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(
            self._inbox, self._outbox, server_side=server, server_hostname=name, session=session
        )
        self.done = False

    def receive(self, data: bytes) -> None:
        self._inbox.write(data)

    def to_send(self) -> bytes:
        return self._outbox.read()

    def handshake(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self.object.do_handshake()
            self.done = True

    def read(self) -> bytes:
        try:
            return self.object.read(SIZE)
        except ssl.SSLWantReadError:
            return b""

    def write(self, data: bytes) -> None:
        self.object.write(data)

    def shutdown(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self.object.unwrap()

    def close(self) -> None:
        pass


End = Ours | Theirs


def carry(one: End, other: End) -> bool:
    """Move what waits, both ways; False when nothing did."""
    there, back = one.to_send(), other.to_send()
    other.receive(there)
    one.receive(back)
    return bool(there or back)


def shake(client: End, server: End) -> None:
    """Run a handshake to its end, tickets included.  Raises what the first failing side raises."""
    while not (client.done and server.done):
        for end in (client, server):
            if not end.done:
                end.handshake()
            carry(client, server)
    talk(server, client, b"welcome")  # brings TLS 1.3 tickets and late alerts
    talk(client, server, b"thanks")


def talk(sender: End, receiver: End, data: bytes) -> None:
    sender.write(data)
    carry(sender, receiver)
    assert receiver.read() == data


def failing(client: End, server: End) -> str:
    """The reason for which a handshake failed, as our side has it; fails when it succeeded."""
    ours: str | None = None
    theirs: str | None = None
    for _ in range(8):
        for end in (client, server):
            try:
                end.handshake() if not end.done else end.read()
            except TlsError as error:
                ours = ours or error.reason
            except ssl.SSLError as error:
                theirs = theirs or str(error)
            carry(client, server)
    assert ours or theirs, "the handshake succeeded"
    return ours or f"peer: {theirs}"
