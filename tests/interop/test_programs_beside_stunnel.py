"""Programs as an end of a tunnel, and inetd mode: the same text, run by stunnel and by Culvert, looks alike.

What differs on purpose stands in DIFFERENT, with the reason; docs/migration.md tells it to operators.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.scene import context
from tests.interop.beside import KINDS, PATIENCE, logged, script, sections, spoken, until
from tests.pki import Pki
from tests.proxies import Deadline, Kind, TlsPeer, client_context, need
from tests.proxies.running import SOURCES

pytestmark = [pytest.mark.integration, pytest.mark.interop]

SCRIPTS = {
    "env": "env; printf end",
    "much": "head -c 3000000 /dev/zero; printf end; exit 3",
    "count": "wc -c",
    "tty": "tty; stty -a; (: </dev/tty) 2>/dev/null && echo controlled; read line; echo got $line; exit 5",
    "near": "echo hello; cat >/dev/null",
    "sink": "head -n 1 >>@FOLDER@/sunk",
    "first": "echo first",
    "last": "echo last",
    "stderr": "echo complaint >&2",
    "args": 'printf "%s|" "$@"',
}

TEXT = """\
foreground = quiet
pid =
syslog = no
debug = debug
output = @FOLDER@/log
cert = @CERT@
CAfile = @CA@
[env]
accept = 127.0.0.1:@env@
verifyChain = yes
exec = @FOLDER@/env.sh
[much]
accept = 127.0.0.1:@much@
exec = @FOLDER@/much.sh
[count]
accept = 127.0.0.1:@count@
exec = @FOLDER@/count.sh
[tty]
accept = 127.0.0.1:@tty@
exec = @FOLDER@/tty.sh
pty = yes
[sink]
accept = 127.0.0.1:@sink@
exec = @FOLDER@/sink.sh
[near]
client = yes
connect = 127.0.0.1:@sink@
exec = @FOLDER@/near.sh
retry = yes
[included]
accept = 127.0.0.1:@included@
exec = /nowhere
include = @FOLDER@/parts
[stderr]
accept = 127.0.0.1:@stderr@
service = another-name
exec = @FOLDER@/stderr.sh
[args]
accept = 127.0.0.1:@args@
exec = @FOLDER@/args.sh
execArgs = args.sh one  two
[absent]
accept = 127.0.0.1:@absent@
exec = /nowhere/program
"""
PORTS = ("env", "much", "count", "tty", "sink", "included", "stderr", "args", "absent")

DIFFERENT: dict[str, dict[Kind, bool]] = {
    # What a program is told beyond stunnel's variables, which do not say whether the certificate is any good.
    "SSL_CLIENT_VERIFY": {Kind.STUNNEL: False, Kind.CULVERT: True},
    # A program that cannot be started: a client that was served nothing is not told a clean end of its data.
    "reset": {Kind.STUNNEL: False, Kind.CULVERT: True},
    # Without a controlling terminal job control does not work in a shell.
    "controlling terminal": {Kind.STUNNEL: False, Kind.CULVERT: True},
}


class Running:
    """One of the two, with all sections."""

    def __init__(self, kind: Kind, pki: Pki, folder: Path, places: dict[str, tuple[str, int]]) -> None:
        self.kind, self.log, self.places, self.folder = kind, folder / "log", places, folder
        self._pki = pki

    @contextmanager
    def tunnel(self, name: str) -> Iterator[ssl.SSLSocket]:
        believes = context(self._pki)
        believes.load_cert_chain(self._pki.client.chain, self._pki.client.key)
        raw = socket.create_connection(self.places[name], timeout=PATIENCE)
        with (
            raw,
            believes.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as tunnel,
        ):
            yield tunnel

    def told(self, name: str) -> bytes:
        with self.tunnel(name) as tunnel:
            return spoken(tunnel)


@pytest.fixture(scope="module", params=KINDS, ids=[kind.value for kind in KINDS])
def daemon(
    request: pytest.FixtureRequest, pki: Pki, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    kind: Kind = request.param
    folder = tmp_path_factory.mktemp(kind.value)
    for name, text in SCRIPTS.items():
        script(folder, name, text.replace("@FOLDER@", str(folder)))
    (folder / "parts").mkdir()
    for order, name in (("20", "last"), ("10", "first")):
        (folder / "parts" / order).write_text(f"exec = {folder}/{name}.sh\n")
    text = TEXT.replace("@CERT@", str(pki.server.both)).replace("@CA@", str(pki.root.ca))
    with sections(kind, text, folder, PORTS) as (_, places):
        yield Running(kind, pki, folder, places)


def test_a_program_is_told_who_its_client_is(daemon: Running) -> None:
    with daemon.tunnel("env") as tunnel:
        port = tunnel.getsockname()[1]
        said = spoken(tunnel).decode()
    told = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    assert (told["REMOTE_HOST"], told["REMOTE_PORT"]) == ("127.0.0.1", str(port))
    assert re.fullmatch(r"(\w+=[^,]+, )*CN=\S+", told["SSL_CLIENT_DN"])
    assert re.fullmatch(r"(\w+=[^,]+, )*CN=.+", told["SSL_CLIENT_I_DN"])
    assert said.endswith("end")
    assert ("SSL_CLIENT_VERIFY" in told) is DIFFERENT["SSL_CLIENT_VERIFY"][daemon.kind]


def test_all_that_it_wrote_arrives_and_its_code_is_logged(daemon: Running) -> None:
    data = daemon.told("much")
    assert (len(data), data[-3:]) == (3_000_003, b"end")
    logged(daemon.log, r"LOG6.*Local mode child started \(PID=\d+\)")
    logged(daemon.log, r"LOG6.*Child process \d+ finished with code 3")


def test_it_sees_the_end_of_its_input_and_may_answer(daemon: Running) -> None:
    with socket.create_connection(daemon.places["count"], timeout=PATIENCE) as raw:
        peer = TlsPeer(raw, client_context("TLSv1.3"), server=False)
        peer.handshake(Deadline(PATIENCE))
        peer.send(b"x" * 100_000, Deadline(PATIENCE))
        peer.send_close_notify(Deadline(PATIENCE))
        seen = peer.read_to_end(Deadline(PATIENCE))
    assert (seen.octets, seen.close_notify) == (len("100000\n"), True)


def test_a_terminal_is_one_and_echoes(daemon: Running) -> None:
    with daemon.tunnel("tty") as tunnel:
        tunnel.sendall(b"a word\n")
        said = b""
        while b"got a word" not in said:
            more = tunnel.recv(65536)
            assert more, said
            said += more
        logged(daemon.log, r"LOG6.*Child process \d+ finished with code 5")  # before a hang-up can reach it
    assert re.search(rb"/dev/pts/\d+\r\n", said), said
    assert re.search(rb"[^-]echo ", said), said
    assert said.count(b"a word") == 2, said
    assert (b"controlled" in said) is DIFFERENT["controlling terminal"][daemon.kind]
    logged(daemon.log, r"LOG7.*TTY=/dev/pts/\d+ allocated")


def test_a_near_program_is_started_again(daemon: Running) -> None:
    sunk = daemon.folder / "sunk"
    until(lambda: sunk.exists() and sunk.read_text().count("hello\n") >= 2, "it ran once only")
    assert set(sunk.read_text().splitlines()) == {"hello"}
    logged(daemon.log, r"LOG6.*Retrying an exec\+connect section")


def test_files_of_a_directory_are_read_in_the_order_of_their_names(daemon: Running) -> None:
    assert daemon.told("included") == b"last\n"


def test_standard_error_is_the_clients_and_a_service_has_the_name_that_it_wants(daemon: Running) -> None:
    assert daemon.told("stderr") == b"complaint\n"
    logged(daemon.log, r"LOG5.*Service \[another-name\] accepted connection from 127\.0\.0\.1:\d+$")


def test_arguments_are_what_stands_between_blanks(daemon: Running) -> None:
    assert daemon.told("args") == b"one|two|"


def test_a_program_that_is_not_there_ends_the_connection(daemon: Running) -> None:
    with daemon.tunnel("absent") as tunnel:
        if DIFFERENT["reset"][daemon.kind]:
            with pytest.raises(OSError, match=r"reset|EOF occurred"):
                tunnel.recv(1)
        else:
            assert tunnel.recv(1) == b""


# inetd


@pytest.mark.parametrize("far", ["exec", "connect"])
@pytest.mark.parametrize("kind", KINDS, ids=[kind.value for kind in KINDS])
def test_one_connection_of_a_super_server(kind: Kind, far: str, pki: Pki, tmp_path: Path) -> None:
    need(kind)
    with socket.create_server(("127.0.0.1", 0)) as target, socket.create_server(("127.0.0.1", 0)) as listener:
        ends = {
            "exec": f"exec = {script(tmp_path, 'host', 'echo $REMOTE_HOST; cat')}",
            "connect": f"connect = 127.0.0.1:{target.getsockname()[1]}",
        }
        file = tmp_path / "inetd.conf"
        file.write_text(
            f"foreground = quiet\nsyslog = no\noutput = {tmp_path}/log\nservice = taken\n"
            f"cert = {pki.server.both}\n{ends[far]}\n"
        )
        client = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
        accepted, _ = listener.accept()
        with subprocess.Popen(
            kind.command(file),
            stdin=accepted.fileno(),
            stdout=accepted.fileno(),
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": str(SOURCES)},
        ) as process:
            accepted.close()
            with client, context(pki).wrap_socket(client, server_hostname="localhost") as tunnel:
                if far == "connect":
                    with target.accept()[0] as reached:
                        reached.sendall(b"127.0.0.1\n")
                assert tunnel.recv(100) == b"127.0.0.1\n"
            assert process.wait(PATIENCE) == 0
    logged(tmp_path / "log", r"Service \[taken\] accepted connection from 127\.0\.0\.1:\d+")
