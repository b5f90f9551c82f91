"""`sni` in the daemon, with several workers: every name reaches its own service, and only that."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.daemon.scene import PATIENCE, culvert, reload, rewrite
from tests.interop.conftest import run
from tests.pki import Identity, Pki
from tests.proxies.running import Proxy

pytestmark = pytest.mark.integration


class Sign:
    """A service that says its name to everybody."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock, suppress(OSError):  # a visitor need not say good-bye
                sock.settimeout(PATIENCE)
                sock.sendall(self._name)
                while sock.recv(100):
                    pass


VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def configuration(pki: Pki, places: dict[str, Sign]) -> str:
    """Sections in the order in which their patterns count."""
    return f"""\
foreground = yes
syslog = no
debug = debug
workers = 2
cert = {pki.server.both}
[main]
accept = 127.0.0.1:@PORT@
connect = 127.0.0.1:{places["main"].port}
debug = info
[exact]
sni = main:www.example.com
sni = main:mail.example.com
cert = {pki.chained.both}
cert = {pki.server_rsa.both}
connect = 127.0.0.1:{places["exact"].port}
TIMEOUTidle = 1
[closed]
sni = main:closed.example.com
connect = 127.0.0.1:{places["closed"].port}
deny = 127.0.0.0/8
[quiet]
sni = main:quiet.example.com
connect = 127.0.0.1:{places["quiet"].port}
debug = err
[members]
sni = main:members.example.com
connect = 127.0.0.1:{places["members"].port}
verifyChain = yes
CAfile = {pki.ca}
[wild]
sni = main:*.example.com
cert = {pki.wrong_name.both}
connect = 127.0.0.1:{places["wild"].port}
[late]
sni = main:late.example.com
connect = 127.0.0.1:{places["main"].port}
"""


