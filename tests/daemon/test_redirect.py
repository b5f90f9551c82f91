"""`redirect` in the daemon, with several workers: who is bad never reaches `connect`, who is good always."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from tests.daemon.scene import PATIENCE, context, culvert, reload, rewrite
from tests.pki import Identity, Pki
from tests.proxies.running import Proxy
from tests.signs import Sign, dead_port, signs

pytestmark = pytest.mark.integration

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
SECRETS = f"ticketKeySecret = {'5a' * 32}\nticketMacSecret = {'a5' * 32}\n"
TIMES = 4
"""Connections with one session; twice as many as workers."""


def configuration(pki: Pki, places: tuple[Sign, Sign], ca: Path, lists: Path, more: str = "") -> str:
    inside, outside = places
    return f"""\
foreground = yes
syslog = no
debug = info
workers = 2
{SECRETS}
[web]
accept = 127.0.0.1:@PORT@
connect = 127.0.0.1:{inside.port}
redirect = 127.0.0.1:{dead_port()}
redirect = 127.0.0.1:{outside.port}
cert = {pki.server.both}
verifyChain = yes
CAfile = {ca}
CRLfile = {lists}
{more}
"""


def client(pki: Pki, version: str, peer: Identity | None) -> ssl.SSLContext:
    made = context(pki)
    made.minimum_version = made.maximum_version = VERSIONS[version]
    if peer:
        made.load_cert_chain(str(peer.both))
    return made


def visit(
    proxy: Proxy, settings: ssl.SSLContext, saved: ssl.SSLSession | None = None
) -> tuple[bytes, bool, ssl.SSLSession | None]:
    """The name of the service that was reached, whether the session was resumed, and the session."""
    with (
        socket.create_connection(proxy.address, timeout=PATIENCE) as raw,
        settings.wrap_socket(raw, server_hostname="localhost", session=saved) as tunnel,
    ):
        name = b""
        while data := tunnel.recv(100):
            name += data
        resumed, session = bool(tunnel.session_reused), tunnel.session
        tunnel.unwrap().close()
    return name, resumed, session


def lists(pki: Pki, name: str, *revoked: Identity) -> Path:
    """Lists of both roots."""
    made = b"".join(
        pki.revocation_list(f"{name}-{issuer.name}", issuer, revoked).read_bytes()
        for issuer in (pki.root, pki.other_root)
    )
    return pki.write(f"{name}.both.crl.pem", made)


@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "ids"])
@pytest.mark.parametrize("version", VERSIONS)
def test_who_reaches_what_before_and_after_a_stricter_reload(
    pki: Pki, tmp_path: Path, version: str, tickets: bool
) -> None:
    """Everybody comes first without a session and then with it, to every worker; then after a reload."""
    revoked, dropped = pki.issue("redirect-revoked"), pki.issue("redirect-dropped")
    both = pki.write("redirect.ca.pem", pki.root.pem + pki.other_root.pem)
    peers = {
        "none": (None, False, False),
        "unknown": (pki.self_signed, False, False),
        "expired": (pki.expired, False, False),
        "revoked": (revoked, False, False),
        "revoked in the new list": (dropped, True, False),
        "of an authority that goes": (pki.other_client, True, False),
        "good": (pki.client, True, True),
    }
    more = "" if tickets else "options = NO_TICKET"
    with signs() as places:
        loose = configuration(pki, places, both, lists(pki, "loose", revoked), more)
        strict = configuration(pki, places, pki.ca, lists(pki, "strict", revoked, dropped), more)
        with culvert(loose, tmp_path) as proxy:
            sessions = {}
            for name, (peer, before, _) in peers.items():
                settings = client(pki, version, peer)
                sessions[name] = settings, came(proxy, settings, before, name)
            rewrite(proxy, strict)
            reload(proxy)
            for name, (_, _, after) in peers.items():
                settings, saved = sessions[name]
                came(proxy, settings, after, f"{name}, after the reload", saved)
            proxy.wait_line(r"LOG5\[\d+\]: Redirecting connection")


def came(
    proxy: Proxy, settings: ssl.SSLContext, good: bool, who: str, saved: ssl.SSLSession | None = None
) -> ssl.SSLSession | None:
    """Come several times, with the session of the time before; gives the last one."""
    for _ in range(TIMES):
        name, resumed, fresh = visit(proxy, settings, saved)
        assert name == (b"inside" if good else b"outside"), who
        assert good or not resumed, who
        saved = fresh or saved
    assert resumed == good, who
    return saved


def test_a_second_destination_is_tried_and_names_may_be_looked_up_late(pki: Pki, tmp_path: Path) -> None:
    with signs() as places:
        text = configuration(pki, places, pki.ca, lists(pki, "late"), "delay = yes\nfailover = rr")
        with culvert(text.replace("connect = 127.0.0.1", "connect = localhost"), tmp_path) as proxy:
            for peer, name in ((None, b"outside"), (pki.client, b"inside"), (pki.expired, b"outside")):
                assert visit(proxy, client(pki, "TLSv1.3", peer))[0] == name
            proxy.wait_line("Connection refused")


def test_a_protocol_is_not_spoken_with_who_is_redirected(pki: Pki, tmp_path: Path) -> None:
    """Neither inside TLS (`socks` waits for a request there) nor with the other destination (`proxy`)."""
    with signs() as (inside, outside):
        text = configuration(pki, (inside, outside), pki.ca, lists(pki, "protocol"), "protocol = proxy")
        with culvert(text, tmp_path) as proxy:
            for peer, name in ((None, b"outside"), (pki.client, b"inside")):
                assert visit(proxy, client(pki, "TLSv1.3", peer))[0] == name
            socks = text.replace("protocol = proxy", "protocol = socks")
            rewrite(proxy, socks.replace(f"connect = 127.0.0.1:{inside.port}\n", ""))
            reload(proxy)
            assert visit(proxy, client(pki, "TLSv1.3", pki.expired))[0] == b"outside"
        assert inside.heard == [inside.heard[0]]
        assert inside.heard[0].startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")
        assert outside.heard == [b"", b""]


def test_where_no_redirect_is_reached_nobody_bad_gets_through(pki: Pki, tmp_path: Path) -> None:
    with signs() as places:
        text = configuration(pki, places, pki.ca, lists(pki, "closed"))
        text = text.replace(f"127.0.0.1:{places[1].port}", f"127.0.0.1:{dead_port()}")
        with culvert(text, tmp_path) as proxy:
            with pytest.raises((OSError, ssl.SSLError)):
                visit(proxy, client(pki, "TLSv1.3", None))
            proxy.wait_line("No more addresses to connect")
            assert visit(proxy, client(pki, "TLSv1.3", pki.client))[0] == b"inside"
