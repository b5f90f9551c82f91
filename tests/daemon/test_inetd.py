"""One connection taken over from a super-server, or from a pair of pipes."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.scene import PATIENCE, Echo, ask, context, echoing
from tests.pki import Pki
from tests.proxies.procfs import is_listening
from tests.proxies.running import SOURCES, need_missing, reserved_port

pytestmark = pytest.mark.integration

UNPACKED = Path(__file__).resolve().parents[2] / "build" / "peers"
COMMAND = (sys.executable, "-m", "culvert")


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service


def place(folder: Path, pki: Pki, far: str, more: str = "") -> Path:
    """A configuration file without a section."""
    folder.mkdir(exist_ok=True)
    file = folder / "inetd.conf"
    top = f"foreground = quiet\nsyslog = no\ndebug = info\noutput = {folder}/log\n{more}"
    file.write_text(f"{top}\ncert = {pki.server.both}\n{far}\n")
    return file


def environment() -> dict[str, str]:
    return {"PYTHONPATH": str(SOURCES), **os.environ}


@contextmanager
def handed_over(file: Path, *words: str) -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """Culvert with one end of a TCP connection as its descriptors 0 and 1, and the other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
        accepted, _ = listener.accept()
    with client, accepted:
        near = accepted.fileno()
        process = subprocess.Popen(
            [*COMMAND, *words, str(file)],
            stdin=near,
            stdout=near,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        accepted.close()
        try:
            yield client, process
        finally:
            process.kill()
            process.wait()


def test_a_socket_is_carried_to_its_end_and_the_process_ends(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    file = place(tmp_path, pki, f"connect = 127.0.0.1:{echo.port}")
    with handed_over(file) as (raw, process):
        address = "{}:{}".format(*raw.getsockname())
        with context(pki).wrap_socket(raw, server_hostname="localhost") as tunnel:
            ask(tunnel)
            tunnel.unwrap().close()
        assert process.wait(PATIENCE) == 0
    log = (tmp_path / "log").read_text()
    assert f"Service [stunnel] accepted connection from {address}" in log
    assert "Connection closed: 5 byte(s) sent to TLS, 5 byte(s) sent to socket" in log


def test_whatever_becomes_of_the_connection_the_status_is_0(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    file = place(tmp_path, pki, f"connect = 127.0.0.1:{echo.port}")
    with handed_over(file) as (raw, process):
        raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert process.wait(PATIENCE) == 0
    assert "http request" in (tmp_path / "log").read_text()


def test_a_program_can_be_the_far_end(pki: Pki, tmp_path: Path) -> None:
    far = 'exec = /bin/sh\nexecArgs = sh -c "echo $REMOTE_HOST; cat"'
    with handed_over(place(tmp_path, pki, far, "service = shell")) as (raw, process):
        with context(pki).wrap_socket(raw, server_hostname="localhost") as tunnel:
            assert tunnel.recv(100) == b"127.0.0.1\n"
            ask(tunnel)
            tunnel.unwrap().close()
        assert process.wait(PATIENCE) == 0
    assert "Service [shell] accepted connection" in (tmp_path / "log").read_text()


class Piped:
    """Python's TLS over the two pipes of a process."""

    def __init__(self, process: subprocess.Popen[bytes], believing: ssl.SSLContext) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin, process.stdout
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = believing.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    def until(self, step: Callable[[], object]) -> object:
        """Repeat a step of TLS until it needs no more octets."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.flush()
                self._incoming.write(os.read(self._from.fileno(), 65536) or self._end())
            finally:
                self.flush()

    def flush(self) -> None:
        self._to.write(self._outgoing.read())
        self._to.flush()

    def _end(self) -> bytes:
        self._incoming.write_eof()
        return b""


def test_separate_pipes_are_one_connection(pki: Pki, tmp_path: Path) -> None:
    far = 'exec = /bin/sh\nexecArgs = sh -c "head -c 1000000 /dev/zero; cat; echo $REMOTE_HOST."'
    file = place(tmp_path, pki, far)
    with subprocess.Popen(
        [*COMMAND, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as process:
        try:
            talk = Piped(process, context(pki))
            talk.until(talk.tls.do_handshake)
            got = b""
            while len(got) < 1_000_000:
                got += talk.until(lambda: talk.tls.read(65536))  # type: ignore[operator]
            talk.tls.write(b"hello")
            talk.flush()
            assert talk.until(lambda: talk.tls.read(5)) == b"hello"
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    log = (tmp_path / "log").read_text()
    assert re.search(r"Service \[stunnel\] accepted connection$", log, re.MULTILINE), log


def test_its_log_does_not_reach_the_client(pki: Pki, echo: Echo, tmp_path: Path) -> None:
    file = place(tmp_path, pki, f"connect = 127.0.0.1:{echo.port}", "debug = debug")
    with handed_over(file) as (raw, process):
        with context(pki).wrap_socket(raw, server_hostname="localhost") as tunnel:
            assert tunnel.version() == "TLSv1.3"
        assert process.wait(PATIENCE) == 0


def inetd(folder: Path, port: int, file: Path) -> Sequence[str]:
    """openbsd-inetd: a line that starts Culvert for each connection to the port."""
    words = " ".join(map(str, (*COMMAND[1:], file)))
    (folder / "services").write_text(
        f"127.0.0.1:{port} stream tcp nowait root {COMMAND[0]} {Path(COMMAND[0]).name} {words}\n"
    )
    return ("inetd", "-d", str(folder / "services"))


def xinetd(folder: Path, port: int, file: Path) -> Sequence[str]:
    """The same for xinetd."""
    (folder / "services").write_text(f"""\
service culvert
{{
    type = UNLISTED
    socket_type = stream
    protocol = tcp
    wait = no
    user = root
    bind = 127.0.0.1
    port = {port}
    server = {COMMAND[0]}
    server_args = {" ".join(map(str, (*COMMAND[1:], file)))}
    log_on_failure =
    log_on_success =
    passenv = PYTHONPATH
}}
""")
    files = ("-f", folder / "services", "-filelog", folder / "messages", "-pidfile", folder / "pid")
    return ("xinetd", "-dontfork", *map(str, files))


@pytest.mark.interop
@pytest.mark.parametrize("server", [inetd, xinetd])
def test_it_works_under_a_real_super_server(
    pki: Pki, echo: Echo, tmp_path: Path, server: Callable[[Path, int, Path], Sequence[str]]
) -> None:
    program = unpacked(server)
    file = place(tmp_path, pki, f"connect = 127.0.0.1:{echo.port}")
    with reserved_port() as port:
        words = server(tmp_path, port, file)
        process = subprocess.Popen(
            [program, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        try:
            for _ in range(2):
                with context(pki).wrap_socket(reached(port), server_hostname="localhost") as tunnel:
                    ask(tunnel)
                    tunnel.unwrap().close()
        finally:
            process.terminate()
            process.wait(PATIENCE)


def unpacked(server: Callable[..., object]) -> str:
    """The program, from where scripts/unpack has put it: Debian's two exclude each other."""
    name = server.__name__
    package = {"inetd": "openbsd-inetd"}.get(name, name)
    path = UNPACKED / package / "usr" / "sbin" / name
    if not path.exists():
        need_missing(f"{path} (scripts/unpack {package})")
    return str(path)


def reached(port: int) -> socket.socket:
    """A connection to the port, as soon as somebody listens."""
    end = time.monotonic() + PATIENCE
    while not is_listening(("127.0.0.1", port)):
        assert time.monotonic() < end
        time.sleep(0.01)
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
