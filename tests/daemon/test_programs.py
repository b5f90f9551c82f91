"""Programs as an end of a tunnel: `exec`, `execArgs`, `pty`, `retry`."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.scene import PATIENCE, connect, context, culvert, workers
from tests.pki import Identity, Pki
from tests.proxies.procfs import tree
from tests.proxies.seen import Deadline
from tests.proxies.tls import TlsPeer, client_context

pytestmark = pytest.mark.integration


def program(pki: Pki, script: str, more: str = "", top: str = "foreground = quiet") -> str:
    """A daemon whose one service runs a script of the shell."""
    return f"""\
{top}
syslog = no
debug = debug
output = /dev/stderr
workers = 1
[run]
accept = 127.0.0.1:@PORT@
cert = {pki.server.both}
exec = /bin/sh
execArgs = sh -c '{script}'
{more}
"""


def spoken(tunnel: ssl.SSLSocket) -> bytes:
    """Everything until the orderly end."""
    data = b""
    while more := tunnel.recv(65536):
        data += more
    return data


def said_by(pki: Pki, folder: Path, script: str, more: str = "") -> str:
    """What a client of such a service is told."""
    with culvert(program(pki, script, more), folder) as proxy, connect(pki, proxy.address) as tunnel:
        return spoken(tunnel).decode()


def test_a_program_is_the_far_end_and_is_waited_for(pki: Pki, tmp_path: Path) -> None:
    with culvert(program(pki, "read line; echo got $line; exit 3"), tmp_path) as proxy:
        with connect(pki, proxy.address) as tunnel:
            tunnel.sendall(b"a word\n")
            assert spoken(tunnel) == b"got a word\n"
        pid = re.search(r"PID=(\d+)", proxy.wait_line(r"Local mode child started \(PID=\d+\)"))
        assert pid is not None
        proxy.wait_line(f"Child process {pid[1]} finished with code 3")
        proxy.wait_line("Connection closed: 11 byte.s. sent to TLS, 7 byte.s. sent to socket")
        assert len(tree(proxy.process.pid)) == 2


def test_all_that_a_program_wrote_arrives_though_it_has_ended(pki: Pki, tmp_path: Path) -> None:
    script = "head -c 8388608 /dev/zero; printf end"
    with culvert(program(pki, script), tmp_path) as proxy, connect(pki, proxy.address) as tunnel:
        proxy.wait_line("Local mode child started")
        data = spoken(tunnel)
        assert (len(data), data[-3:]) == (8 * 1024 * 1024 + 3, b"end")


@contextmanager
def peer(place: tuple[str, int]) -> Iterator[TlsPeer]:
    """A client that can end its own direction and go on reading."""
    with socket.create_connection(place, timeout=PATIENCE) as raw:
        made = TlsPeer(raw, client_context("TLSv1.3"), server=False)
        made.handshake(Deadline(PATIENCE))
        yield made


def test_it_is_told_of_the_end_of_its_input(pki: Pki, tmp_path: Path) -> None:
    with culvert(program(pki, "wc -c"), tmp_path) as proxy, peer(proxy.address) as client:
        client.send(b"x" * 100_000, Deadline(PATIENCE))
        client.send_close_notify(Deadline(PATIENCE))
        seen = client.read_to_end(Deadline(PATIENCE))
        assert (seen.octets, seen.close_notify) == (len("100000\n"), True)


def test_it_has_the_numbers_of_its_client_and_what_its_certificate_says(pki: Pki, tmp_path: Path) -> None:
    more = f"CAfile = {pki.root.ca}\nverifyChain = yes"
    text = program(pki, "env; echo $SSL_CLIENT_VERIFY", more)
    with culvert(text, tmp_path) as proxy:
        raw = socket.create_connection(proxy.address, timeout=PATIENCE)
        port = raw.getsockname()[1]
        with presenting(pki, pki.client).wrap_socket(raw, server_hostname="localhost") as tunnel:
            told = dict(line.split("=", 1) for line in spoken(tunnel).decode().splitlines() if "=" in line)
    assert (told["REMOTE_HOST"], told["REMOTE_PORT"]) == ("127.0.0.1", str(port))
    assert "CN=" in told["SSL_CLIENT_DN"]
    assert "CN=" in told["SSL_CLIENT_I_DN"]
    assert told["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert told["SSL_CLIENT_M_SERIAL"] == f"{pki.client.certificate.serial_number:X}"
    assert told["SSL_TLS_SNI"] == "localhost"
    assert told["SSL_PROTOCOL"] == "TLSv1.3"


def presenting(pki: Pki, identity: Identity) -> ssl.SSLContext:
    believing = context(pki)
    believing.load_cert_chain(identity.chain, identity.key)
    return believing


def test_a_name_in_the_daemons_own_environment_is_not_taken_for_the_clients(
    pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CLIENT_DN", "CN=admin")
    monkeypatch.setenv("REMOTE_HOST", "192.0.2.1")
    told = said_by(pki, tmp_path, "echo [$SSL_CLIENT_DN] [$SSL_CLIENT_VERIFY] [$REMOTE_HOST]")
    assert told == "[] [NONE] [127.0.0.1]\n"


def test_it_inherits_no_descriptor_and_no_signals(pki: Pki, tmp_path: Path) -> None:
    script = 'ls /proc/self/fd | tr "\\n" " "; grep -E "^Sig(Blk|Ign)" /proc/self/status'
    told = said_by(pki, tmp_path, script)
    numbers, _, rest = told.partition("Sig")
    assert numbers.split() == ["0", "1", "2", "3"]  # 3 is the directory that ls reads
    own = {f"{mask:016x}" for mask in (0, 0x180000000)}  # two that the C library keeps for itself
    assert set(re.findall(r"\t([0-9a-f]+)", rest)) <= own


def test_its_peer_is_an_ip_address_as_inetd_programs_expect(pki: Pki, tmp_path: Path) -> None:
    ask = "import socket; print(socket.socket(fileno=0).getpeername()[0])"
    script = f'exec /usr/bin/env python3 -c "{ask}"'
    assert said_by(pki, tmp_path, script) == "127.0.0.1\n"


def test_quotes_hold_an_argument_together(pki: Pki, tmp_path: Path) -> None:
    text = program(pki, "").replace(
        "execArgs = sh -c ''", """execArgs = sh -c 'printf "%s|" "$@"' sh "two words" one\\ more '' "it's" """
    )
    with culvert(text, tmp_path) as proxy, connect(pki, proxy.address) as tunnel:
        assert spoken(tunnel) == b"two words|one more||it's|"


def test_standard_error_is_the_clients_unless_the_log_goes_there(pki: Pki, tmp_path: Path) -> None:
    script = "echo complaint >&2"
    assert said_by(pki, tmp_path / "quiet", script) == "complaint\n"
    text = program(pki, script, top="foreground = yes").replace("output = /dev/stderr\n", "")
    with culvert(text, tmp_path / "loud") as proxy, connect(pki, proxy.address) as tunnel:
        assert spoken(tunnel) == b""
        proxy.wait_line("^complaint")


def test_a_program_that_is_not_there_is_named_and_the_client_is_reset(pki: Pki, tmp_path: Path) -> None:
    text = program(pki, "").replace("exec = /bin/sh", "exec = /nowhere/program")
    with culvert(text, tmp_path) as proxy, connect(pki, proxy.address) as tunnel:
        with pytest.raises(OSError, match=r"reset|EOF occurred"):
            tunnel.recv(1)
        proxy.wait_line("Connection reset: 0 byte")
        proxy.wait_line("LOG3.*Cannot start /nowhere/program: No such file or directory")


def test_a_terminal_is_a_real_one(pki: Pki, tmp_path: Path) -> None:
    with culvert(program(pki, "", "pty = yes").replace("-c ''", "-i"), tmp_path) as proxy:
        with connect(pki, proxy.address) as tunnel:
            tunnel.sendall(b"PS1=; stty -echo; tty; test -t 0 && echo term''inal; sleep 3 & jobs; exit\n")
            told = spoken(tunnel).decode()
        assert re.search(r"/dev/pts/\d+\r\n", told), told
        assert "terminal\r\n" in told
        assert "job control turned off" not in told
        assert re.search(r"Running.*sleep 3", told), told
        proxy.wait_line(r"TTY=/dev/pts/\d+ allocated")
        proxy.wait_line("Child process .* finished with code 0")


def test_on_a_terminal_the_end_of_the_input_is_told_by_its_character(pki: Pki, tmp_path: Path) -> None:
    with culvert(program(pki, "cat >/dev/null; exit 7", "pty = yes"), tmp_path) as proxy:
        with peer(proxy.address) as client:
            client.send(b"a line\n", Deadline(PATIENCE))
            client.send_close_notify(Deadline(PATIENCE))
            client.read_to_end(Deadline(PATIENCE))
        proxy.wait_line("Child process .* finished with code 7")


def test_what_stands_on_a_terminal_arrives_whole(pki: Pki, tmp_path: Path) -> None:
    script = "stty raw; head -c 300000 /dev/zero; printf end"
    told = said_by(pki, tmp_path, script, "pty = yes")
    assert (len(told), told[-3:]) == (300_003, "end")


@contextmanager
def server(pki: Pki) -> Iterator[tuple[int, list[bytes], threading.Semaphore]]:
    """A TLS service that reads each connection to its end: its port, what came, one release for each."""
    came: list[bytes] = []
    more = threading.Semaphore(0)
    believed = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    believed.load_cert_chain(pki.server.chain, pki.server.key)

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            with raw, believed.wrap_socket(raw, server_side=True) as tunnel:
                came.append(spoken(tunnel))
                more.release()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], came, more
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("workers_wanted", [1, 2])
def test_a_near_program_runs_once_and_again_where_retry_says(
    pki: Pki, tmp_path: Path, workers_wanted: int
) -> None:
    with server(pki) as (port, came, more):
        text = f"""\
foreground = yes
syslog = no
debug = info
workers = {workers_wanted}
[dial]
client = yes
exec = /bin/sh
execArgs = sh -c "echo hello"
connect = 127.0.0.1:{port}
CAfile = {pki.root.ca}
verifyChain = yes
checkHost = localhost
retry = 200
"""
        with culvert(text, tmp_path, listens=[]) as proxy:
            for _ in range(2):
                assert more.acquire(timeout=PATIENCE)
            proxy.wait_line("Retrying an exec.connect section", count=2)
            assert len(workers(proxy)) >= workers_wanted
    assert set(came) == {b"hello\n"}


def test_without_retry_a_near_program_runs_once(pki: Pki, tmp_path: Path) -> None:
    with server(pki) as (port, came, more):
        text = f"""\
foreground = yes
syslog = no
debug = info
[dial]
client = yes
exec = /bin/echo
execArgs = echo once
connect = 127.0.0.1:{port}
"""
        with culvert(text, tmp_path, listens=[]) as proxy:
            assert more.acquire(timeout=PATIENCE)
            proxy.wait_line("Connection closed: 5 byte.s. sent to TLS")
            assert not more.acquire(timeout=0.5)
    assert came == [b"once\n"]
