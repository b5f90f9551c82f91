"""SIGHUP: all of the new configuration, or nothing of it."""

from __future__ import annotations

import os
import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.scene import (
    PATIENCE,
    Echo,
    ask,
    ask_once,
    configuration,
    connect,
    context,
    culvert,
    echoing,
    reload,
    resident,
    rewrite,
    workers,
)
from tests.pki import Pki
from tests.proxies.procfs import open_descriptors, tree
from tests.proxies.running import Proxy, reserved_port

pytestmark = pytest.mark.integration


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service


@pytest.fixture
def proxy(pki: Pki, echo: Echo, tmp_path: Path) -> Iterator[Proxy]:
    with culvert(configuration(pki, echo.port), tmp_path) as running:
        yield running


def test_a_new_configuration_is_taken_over_and_old_tunnels_go_on(proxy: Proxy, pki: Pki) -> None:
    with echoing() as other, connect(pki, proxy.address) as old:
        ask(old)
        rewrite(proxy, configuration(pki, other.port, more="debug = debug"))
        reload(proxy)
        with connect(pki, proxy.address) as new:
            ask(new)
            ask(old)
            proxy.wait_line(f"s_connect: connected 127.0.0.1:{other.port}")


def test_a_ticket_from_before_a_reload_resumes_unless_the_service_is_another(proxy: Proxy, pki: Pki) -> None:
    believes = context(pki)

    def resumed(saved: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
        with connect(pki, proxy.address, believes, saved) as tunnel:
            ask(tunnel)
            return bool(tunnel.session_reused), tunnel.session

    _, first = resumed(None)
    reload(proxy)
    again, second = resumed(first)
    assert again
    text = (proxy.folder / "culvert.conf").read_text()
    rewrite(proxy, text.replace("[web]", "[other]"))
    reload(proxy)
    assert resumed(second)[0] is False


def test_old_workers_end_with_their_last_tunnel(proxy: Proxy, pki: Pki) -> None:
    (old,) = workers(proxy)
    with connect(pki, proxy.address) as tunnel:
        ask(tunnel)
        reload(proxy)
        assert old in workers(proxy)
        ask(tunnel)
        tunnel.unwrap().close()
    proxy.wait_line(rf"LOG6\[ui\]: Child process {old} finished with code 0")


def test_a_port_comes_and_another_goes(proxy: Proxy, pki: Pki, echo: Echo) -> None:
    with reserved_port() as port:
        rewrite(proxy, configuration(pki, echo.port, accept=f"127.0.0.1:{port}"))
        reload(proxy)
        ask_once(pki, ("127.0.0.1", port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(proxy.address)


@pytest.mark.parametrize("count", [3, 1, 2])
def test_the_number_of_workers_changes(pki: Pki, echo: Echo, tmp_path: Path, count: int) -> None:
    with culvert(configuration(pki, echo.port, more="workers = 2"), tmp_path) as proxy:
        old = workers(proxy)
        rewrite(proxy, configuration(pki, echo.port, more=f"workers = {count}"))
        reload(proxy)
        for pid in old:
            proxy.wait_line(f"Child process {pid} finished")
        assert len(workers(proxy)) == count
        for _ in range(16):
            ask_once(pki, proxy.address)


def test_an_own_certificate_that_ends_soon_is_told_at_the_start_and_at_every_reload(
    pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    ending = pki.issue("ending", days=(-10, 2.5))
    text = configuration(pki, echo.port).replace(str(pki.server.both), str(ending.both))
    with culvert(text, tmp_path) as proxy:
        line = r"LOG4\[ui\]: .*cert: the certificate of .*CN=ending expires in 2 days"
        proxy.wait_line(line)
        reload(proxy)
        proxy.wait_line(line, count=2)


BROKEN = {
    "an unknown option": "cret = x",
    "a certificate that is not there": "cert = /nowhere/cert.pem",
    "a trusted file that is not there": "CAfile = /nowhere/ca.pem\nverifyChain = yes",
    "a bad number": "TIMEOUTidle = soon",
    "an include that is not there": "include = /nowhere",
    "a port that does not exist": "accept = 127.0.0.1:99999",
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_changes_nothing(proxy: Proxy, pki: Pki, echo: Echo, line: str) -> None:
    before = workers(proxy)
    rewrite(proxy, configuration(pki, echo.port) + line + "\n")
    reload(proxy, broken=True)
    assert workers(proxy) == before
    ask_once(pki, proxy.address)


def test_a_port_in_use_changes_nothing(proxy: Proxy, pki: Pki, echo: Echo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, reserved_port() as fresh:
        busy = taken.getsockname()[1]
        text = configuration(pki, echo.port)
        text += f"[new]\naccept = 127.0.0.1:{fresh}\nconnect = 1\ncert = {pki.server.both}\n"
        text += f"[busy]\naccept = 127.0.0.1:{busy}\nconnect = 1\ncert = {pki.server.both}\n"
        rewrite(proxy, text)
        reload(proxy, broken=True)
        proxy.wait_line(rf"Binding service \[busy\] to 127.0.0.1:{busy}: Address already in use \(98\)")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", fresh))
    ask_once(pki, proxy.address)


def test_a_log_file_that_cannot_be_opened_changes_nothing(proxy: Proxy, pki: Pki, echo: Echo) -> None:
    rewrite(proxy, configuration(pki, echo.port, more="output = /nowhere/log"))
    reload(proxy, broken=True)
    proxy.wait_line("Cannot open log file: /nowhere/log")
    ask_once(pki, proxy.address)


def test_the_log_moves_to_another_file(proxy: Proxy, pki: Pki, echo: Echo, tmp_path: Path) -> None:
    rewrite(proxy, configuration(pki, echo.port, more=f"output = {tmp_path}/second.log"))
    reload(proxy)
    ask_once(pki, proxy.address)
    proxy.wait_line("Connection closed")
    assert "Connection closed" in (tmp_path / "second.log").read_text()


class Clients:
    """Threads that connect and ask for as long as they may, and remember what went wrong."""

    def __init__(self, pki: Pki, place: tuple[str, int], count: int) -> None:
        self.failures: list[str] = []
        self.successes = 0
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(pki, place)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _run(self, pki: Pki, place: tuple[str, int]) -> None:
        while not self._stopped.is_set():
            try:
                ask_once(pki, place)
                self.successes += 1
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))


def use(proxy: Proxy) -> tuple[int, int, int, int]:
    """Processes, descriptors, threads and memory (KiB) of a daemon whose old workers have ended.

    The memory is the supervisor's: workers begin anew with each reload, at the size that it has then.
    """
    supervisor = proxy.process.pid
    pids = tree(supervisor)
    threads = sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids)
    return len(pids), open_descriptors(supervisor), threads, resident(supervisor)


def reload_often(proxy: Proxy, times: int, good: str) -> None:
    """Reload, every fifth time with another broken file; then wait until only one old worker is left."""
    bads = list(BROKEN.values())
    for n in range(times):
        broken = n % 5 == 4
        rewrite(proxy, good + bads[n // 5 % len(bads)] + "\n" if broken else good)
        reload(proxy, broken=broken)
    reloads = proxy.output.count("Accepting new connections") - 1
    proxy.wait_line(r"Child process \d+ finished with code 0", count=2 * reloads - 1)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_two_hundred_reloads_under_load_lose_nothing_and_leak_nothing(
    pki: Pki, echo: Echo, tmp_path: Path
) -> None:
    good = configuration(pki, echo.port, more="workers = 2") + "debug = err\n"
    with culvert(good, tmp_path) as proxy, connect(pki, proxy.address) as kept:
        ask(kept)  # its worker is old after the first reload, and stays for the whole test
        clients = Clients(pki, proxy.address, 2)
        try:
            reload_often(proxy, 20, good)
            before = use(proxy)
            reload_often(proxy, 180, good)
            after = use(proxy)
        finally:
            clients.stop()
        ask(kept)
    assert clients.failures == []
    assert clients.successes > 200
    assert after[0] == before[0] == 4
    assert after[2] == before[2]
    assert after[1] <= before[1] + 8  # the connections of the moment
    assert after[3] < before[3] * 1.05


def test_a_reload_for_which_no_descriptor_is_left_to_count_with_is_refused(
    proxy: Proxy, pki: Pki, echo: Echo
) -> None:
    """One is free, so that the file can be read; the memory in which far ends are counted takes two."""
    rewrite(proxy, configuration(pki, echo.port) + "failover = leastconn\n")
    used = sorted(int(each) for each in os.listdir(f"/proc/{proxy.process.pid}/fd"))
    limit = next(top for top in range(1, used[-1] + 3) if top - sum(each < top for each in used) == 1)
    before = resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    reload(proxy, broken=True)
    assert "culvert.conf:10: failover: shared memory for counting: Too many open files" in proxy.output
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, before)
    ask_once(pki, proxy.address)
    reload(proxy)
