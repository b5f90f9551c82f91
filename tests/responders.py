"""OCSP responders for tests: answers of every kind, a server that gives them or misbehaves, OpenSSL's."""

from __future__ import annotations

import datetime
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.pki import DAY, Authority, Identity, Pki
from tests.proxies import need_program
from tests.proxies.running import reserved_port

PATIENCE = 15.0
SIGNER = (ExtendedKeyUsageOID.OCSP_SIGNING,)
"""The usages of a certificate that may answer for its issuer."""

_NO_LINGER = struct.pack("ii", 1, 0)

STATUS = {
    "good": ocsp.OCSPCertStatus.GOOD,
    "revoked": ocsp.OCSPCertStatus.REVOKED,
    "unknown": ocsp.OCSPCertStatus.UNKNOWN,
}
TRY_LATER = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(
    serialization.Encoding.DER
)


def answer(
    about: Identity | Authority,
    issuer: Authority,
    status: str = "good",
    *,
    days: tuple[float, float | None] = (-0.1, 1),
    signer: Identity | Authority | None = None,
    digest: hashes.HashAlgorithm | None = None,
    nonce: bytes | None = None,
) -> bytes:
    """An OCSP response in DER.

    days: thisUpdate and nextUpdate, counted from now.  signer: other than the issuer; its certificate goes
    along when it is an Identity.  digest: of the certificate's identifier.
    """
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    by = signer or issuer
    revoked = status == "revoked"
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=about.certificate,
            issuer=issuer.certificate,
            algorithm=digest or hashes.SHA1(),
            cert_status=STATUS[status],
            this_update=now + days[0] * DAY,
            next_update=None if days[1] is None else now + days[1] * DAY,
            revocation_time=now - DAY / 2 if revoked else None,
            revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.NAME, by.certificate)
    )
    if isinstance(by, Identity):
        builder = builder.certificates([by.certificate])
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    made = builder.sign(by.private_key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def nonce_of(question: bytes) -> bytes | None:
    """The nonce of a request."""
    extensions = ocsp.load_der_ocsp_request(question).extensions
    with suppress(x509.ExtensionNotFound):
        return extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    return None


class Hang:
    """A reply that never comes."""


class Reset:
    """A reply that is a reset."""


Reply = bytes | type[Hang] | type[Reset]


def http(body: bytes, status: str = "200 OK") -> bytes:
    """A whole HTTP response."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/ocsp-response\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Responder:
    """An HTTP server on 127.0.0.1, in threads.  ``reply`` is given each question, and may be replaced."""

    def __init__(self, reply: Callable[[bytes], Reply] = lambda _: http(b"")) -> None:
        self.reply = reply
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/ocsp"
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def says(self, body: bytes) -> None:
        """From now on answer with this body."""
        self.reply = lambda _: http(body)

    def wait(self, count: int) -> None:
        """Wait for the count-th question."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= count, PATIENCE), self.asked

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._changed:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self._open.add(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        with sock, suppress(OSError), sock.makefile("rb") as stream:
            size = 0
            while line := stream.readline().strip().lower():
                if line.startswith(b"content-length:"):
                    size = int(line.split(b":")[1])
            question = stream.read(size)
            with self._changed:
                self.asked.append(question)
                self._changed.notify_all()
            self._answer(sock, self.reply(question))
        with self._changed:
            self._open.discard(sock)

    def _answer(self, sock: socket.socket, reply: Reply) -> None:
        if reply is Reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        elif isinstance(reply, bytes):
            sock.sendall(reply)
        else:
            sock.recv(1)


@contextmanager
def responder() -> Iterator[Responder]:
    """A responder for the time of the block."""
    made = Responder()
    try:
        yield made
    finally:
        made.close()


@contextmanager
def openssl_responder(
    pki: Pki, issuer: Authority, issued: Callable[[str], Sequence[tuple[Identity, str]]], *options: str
) -> Iterator[Sequence[Identity]]:
    """`openssl ocsp` for an authority.

    issued: is given the responder's URL, and makes the certificates that it knows of: `good` or `revoked`, or
    `unknown` to it.
    """
    signer = pki.issue(f"ocsp-{issuer.name}", issuer=issuer, usages=SIGNER)
    with reserved_port() as port:
        known = issued(f"http://127.0.0.1:{port}/")
        index = pki.write(f"index-{port}", "".join(_entry(*each) for each in known).encode())
        command = [need_program("openssl"), "ocsp", "-port", str(port), "-index", str(index)]
        command += ["-CA", str(issuer.ca), "-rsigner", str(signer.cert), "-rkey", str(signer.key)]
        command += ["-nmin", "5", *options]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                assert process.stdout is not None
                assert any("ACCEPT" in line for line in process.stdout), "openssl ocsp did not start"
                yield [identity for identity, _ in known]
            finally:
                process.kill()


def _entry(identity: Identity, status: str) -> str:
    """A line of the index file of `openssl ca`."""
    if status == "unknown":
        return ""
    certificate = identity.certificate
    serial = f"{certificate.serial_number:X}"
    serial = serial.rjust(len(serial) + len(serial) % 2, "0")
    end = certificate.not_valid_after_utc.strftime("%y%m%d%H%M%SZ")
    when = (datetime.datetime.now(datetime.UTC) - DAY / 2).strftime("%y%m%d%H%M%SZ")
    state = f"R\t{end}\t{when},keyCompromise" if status == "revoked" else f"V\t{end}\t"
    return f"{state}\t{serial}\tunknown\t/CN={identity.name}\n"
