"""Programs that were written for inetd, behind `exec`: vsftpd, Dovecot's imap, and pppd on both ends."""

from __future__ import annotations

import ftplib
import imaplib
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.daemon.scene import PATIENCE, context
from tests.interop.beside import both, script, until
from tests.pki import Pki
from tests.proxies import Kind, Proxy, need, need_program, running

pytestmark = [
    pytest.mark.integration,
    pytest.mark.interop,
    pytest.mark.skipif(os.geteuid() != 0, reason="these programs change their user"),
]


@contextmanager
def serving(kind: Kind, pki: Pki, folder: Path, program: str, arguments: str) -> Iterator[Proxy]:
    need(kind)
    text = f"""\
foreground = quiet
pid =
syslog = no
debug = info
output = {folder}/log
[run]
accept = 127.0.0.1:@PORT@
cert = {pki.server.both}
exec = {program}
execArgs = {arguments}
"""
    with running(kind, text, folder) as proxy:
        yield proxy


def tunnel(pki: Pki, place: tuple[str, int]) -> ssl.SSLSocket:
    raw = socket.create_connection(place, timeout=PATIENCE)
    try:
        return context(pki).wrap_socket(raw, server_hostname="localhost")
    except BaseException:
        raw.close()
        raise


class Ftp(ftplib.FTP):
    """FTP over a tunnel that is there already."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__()
        self.sock, self.af = sock, socket.AF_INET
        self.file = sock.makefile("r", encoding="utf-8")
        self.welcome = self.getresp()


VSFTPD = """\
listen=NO
listen_ipv6=NO
background=NO
anonymous_enable=YES
local_enable=NO
anon_root={folder}/public
secure_chroot_dir={folder}/empty
ftp_username=ftp
nopriv_user=nobody
xferlog_enable=NO
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
"""


@both
def test_vsftpd(kind: Kind, pki: Pki, tmp_path: Path) -> None:
    program = need_program("vsftpd")
    for name in ("public", "empty"):
        (tmp_path / name).mkdir(mode=0o755)
    (tmp_path / "vsftpd.conf").write_text(VSFTPD.format(folder=tmp_path))
    with (
        serving(kind, pki, tmp_path, program, f"vsftpd {tmp_path}/vsftpd.conf") as proxy,
        tunnel(pki, proxy.address) as sock,
    ):
        ftp = Ftp(sock)
        try:
            assert str(ftp.welcome).startswith("220 ")
            assert ftp.login().startswith("230")
            assert ftp.pwd() == "/"
            assert ftp.quit().startswith("221")
        finally:
            ftp.close()


class PreAuthenticated(imaplib.IMAP4):
    """IMAP over a tunnel that is there already."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._tunnel = sock
        super().__init__()

    def _create_socket(self, timeout: float | None) -> ssl.SSLSocket:
        return self._tunnel


DOVECOT = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/mail/log
mail_location = maildir:{folder}/mail
first_valid_uid = 1
ssl = no
protocols = imap
"""


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder that other users may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@both
def test_dovecots_imap_without_a_login(kind: Kind, pki: Pki, tmp_path: Path, everybodys: Path) -> None:
    program = need_program("doveadm")
    user = pwd.getpwnam("nobody")
    mail = everybodys / "mail"
    mail.mkdir()
    os.chown(mail, user.pw_uid, user.pw_gid)
    (everybodys / "dovecot.conf").write_text(DOVECOT.format(folder=everybodys))
    start = (
        f"export USER=nobody HOME={mail}\n"
        f"exec setpriv --reuid {user.pw_uid} --regid {user.pw_gid} --clear-groups "
        f"{program} -c {everybodys}/dovecot.conf exec imap"
    )
    file = script(everybodys, "imap", start)
    with (
        serving(kind, pki, tmp_path, str(file), "imap") as proxy,
        tunnel(pki, proxy.address) as sock,
    ):
        imap = PreAuthenticated(sock)
        assert imap.state == "AUTH", imap.welcome
        assert imap.select("INBOX")[0] == "OK"
        assert imap.append("INBOX", "", "", b"Subject: hello\r\n\r\nA word.\r\n")[0] == "OK"
        assert imap.noop()[0] == "OK"
        assert imap.search(None, "SUBJECT", "hello")[1] == [b"1"]
        assert imap.logout()[0] == "BYE"


PPP = """\
foreground = quiet
pid =
syslog = no
debug = info
output = {folder}/{side}.log
[ppp]
{ends}
exec = {program}
execArgs = pppd {arguments}
pty = yes
"""
NEAR, FAR = "10.64.64.2", "10.64.64.1"


@both
def test_pppd_on_both_ends_makes_a_network(kind: Kind, pki: Pki, tmp_path: Path) -> None:
    """The manual's example: two machines, here network namespaces, with nothing but the tunnel in common.

    The tunnel itself goes over a Unix socket, which reaches from one namespace into another.
    """
    if not Path("/dev/ppp").exists():
        pytest.skip("this kernel has no /dev/ppp")
    program = shutil.which("pppd", path="/usr/sbin")
    if program is None:
        pytest.skip("pppd is not installed: its package brings a setuid program and hooks into /etc/ppp")
    place = f"{tmp_path}/ppp.sock"
    usual = "noauth local nodetach nodeflate nobsdcomp noccp"
    sides = {
        "far": (f"accept = {place}\ncert = {pki.server.both}", f"{usual} passive {FAR}:{NEAR}"),
        "near": (f"client = yes\nconnect = {place}", usual),
    }
    with ExitStack() as stack:
        for side, (ends, arguments) in sides.items():
            name = f"ppp-{kind.value}-{side}"
            subprocess.run(["ip", "netns", "add", name], check=True)
            stack.callback(subprocess.run, ["ip", "netns", "delete", name], check=True)
            text = PPP.format(folder=tmp_path, side=side, ends=ends, program=program, arguments=arguments)
            listens = [place] if side == "far" else []
            prefix = ("ip", "netns", "exec", name)
            stack.enter_context(running(kind, text, tmp_path / side, listens=listens, prefix=prefix))
        ping = ["ip", "netns", "exec", f"ppp-{kind.value}-near", "ping", "-c", "1", "-W", "1", FAR]
        until(
            lambda: subprocess.run(ping, check=False, capture_output=True).returncode == 0,
            "nobody answers through the tunnel",
        )
