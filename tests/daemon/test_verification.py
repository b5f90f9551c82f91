"""Client certificates in a daemon whose log wants nothing of good ones: workers judge them without Python."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from tests.daemon.scene import PATIENCE, context, reload, rewrite
from tests.pki import Identity, Pki
from tests.proxies.running import Kind, Proxy, running
from tests.signs import signs

pytestmark = pytest.mark.integration

REFUSED = (ssl.SSLError, ConnectionError)


def configuration(pki: Pki, backend: int, ca: Path, lists: Path, level: str) -> str:
    return f"""\
foreground = yes
syslog = no
debug = {level}
workers = 2
[web]
accept = 127.0.0.1:@PORT@
connect = 127.0.0.1:{backend}
cert = {pki.server.both}
verifyChain = yes
CAfile = {ca}
CRLfile = {lists}
"""


def visit(
    proxy: Proxy, settings: ssl.SSLContext, saved: ssl.SSLSession | None = None
) -> ssl.SSLSession | None:
    """Reach the service and give the session; raises what refuses us."""
    with (
        socket.create_connection(proxy.address, timeout=PATIENCE) as raw,
        settings.wrap_socket(raw, server_hostname="localhost", session=saved) as tunnel,
    ):
        assert tunnel.recv(100) == b"inside"
        assert bool(tunnel.session_reused) == (saved is not None)
        session = tunnel.session
        tunnel.unwrap().close()
        return session


def peer(pki: Pki, identity: Identity | None) -> ssl.SSLContext:
    made = context(pki)
    if identity:
        made.load_cert_chain(str(identity.chain), str(identity.key))
    return made


@pytest.mark.parametrize("level", ["err", "warning"])
def test_good_clients_come_in_and_bad_ones_do_not(pki: Pki, tmp_path: Path, level: str) -> None:
    revoked = pki.issue("quietly-revoked")
    lists = pki.revocation_list("quiet", pki.root, (revoked,))
    with signs() as (inside, _):
        text = configuration(pki, inside.port, pki.ca, lists, level)
        with running(Kind.CULVERT, text, tmp_path) as proxy:
            settings, saved = peer(pki, pki.client), None
            for _ in range(4):
                saved = visit(proxy, settings, saved)
            for bad in (None, pki.other_client, pki.expired, pki.self_signed, revoked):
                with pytest.raises(REFUSED):
                    visit(proxy, peer(pki, bad))
            visit(proxy, settings, saved)
            proxy.wait_line("SSL_accept: .*peer did not return a certificate")
            proxy.wait_line("SSL_accept: .*certificate verify failed", count=4)
            assert ("CERT: the certificate of" in proxy.output) == (level == "warning")
            if level == "warning":
                proxy.wait_line(r"CERT: the certificate of .*CN=quietly-revoked was revoked by .*CN=root")


def test_a_session_does_not_outlive_a_list_that_revokes_its_peer(pki: Pki, tmp_path: Path) -> None:
    with signs() as (inside, _):
        lists = pki.revocation_list("nobody-revoked", pki.root)
        text = configuration(pki, inside.port, pki.ca, lists, "info")
        with running(Kind.CULVERT, text, tmp_path) as proxy:
            settings = peer(pki, pki.client)
            saved = visit(proxy, settings)
            saved = visit(proxy, settings, saved)
            stricter = pki.revocation_list("client-revoked", pki.root, (pki.client,))
            rewrite(proxy, text.replace(str(lists), str(stricter)))
            reload(proxy)
            with pytest.raises(REFUSED):
                visit(proxy, settings, saved)
            proxy.wait_line("CN=client was revoked by")
