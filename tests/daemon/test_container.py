"""Life as the first process of a container, and as a companion that ends with its work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.scene import (
    PATIENCE,
    Echo,
    ask_once,
    configuration,
    connect,
    culvert,
    echoing,
    reload,
    rewrite,
)
from tests.pki import Pki
from tests.proxies.procfs import tree
from tests.proxies.running import need_program

pytestmark = pytest.mark.integration


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service


def test_the_ready_file_is_there_while_it_accepts_and_moves_with_a_reload(
    pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with culvert(configuration(pki, echo.port, more=f"readyFile = {first}"), tmp_path) as proxy:
        assert first.read_text() == f"{proxy.process.pid}\n"
        rewrite(proxy, configuration(pki, echo.port, more=f"readyFile = {second}"))
        reload(proxy)
        assert not first.exists()
        assert second.exists()
    assert not second.exists()


def test_without_connections_for_so_long_it_ends_by_itself(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    with culvert(configuration(pki, echo.port, more="exitWhenIdle = 1"), tmp_path) as proxy:
        with connect(pki, proxy.address), pytest.raises(subprocess.TimeoutExpired):
            proxy.process.wait(2.5)
        assert proxy.process.wait(PATIENCE) == 0
        proxy.wait_line("LOG5.*No connection for 1 seconds: terminating")


def test_as_the_first_process_it_stays_in_the_foreground_and_reaps_what_is_left_to_it(
    pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a namespace of processes")
    prefix = (need_program("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc")
    text = configuration(pki, echo.port).replace("foreground = yes\n", "")
    with culvert(text, tmp_path, prefix=prefix) as proxy:
        proxy.wait_line("The first process of a container stays in the foreground")
        ask_once(pki, proxy.address)
        supervisor = tree(proxy.process.pid)[1]
        orphan = [
            need_program("nsenter"),
            "-t",
            str(supervisor),
            "-p",
            "-m",
            "--",
            sys.executable,
            "-c",
            ORPHAN,
        ]
        subprocess.run(orphan, check=True, timeout=PATIENCE)
        os.kill(supervisor, signal.SIGTERM)
        assert proxy.process.wait(PATIENCE) == 0


# A child that outlives its parent: it is the first process's from then on, which must wait for it.  The
# grandparent waits until that has happened, or for 10 seconds.
ORPHAN = """
import os, time
reader, writer = os.pipe()
if not (child := os.fork()):
    if grandchild := os.fork():
        os.write(writer, b"%d" % grandchild)
        os._exit(0)
    time.sleep(0.2)
    os._exit(0)
os.waitpid(child, 0)
grandchild = int(os.read(reader, 20))
end = time.monotonic() + 10
while os.path.exists(f"/proc/{grandchild}") and time.monotonic() < end:
    time.sleep(0.02)
assert not os.path.exists(f"/proc/{grandchild}"), "a zombie is left"
"""
