"""`watch = yes`: which directories matter, and what a running daemon does when files change in them."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from culvert.config.model import Configuration, Service
from culvert.daemon.watching import directories, look
from tests.daemon.scene import (
    PATIENCE,
    Echo,
    ask,
    ask_once,
    configuration,
    connect,
    culvert,
    echoing,
    rewrite,
)
from tests.pki import Identity, Pki
from tests.proxies.running import Proxy


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service


def test_the_directory_of_a_plain_file_matters(tmp_path: Path) -> None:
    assert directories(str(tmp_path / "cert.pem")) == {str(tmp_path)}


def test_every_directory_with_a_link_on_the_way_matters(tmp_path: Path) -> None:
    mounted, version = tmp_path / "tls", tmp_path / "tls" / "..2026_01"
    version.mkdir(parents=True)
    (version / "tls.crt").touch()
    (mounted / "..data").symlink_to("..2026_01")
    (mounted / "tls.crt").symlink_to("..data/tls.crt")
    (tmp_path / "current").symlink_to(mounted)
    found = directories(str(tmp_path / "current" / "tls.crt"))
    assert found == {str(tmp_path), str(mounted), str(version)}


def test_a_directory_of_authorities_matters_itself(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()
    assert directories(str(tmp_path / "ca")) == {str(tmp_path), str(tmp_path / "ca")}


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert str(tmp_path) in directories(str(tmp_path / "a"))


def test_a_link_that_leads_nowhere_does_not_hide_what_else_changes_in_its_directory(tmp_path: Path) -> None:
    (tmp_path / "0a1b2c3d.0").symlink_to("gone.pem")
    service = Service(name="here", ca_path=str(tmp_path))
    before = look(Configuration(services=(service,)))
    (tmp_path / "4e5f6a7b.0").touch()
    assert look(Configuration(services=(service,))) != before


def test_a_link_that_is_replaced_while_it_is_looked_at_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tls.crt").symlink_to("gone.pem")
    read = os.readlink

    def vanish(path: str) -> str:
        (tmp_path / "tls.crt").unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(os, "readlink", vanish)
    assert str(tmp_path) in directories(str(tmp_path / "tls.crt"))


def shown(proxy: Proxy) -> bytes:
    """The certificate that a client is shown."""
    believing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    believing.check_hostname, believing.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(proxy.address, timeout=PATIENCE) as raw,
        believing.wrap_socket(raw) as tunnel,
    ):
        return tunnel.getpeercert(binary_form=True) or b""


def der(identity: Identity) -> bytes:
    return ssl.PEM_cert_to_DER_cert(identity.pem.decode())


def watched(pki: Pki, echo: Echo, file: Path) -> str:
    text = configuration(pki, echo.port, more="watch = yes")
    return text.replace(f"cert = {pki.server.both}", f"cert = {file}")


@pytest.mark.integration
def test_a_certificate_that_is_replaced_is_served_and_no_tunnel_is_cut(
    pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    file, another = tmp_path / "server.pem", pki.issue("another")
    shutil.copy(pki.server.both, file)
    with culvert(watched(pki, echo, file), tmp_path / "daemon") as proxy, connect(pki, proxy.address) as old:
        assert shown(proxy) == der(pki.server)
        shutil.copy(another.both, tmp_path / "new")
        os.rename(tmp_path / "new", file)
        proxy.wait_line("Accepting new connections", count=2)
        assert shown(proxy) == der(another)
        ask(old)


@pytest.mark.integration
def test_the_link_of_kubernetes_is_followed(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    mounted, another = tmp_path / "tls", pki.issue("of-kubernetes")
    for name, identity in (("..1", pki.server), ("..2", another)):
        (mounted / name).mkdir(parents=True)
        shutil.copy(identity.both, mounted / name / "tls.pem")
    (mounted / "..data").symlink_to("..1")
    (mounted / "tls.pem").symlink_to("..data/tls.pem")
    with culvert(watched(pki, echo, mounted / "tls.pem"), tmp_path / "daemon") as proxy:
        (mounted / "..data_tmp").symlink_to("..2")
        os.rename(mounted / "..data_tmp", mounted / "..data")
        proxy.wait_line("Accepting new connections", count=2)
        assert shown(proxy) == der(another)


@pytest.mark.integration
def test_a_broken_file_changes_nothing_until_it_is_mended_and_the_configuration_is_not_read(
    pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    file, another = tmp_path / "server.pem", pki.issue("mended")
    shutil.copy(pki.server.both, file)
    with culvert(watched(pki, echo, file), tmp_path / "daemon") as proxy:
        rewrite(proxy, "an unfinished edit")
        file.write_bytes(pki.server.pem)  # without its key
        proxy.wait_line("Failed to reload the configuration file")
        ask_once(pki, proxy.address)
        shutil.copy(another.both, file)
        proxy.wait_line("Accepting new connections", count=2)
        assert shown(proxy) == der(another)


@pytest.mark.integration
def test_what_happens_beside_the_files_is_no_reason(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    file = tmp_path / "server.pem"
    shutil.copy(pki.server.both, file)
    with culvert(watched(pki, echo, file), tmp_path / "daemon") as proxy:
        (tmp_path / "other").write_text("x")
        os.utime(file, ns=(1, 1))
        proxy.wait_line("Accepting new connections", count=2)  # the second event was one
        assert proxy.output.count("have changed") == 1
