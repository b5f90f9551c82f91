"""`quarantine = yes`: one broken service, and the others."""

from __future__ import annotations

import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.scene import Echo, ask_once, configuration, culvert, echoing, reload, rewrite
from tests.pki import Pki
from tests.proxies.running import Kind, running

pytestmark = pytest.mark.integration


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service


def two(pki: Pki, echo: Echo, accept: str, cert: Path, more: str = "quarantine = yes") -> str:
    """A service that works, and one that depends on `accept` and `cert`."""
    second = f"[second]\naccept = {accept}\nconnect = 127.0.0.1:{echo.port}\ncert = {cert}\n"
    return configuration(pki, echo.port, more=more) + second


def test_without_it_one_broken_service_stops_the_start(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    text = two(pki, echo, f"{tmp_path}/socket", tmp_path / "absent.pem", more="")
    with pytest.raises(AssertionError, match=r"absent\.pem"), running(Kind.CULVERT, text, tmp_path):
        pass


def test_the_others_serve_and_the_broken_one_is_taken_in_when_it_works(
    pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    absent, path = tmp_path / "absent.pem", tmp_path / "socket"
    with culvert(two(pki, echo, str(path), absent), tmp_path / "daemon") as proxy:
        ask_once(pki, proxy.address)
        proxy.wait_line(r"LOG4.*Service \[second\] is in quarantine, it does not serve: .*absent.pem")
        assert not path.exists()
        proxy.process.send_signal(signal.SIGUSR2)
        proxy.wait_line(r"LOG0.*Service \[second\] is in quarantine")
        shutil.copy(pki.server.both, absent)
        proxy.wait_line("A service in quarantine works again: taking it in")
        proxy.wait_line("Accepting new connections", count=2)
        assert path.is_socket()
        ask_once(pki, proxy.address)


def test_a_port_in_use_sets_one_service_aside(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = taken.getsockname()
        with culvert(two(pki, echo, f"127.0.0.1:{place[1]}", pki.server.both), tmp_path) as proxy:
            ask_once(pki, proxy.address)
            proxy.wait_line(r"Service \[second\] is in quarantine, it does not serve: Binding service")
            taken.close()
            proxy.wait_line("Accepting new connections", count=2)
            ask_once(pki, place)


def test_at_a_reload_the_last_good_version_goes_on(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    cert = tmp_path / "server.pem"
    shutil.copy(pki.server.both, cert)
    with socket.create_server(("127.0.0.1", 0)) as reserve:
        place = reserve.getsockname()
    text = two(pki, echo, f"127.0.0.1:{place[1]}", cert)
    with culvert(text, tmp_path / "daemon") as proxy:
        ask_once(pki, place)
        cert.write_text("nothing")
        reload(proxy)
        proxy.wait_line(r"Service \[second\] is in quarantine, its last good version serves")
        ask_once(pki, place)
        ask_once(pki, proxy.address)


def test_what_is_wrong_in_the_file_still_stops_a_reload(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    text = two(pki, echo, f"{tmp_path}/socket", pki.server.both)
    with culvert(text, tmp_path / "daemon") as proxy:
        rewrite(proxy, text + "verifypeers = yes\n")
        reload(proxy, broken=True)
        ask_once(pki, proxy.address)


def test_nothing_but_broken_services_stop_the_start(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    text = configuration(pki, echo.port, more="quarantine = yes")
    text = text.replace(str(pki.server.both), str(tmp_path / "absent.pem"))
    with (
        pytest.raises(AssertionError, match="no service is left that works"),
        running(Kind.CULVERT, text, tmp_path),
    ):
        pass
