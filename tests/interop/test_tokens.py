"""Keys in a token, by the PKCS#11 engine: in every worker, over reloads, in both modes, beside stunnel."""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.daemon.scene import ask, ask_once, connect, echoing, reload, workers
from tests.interop.conftest import run
from tests.pki import Pki
from tests.proxies import Kind, Proxy, need, running
from tests.proxies.running import reserved_port
from tests.tls.test_passphrases import in_terminal
from tests.tokens import PIN, Token, token, uri

__all__ = ["token"]

pytestmark = pytest.mark.interop

MOST_TRIES = 200


@pytest.fixture(autouse=True)
def _environment(token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", str(token.configuration))


@contextmanager
def serving(kind: Kind, top: str, section: str, folder: Path) -> Iterator[tuple[Proxy, int]]:
    """A proxy in front of an echo service: the proxy, and the port of the echo service."""
    need(kind)
    with echoing() as echo:
        text = f"foreground = yes\nsyslog = no\ndebug = info\n{top}[web]\n{section}".replace(
            "@ECHO@", str(echo.port)
        )
        with running(kind, text, folder) as proxy:
            yield proxy, echo.port


def server_lines(cert: str, more: str = "") -> str:
    return f"accept = 127.0.0.1:@PORT@\nconnect = 127.0.0.1:@ECHO@\ncert = {cert}\n{more}"


def ask_every_worker(pki: Pki, proxy: Proxy) -> None:
    """Open tunnels until each worker has one: a handshake with the token in each of them."""
    before = {pid: held(pid) for pid in workers(proxy)}
    assert len(before) == 2
    with ExitStack() as stack:
        for _ in range(MOST_TRIES):
            ask(stack.enter_context(connect(pki, proxy.address)))
            if all(held(pid) > count for pid, count in before.items()):
                return
    raise AssertionError("one worker got no connection")


def held(pid: int) -> int:
    """How many descriptors a process holds."""
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("level", ["info", "warning"])  # with Python in each handshake, and without
def test_every_worker_signs_after_forks_a_reload_and_a_death(
    pki: Pki, token: Token, tmp_path: Path, level: str
) -> None:
    top = f"workers = 2\n{token.engine()}"
    section = server_lines(uri("server"), f"debug = {level}\n")
    with serving(Kind.CULVERT, top, section, tmp_path) as (proxy, _):
        proxy.wait_line("Accepting new connections")
        ask_every_worker(pki, proxy)
        reload(proxy)
        proxy.wait_line(r"Child process \d+ finished", count=2)
        ask_every_worker(pki, proxy)
        os.kill(workers(proxy)[0], signal.SIGKILL)
        proxy.wait_line(r"Worker process \d+ replaces it")
        ask_every_worker(pki, proxy)


@pytest.mark.parametrize("kind", [Kind.CULVERT, Kind.STUNNEL])
@pytest.mark.parametrize(
    ("cert", "key"),
    [
        pytest.param("{file}", uri("server", ";type=private"), id="URI"),
        pytest.param(uri("server"), uri("server"), id="both URI"),
        pytest.param("id_01", "id_01", id="id"),
    ],
)
def test_the_lines_of_stunnel_work_in_culvert(
    pki: Pki, token: Token, tmp_path: Path, kind: Kind, cert: str, key: str
) -> None:
    section = server_lines(cert.format(file=pki.server.cert), f"key = {key}\nengineNum = 1\n")
    with serving(kind, token.engine(), section, tmp_path) as (proxy, _):
        ask_once(pki, proxy.address)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_talks_to_an_rsa_key_in_the_token(
    pki: Pki, token: Token, tmp_path: Path, version: str
) -> None:
    section = server_lines(uri("server-rsa"), "engineId = pkcs11\n")
    with serving(Kind.CULVERT, token.engine(), section, tmp_path) as (proxy, _):
        arguments = ("-connect", f"127.0.0.1:{proxy.port}", "-CAfile", pki.root.ca, "-verify_return_error")
        done = run("openssl", "s_client", "-brief", version, *arguments)
        assert b"Verification: OK" in done.stderr, done.stderr
        assert b"RSA-PSS" in done.stderr


def test_a_client_shows_the_certificate_whose_key_is_in_the_token(
    pki: Pki, token: Token, tmp_path: Path
) -> None:
    wanted = f"verifyChain = yes\nCAfile = {pki.root.ca}\n"
    section = server_lines(str(pki.server.both), wanted)
    with serving(Kind.STUNNEL, "", section, tmp_path / "far") as (far, _):
        near = (
            f"client = yes\naccept = 127.0.0.1:@PORT@\nconnect = 127.0.0.1:{far.port}\n"
            f"cert = {uri('client')}\n{wanted}checkHost = localhost\nsni = localhost\n"
        )
        with serving(Kind.CULVERT, token.engine(), near, tmp_path / "near") as (proxy, _):
            with socket.create_connection(proxy.address, timeout=15) as sock:
                sock.sendall(b"hello")
                assert sock.recv(16) == b"hello"
            far.wait_line("CERT: Verification OK|Certificate accepted.*CN=client")


def test_an_authority_of_the_token_is_trusted(pki: Pki, token: Token, tmp_path: Path) -> None:
    more = f"engineNum = 1\nverifyChain = yes\nCAengine = {uri('root')}\n"
    with serving(Kind.CULVERT, token.engine(), server_lines(str(pki.server.both), more), tmp_path) as (
        proxy,
        _,
    ):
        context = ssl.create_default_context(cafile=str(pki.root.ca))
        context.load_cert_chain(str(pki.client.both))
        raw = socket.create_connection(proxy.address, timeout=15)
        with context.wrap_socket(raw, server_hostname="localhost") as tunnel:
            ask(tunnel)
        with pytest.raises((ssl.SSLError, OSError)):
            ask_once(pki, proxy.address)  # without a certificate


def test_a_daemon_in_the_background_finds_new_keys_of_the_token_at_a_reload(
    pki: Pki, token: Token, tmp_path: Path
) -> None:
    """Its supervisor, too, is a fork of the process that has opened the token."""
    with echoing() as echo, reserved_port() as port:
        file = tmp_path / "culvert.conf"
        top = f"syslog = no\noutput = {tmp_path}/log\npid = {tmp_path}/pid\n{token.engine()}[web]\n"
        section = server_lines(uri("server")).replace("@PORT@", str(port))
        text = top + section.replace("@ECHO@", str(echo.port))
        file.write_text(text)
        assert run(sys.executable, "-m", "culvert", file).returncode == 0
        pid = int((tmp_path / "pid").read_text())
        handle = os.pidfd_open(pid)
        try:
            ask_once(pki, ("127.0.0.1", port))
            file.write_text(text.replace(uri("server"), uri("server-rsa")))
            os.kill(pid, signal.SIGHUP)
            deadline = time.monotonic() + 15
            wanted = pki.server_rsa.pem.strip()
            while ssl.get_server_certificate(("127.0.0.1", port)).encode().strip() != wanted:
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            ask_once(pki, ("127.0.0.1", port))
        finally:
            os.kill(pid, signal.SIGTERM)
            assert select.select([handle], [], [], 15)[0]
            os.close(handle)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_token_out_of_the_reach_of_the_workers_stops_the_start(
    pki: Pki, token: Token, tmp_path: Path
) -> None:
    top = f"foreground = yes\nsyslog = no\nsetuid = nobody\nsetgid = nogroup\n{token.engine()}"
    section = f"cert = {pki.server.cert}\nkey = {uri('server')}"
    file = Path(configuration(tmp_path, top, section))
    file.write_text(file.read_text().replace("127.0.0.1:1\n", "127.0.0.1:0\n"))
    done = run(sys.executable, "-m", "culvert", file)
    assert done.returncode == 1
    assert b"Service [s0]: its token cannot be used with the rights of a worker: " in done.stderr


CHECK = "import sys; from culvert.cli.main import main; sys.exit(main(sys.argv[1:]))"


def configuration(folder: Path, top: str, *sections: str) -> str:
    """A file with these sections."""
    file = folder / "culvert.conf"
    places = [
        f"[s{n}]\naccept = 127.0.0.1:{n + 1}\nconnect = 127.0.0.1:80\n{each}\n"
        for n, each in enumerate(sections)
    ]
    file.write_text(top + "".join(places))
    return str(file)


def test_the_pin_is_asked_for_on_the_terminal_once_for_all_sections(token: Token, tmp_path: Path) -> None:
    sections = [f"cert = {uri(name)}" for name in ("server", "server-rsa")]
    file = configuration(tmp_path, token.engine(None), *sections)
    status, output = in_terminal(CHECK, ["check", file], [b"wrong", PIN.encode()], prompt=b"PIN for culvert")
    assert status == 0, output
    assert output.count(b"Enter PKCS#11 token PIN for culvert: ") == 2
    assert PIN.encode() not in output


@pytest.mark.parametrize(
    ("top", "section", "reason"),
    [
        ("", f"cert = {uri('server')}", "OpenSSL has no loader for pkcs11: URIs, `engine = pkcs11` or"),
        ("engine = none", "cert = @CERT@", "conf:1: error: engine: Failed to open the engine"),
        ("@ENGINE@", "cert = @CERT@\nkey = pkcs11:object=nobody", "object not found"),
        ("@ENGINE@", "cert = @CERT@\nkey = " + uri("server-rsa"), "does not match the certificate"),
        (
            "@ENGINE@engineCtrl = FLY:secret\n",
            "cert = @CERT@",
            "conf:4: error: engineCtrl: Failed to execute",
        ),
        (
            "@ENGINE@engineDefault = CIPHERS,RSA\nengine = none\n",
            "cert = @CERT@",
            "conf:5: error: engine: Failed to",
        ),
        ("engine = auto", "engineNum = 200\ncert = @CERT@", "engineNum: Illegal engine number"),
        (
            "@NO_PIN@",
            f"cert = {uri('server', ';pin-value=secret')}",
            "pin-value=*** of engine pkcs11: PIN inc",
        ),
        ("@NO_PIN@", f"cert = {uri('server')}", "it is locked and there is no terminal"),
    ],
)
def test_what_cannot_be_had_is_refused_with_its_reason(
    pki: Pki, token: Token, tmp_path: Path, top: str, section: str, reason: str
) -> None:
    known = {"@CERT@": str(pki.server.both), "@ENGINE@": token.engine(), "@NO_PIN@": token.engine(None)}
    for word, text in known.items():
        top, section = top.replace(word, text), section.replace(word, text)
    file = configuration(tmp_path, top if top.endswith("\n") or not top else f"{top}\n", section)
    done = subprocess.run(
        [sys.executable, "-c", CHECK, "check", file],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
        check=False,
    )
    assert done.returncode == 2
    assert reason in done.stdout
    assert "secret" not in done.stdout + done.stderr


def test_a_wrong_pin_of_the_file_is_tried_once(pki: Pki, token: Token, tmp_path: Path) -> None:
    """However many sections and reloads there are, and whatever retries a service in quarantine."""
    pins = [f"cert = {pki.server.cert}\nkey = {uri('server', f';pin-value={pin}')}" for pin in "112"]
    plain = [f"cert = {uri(name)}" for name in ("server", "server-rsa")]
    for top, sections, tries in ((None, pins, 2), ("3", plain, 1)):
        file = configuration(tmp_path, token.engine(top), *sections)
        done = run(sys.executable, "-m", "culvert", "check", file)
        assert done.stdout.count(b"PIN incorrect") == tries, done.stdout
        assert done.stdout.count(b"the PIN is wrong, and is not tried twice") >= 1


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_pin_that_everybody_can_read_is_warned_of(
    pki: Pki, token: Token, tmp_path: Path, mode: int
) -> None:
    section = f"cert = {pki.server.cert}\nkey = {uri('server', f';pin-value={PIN}')}"
    for top in (token.engine(), token.engine(None)):
        file = Path(configuration(tmp_path, top, section))
        file.chmod(mode)
        done = run(sys.executable, "-m", "culvert", "check", file)
        assert (done.returncode, f"Insecure file permissions on {file}: a PIN".encode() in done.stdout) == (
            (1, True) if mode == 0o644 else (0, False)
        )
        assert PIN.encode() not in done.stdout


def test_a_reload_may_add_engines_and_change_none(pki: Pki, token: Token, tmp_path: Path) -> None:
    section = server_lines(uri("server"))
    with serving(Kind.CULVERT, token.engine(), section, tmp_path) as (proxy, _):
        file = tmp_path / "culvert.conf"
        text = file.read_text()
        file.write_text(text.replace(f"PIN:{PIN}", "PIN:another"))
        reload(proxy, broken=True)
        line = proxy.wait_line(
            "engineCtrl: engines are set up at the start; for this change a restart is needed"
        )
        assert "another" not in line
        file.write_text(text.replace("[web]", "engine = loader_attic\n[web]"))
        reload(proxy)
        ask_once(pki, proxy.address)
