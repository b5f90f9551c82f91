"""OCSP with other programs: OpenSSL as responder, server and client, GnuTLS, and stunnel beside us."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.daemon.scene import PATIENCE, Echo, ask, echoing
from tests.interop.conftest import Start, run, spawned, verified
from tests.pki import Identity, Pki
from tests.proxies import Kind, Proxy
from tests.proxies.running import reserved_port
from tests.responders import answer, openssl_responder

pytestmark = [pytest.mark.interop, pytest.mark.integration]

STATUSES = ("good", "revoked", "unknown")


@pytest.fixture(scope="module")
def people(pki: Pki) -> Iterator[dict[str, Identity]]:
    """Three whose certificates name `openssl ocsp`: `good`, `revoked`, and one that it has never heard of."""

    def issued(url: str) -> Sequence[tuple[Identity, str]]:
        return [(pki.issue(f"ocsp-{status}", responders=(url,)), status) for status in STATUSES]

    with openssl_responder(pki, pki.root, issued) as known:
        yield dict(zip(STATUSES, known, strict=True))


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as far:
        yield far


def admitted(connect: Callable[[], socket.socket]) -> bool:
    """Whether a connection gets through to the echo."""
    try:
        with connect() as tunnel:
            tunnel.settimeout(PATIENCE)
            ask(tunnel)  # type: ignore[arg-type]
    except (OSError, AssertionError):
        return False
    return True


def shown(pki: Pki, proxy: Proxy, identity: Identity) -> ssl.SSLSocket:
    """A connection to a TLS server as this client."""
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.load_cert_chain(str(identity.both))
    raw = socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE)
    return context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)


@pytest.mark.parametrize("kind", [Kind.CULVERT, Kind.STUNNEL])
def test_a_server_asks_about_its_clients_as_stunnel_does(
    start: Start, pki: Pki, people: dict[str, Identity], echo: Echo, kind: Kind
) -> None:
    rules = {"CAfile": str(pki.ca), "verifyChain": "yes", "OCSPaia": "yes"}
    proxy = start(kind, "server", ("127.0.0.1", echo.port), **rules)
    got = [admitted(lambda each=each: shown(pki, proxy, each)) for each in people.values()]  # type: ignore[misc]
    assert got == [True, False, False]
    proxy.wait_line("Rejected by OCSP at depth=0: C=PL, O=Culvert Tests, CN=ocsp-revoked")


@pytest.mark.parametrize("kind", [Kind.CULVERT, Kind.STUNNEL])
@pytest.mark.parametrize("status", STATUSES)
def test_a_client_asks_about_its_server_as_stunnel_does(
    start: Start, pki: Pki, people: dict[str, Identity], echo: Echo, kind: Kind, status: str
) -> None:
    far = start(Kind.CULVERT, "server", ("127.0.0.1", echo.port), cert=str(people[status].both))
    near = start(kind, "client", ("127.0.0.1", far.port), **verified(pki), OCSPaia="yes")
    place = ("127.0.0.1", near.port)
    assert admitted(lambda: socket.create_connection(place, timeout=PATIENCE)) is (status == "good")


@pytest.fixture
def stapling(start: Start, pki: Pki, people: dict[str, Identity], echo: Echo) -> Proxy:
    """Culvert with a certificate that its issuer stands by, and the answer that says so."""
    files = {"cert": str(people["good"].both), "CAfile": str(pki.ca)}
    proxy = start(Kind.CULVERT, "server", ("127.0.0.1", echo.port), {"debug": "debug"}, **files)
    proxy.wait_line("OCSP: Response cached")
    return proxy


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client_receives_the_stapled_answer(stapling: Proxy, pki: Pki, version: str) -> None:
    there = f"127.0.0.1:{stapling.port}"
    done = run("openssl", "s_client", "-connect", there, "-CAfile", pki.ca, "-status", version)
    assert b"OCSP Response Status: successful" in done.stdout
    assert b"Cert Status: good" in done.stdout


def test_gnutls_checks_the_stapled_answer(stapling: Proxy, pki: Pki) -> None:
    done = run("gnutls-cli", "--x509cafile", pki.ca, "--ocsp", "--port", str(stapling.port), "localhost")
    assert done.returncode == 0, done.stderr
    assert b"OCSP status request" in done.stdout
    stapling.wait_line("OCSP stapling: OCSP response sent back")


@contextlib.contextmanager
def s_server(shown: Identity, *options: str | Path) -> Iterator[int]:
    """`openssl s_server` that sends back what it gets, on its port."""
    with reserved_port() as port:
        files = ("-cert", shown.cert, "-key", shown.key)
        with spawned(
            "openssl", "s_server", "-accept", f"127.0.0.1:{port}", *files, "-rev", *options
        ) as process:
            assert process.stdout is not None
            assert any(b"ACCEPT" in line for line in process.stdout)
            yield port


def reversed_by(near: Proxy) -> bool:
    """Whether the far end, which sends lines back turned round, is reached."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", near.port), PATIENCE) as tunnel:
        tunnel.settimeout(PATIENCE)
        tunnel.sendall(b"hello\n")
        return tunnel.recv(64) == b"olleh\n"
    return False


@pytest.mark.parametrize(("status", "passes"), [("good", True), ("revoked", False), ("unknown", False)])
def test_the_stapled_answer_of_s_server_is_judged(start: Start, pki: Pki, status: str, passes: bool) -> None:
    file = pki.write(f"staple-{status}.der", answer(pki.server, pki.root, status))
    with s_server(pki.server, "-status_file", file) as port:
        near = start(Kind.CULVERT, "client", ("127.0.0.1", port), **verified(pki))
        assert reversed_by(near) is passes
        near.wait_line(f"OCSP: Status: {status}")


def test_s_server_may_fetch_the_answer_itself(start: Start, pki: Pki, people: dict[str, Identity]) -> None:
    with s_server(people["revoked"], "-status", "-CAfile", pki.ca) as port:
        near = start(Kind.CULVERT, "client", ("127.0.0.1", port), **verified(pki))
        assert not reversed_by(near)
        near.wait_line("OCSP: Rejected \\(revoked\\)")