@pytest.fixture(scope="module")
def daemon(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with ExitStack() as stack:
        places = {}
        for name in ("main", "exact", "closed", "quiet", "members", "wild"):
            places[name] = Sign(name.encode())
            stack.callback(places[name].close)
        text = configuration(pki, places)
        yield stack.enter_context(culvert(text, tmp_path_factory.mktemp("hosting")))


def believing(version: str = "TLSv1.3", identity: Identity | None = None) -> ssl.SSLContext:
    """A client that believes everything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = VERSIONS[version]
    if identity is not None:
        context.load_cert_chain(str(identity.both))
    return context


def visit(
    proxy: Proxy, name: str | None, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[bytes, bytes | None, ssl.SSLSession | None]:
    """What the far end says, which certificate was shown, and the session."""
    with (
        socket.create_connection(proxy.address, PATIENCE) as raw,
        context.wrap_socket(raw, server_hostname=name, session=session, suppress_ragged_eofs=False) as tunnel,
    ):
        said = tunnel.recv(100)
        return said, tunnel.getpeercert(binary_form=True), tunnel.session


def der(identity: Identity) -> bytes:
    return ssl.PEM_cert_to_DER_cert(identity.pem.decode())


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("www.example.com", "exact"),
        ("mail.example.com", "exact"),
        ("WWW.Example.COM", "exact"),
        ("other.example.com", "wild"),
        ("a.b.example.com", "wild"),
        ("late.example.com", "wild"),  # the pattern of [wild] stands before
        ("www.example.com.", "main"),
        ("example.com", "main"),
        ("xn--bcher-kva.example", "main"),
        (".".join(["x" * 63] * 3 + ["y" * 62]), "main"),
        (None, "main"),
    ],
)
@pytest.mark.parametrize("version", list(VERSIONS))
def test_a_name_reaches_its_service_and_is_shown_its_certificate(
    daemon: Proxy, pki: Pki, version: str, name: str | None, place: str
) -> None:
    shown = {"exact": (pki.chained, pki.server_rsa), "wild": (pki.wrong_name,), "main": (pki.server,)}
    said, certificate, _ = visit(daemon, name, believing(version))
    assert said == place.encode()
    assert certificate in [der(each) for each in shown[place]]


def since(daemon: Proxy, mark: int) -> list[str]:
    """The lines of the log from a place in it, without their heads."""
    return [line.partition("]: ")[2] for line in daemon.output[mark:].splitlines()]


def test_the_log_says_what_was_asked_for_and_where_it_led(daemon: Proxy) -> None:
    mark, finished = len(daemon.output), "Service [exact] finished"
    before = daemon.output.count(finished)
    visit(daemon, "mail.example.com", believing())
    daemon.wait_line(re.escape(finished), count=before + 1)
    lines = since(daemon, mark)
    start = lines.index("SNI: requested servername: mail.example.com")
    # [main] logs up to info; the lines of [exact] up to debug begin when it was chosen.
    assert lines[start + 1] == "SNI: switched to service [exact]"
    assert "Compression: null, expansion: null" in lines[start:]
    assert any(line.startswith("Service [exact] connected remote server from") for line in lines)
    assert any("byte(s) sent to TLS" in line for line in lines)


def test_the_log_says_that_no_pattern_fits(daemon: Proxy) -> None:
    visit(daemon, "nobody.example.net", believing())
    daemon.wait_line("LOG3")
    assert "SNI: no pattern matched servername: nobody.example.net" in daemon.output
    visit(daemon, None, believing())
    daemon.wait_line("SNI: no servername received")


def test_the_log_of_a_quiet_service_ends_with_the_switch(daemon: Proxy) -> None:
    mark = len(daemon.output)
    assert visit(daemon, "quiet.example.com", believing())[0] == b"quiet"
    visit(daemon, "www.example.com", believing())
    daemon.wait_line(r"SNI: switched to service \[quiet\]")
    assert not [line for line in since(daemon, mark) if line.startswith("Service [quiet]")]


def test_a_service_lets_in_whom_it_wants_to(daemon: Proxy) -> None:
    with pytest.raises(OSError, match=r"reset|EOF"):
        visit(daemon, "closed.example.com", believing())
    daemon.wait_line(r"Service \[closed\] REFUSED by deny")


def test_timers_are_those_of_the_service(daemon: Proxy) -> None:
    """[exact] has a second, [main] the usual twelve hours."""
    context = believing()
    with (
        socket.create_connection(daemon.address, PATIENCE) as raw,
        context.wrap_socket(raw, server_hostname="www.example.com", suppress_ragged_eofs=False) as tunnel,
    ):
        assert tunnel.recv(100) == b"exact"
        with pytest.raises(OSError, match=r"reset|EOF"):
            tunnel.recv(100)
    daemon.wait_line("TIMEOUTidle exceeded")


@pytest.mark.parametrize("version", list(VERSIONS))
def test_members_come_with_a_certificate_each_time(daemon: Proxy, pki: Pki, version: str) -> None:
    """A session of another service does not stand for one, and neither does one of a stranger."""
    stranger, member = believing(version), believing(version, pki.client)
    _, _, session = visit(daemon, "www.example.com", stranger)
    for _ in range(4):  # more often than there are workers
        with pytest.raises(OSError, match=r"alert|reset|EOF"):
            assert visit(daemon, "members.example.com", stranger, session)[0] == b"never"
    said, _, session = visit(daemon, "members.example.com", member)
    assert said == b"members"
    for _ in range(4):
        assert visit(daemon, "members.example.com", member, session)[0] == b"members"
        assert visit(daemon, "www.example.com", member, session)[0] == b"exact"


@pytest.mark.parametrize(("algorithm", "kind"), [("RSA-PSS+SHA256", "RSA-PSS"), ("ECDSA+SHA256", "ECDSA")])
def test_a_service_has_a_certificate_for_each_kind_of_client(
    daemon: Proxy, algorithm: str, kind: str
) -> None:
    done = run(
        "openssl", "s_client", "-connect", f"127.0.0.1:{daemon.port}", "-servername", "www.example.com",
        "-sigalgs", algorithm,
    )  # fmt: skip
    assert f"Peer signature type: {kind}" in done.stdout.decode()


def test_a_bad_certificate_of_one_name_stops_the_reload_at_its_line(pki: Pki, tmp_path: Path) -> None:
    place = Sign(b"there")
    try:
        text = f"""\
foreground = yes
syslog = no
debug = info
workers = 1
[main]
accept = 127.0.0.1:@PORT@
connect = 127.0.0.1:{place.port}
cert = {pki.server.both}
[a]
sni = main:a.example
connect = 127.0.0.1:{place.port}
cert = {pki.chained.both}
"""
        with culvert(text, tmp_path) as daemon:
            rewrite(daemon, text.replace(str(pki.chained.both), "/nowhere"))
            reload(daemon, broken=True)
            assert ":12: cert: cannot read /nowhere" in daemon.output
            assert visit(daemon, "a.example", believing())[1] == der(pki.chained)
            rewrite(daemon, text.replace(str(pki.chained.both), str(pki.wrong_name.both)))
            reload(daemon)
            assert visit(daemon, "a.example", believing())[1] == der(pki.wrong_name)
    finally:
        place.close()
