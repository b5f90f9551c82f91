"""A daemon staples in every worker what one of them has fetched, through reloads and deaths."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.scene import PATIENCE, Echo, configuration, culvert, echoing, reload, workers
from tests.pki import Identity, Pki
from tests.proxies import Proxy, need_program
from tests.responders import Responder, answer, responder

pytestmark = [pytest.mark.integration, pytest.mark.interop]


@pytest.fixture
def asked() -> Iterator[Responder]:
    with responder() as made:
        yield made


@pytest.fixture
def own(pki: Pki, asked: Responder) -> Identity:
    """A certificate that its issuer stands by."""
    made = pki.issue("daemon-stapled", responders=(asked.url,))
    asked.says(answer(made, pki.root))
    return made


@pytest.fixture
def daemon(pki: Pki, own: Identity, asked: Responder, tmp_path: Path) -> Iterator[Proxy]:
    """Two workers on standing orders, once the first answer is there."""
    with echoing() as echo, culvert(text(pki, own, echo), tmp_path) as proxy:
        asked.wait(1)
        proxy.wait_line("OCSP: Response cached")
        yield proxy


def text(pki: Pki, own: Identity, echo: Echo) -> str:
    """The section [web] logs so little that the engine carries it alone; [told] shows the same, and tells."""
    usual = configuration(pki, echo.port, more=f"CAfile = {pki.ca}").replace("workers = 1", "workers = 2")
    silent = usual.replace(str(pki.server.both), str(own.both)).replace("[web]\n", "[web]\ndebug = warning\n")
    ends = f"accept = 127.0.0.1:0\nconnect = 127.0.0.1:{echo.port}"
    return f"{silent}[told]\n{ends}\ncert = {own.both}\ndebug = debug\n"


def stapled(proxy: Proxy, count: int = 8) -> bool:
    """Whether each of several connections, which the kernel spreads over the workers, gets the answer."""
    command = [need_program("openssl"), "s_client", "-connect", f"127.0.0.1:{proxy.port}", "-status"]
    for _ in range(count):
        done = subprocess.run(command, input=b"", capture_output=True, timeout=PATIENCE, check=False)
        if b"Cert Status: good" not in done.stdout:
            return False
    return True


def test_every_worker_staples_what_one_has_fetched(daemon: Proxy, asked: Responder) -> None:
    assert stapled(daemon)
    assert len(asked.asked) == 1


def test_a_reload_staples_on_while_the_responder_is_gone(daemon: Proxy, asked: Responder) -> None:
    asked.says(b"")
    reload(daemon)
    assert stapled(daemon)
    assert len(asked.asked) == 1  # the answer is young, and nobody is in a hurry


def test_workers_that_die_take_no_answer_with_them(daemon: Proxy) -> None:
    for pid in workers(daemon):
        os.kill(pid, signal.SIGKILL)
    daemon.wait_line("replaces it", count=2)
    assert stapled(daemon)
