from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.peers import RIVALS, Peer, Site, culvert_peer, running

SITE = Site(4433, 8080, Path("/cert.pem"))
SITE_TEXTS = ("4433", "8080", "/cert.pem")
LISTENER = """
import socket, sys
port = int(open(sys.argv[1]).read())
with socket.create_server(("127.0.0.1", port)) as server:
    while True: server.accept()[0].close()
"""


@pytest.mark.parametrize("peer", [*RIVALS, culvert_peer("culvert")], ids=lambda peer: peer.name)
def test_every_configuration_names_ports_and_certificate(peer: Peer) -> None:
    text = peer.configure(SITE)
    assert all(part in text for part in SITE_TEXTS)


def test_the_file_takes_the_place_of_the_word_or_comes_last() -> None:
    assert culvert_peer("a CONFIG b").command == ("a", "CONFIG", "b")
    assert culvert_peer("a b").command == ("a", "b", "CONFIG")


def test_an_empty_command_is_refused() -> None:
    with pytest.raises(BenchError, match="empty"):
        culvert_peer(" ")


def test_an_instance_listens_while_its_context_lasts(tmp_path: Path) -> None:
    peer = Peer("stand-in", (sys.executable, "-c", LISTENER, "CONFIG"), lambda site: str(site.port), "none")
    with running(peer, 1, Path("/cert.pem"), tmp_path) as instance:
        pid = instance.process.pid
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()


def test_a_program_that_does_not_start_says_what_it_said(tmp_path: Path) -> None:
    peer = Peer("broken", (sys.executable, "-c", "raise SystemExit('no such option')"), lambda _: "", "none")
    with (
        pytest.raises(BenchError, match=r"broken-.* ended with 1: no such option"),
        running(peer, 1, Path("/cert.pem"), tmp_path),
    ):
        pass


def test_a_program_that_is_not_installed_is_named_with_its_package(tmp_path: Path) -> None:
    peer = Peer("nobody", ("no-such-program-anywhere",), lambda _: "", "its-package")
    with (
        pytest.raises(BenchError, match="apt-get install its-package"),
        running(peer, 1, Path("/cert.pem"), tmp_path),
    ):
        pass
