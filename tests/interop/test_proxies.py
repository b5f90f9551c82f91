"""SOCKS, CONNECT, CIFS and CapWIN with programs of other projects, on both sides of Culvert."""

from __future__ import annotations

import base64
import contextlib
import http.server
import ipaddress
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import spnego

from tests.interop.conftest import SECONDS, run, spawned
from tests.interop.sections import Running, sections
from tests.pki import Pki
from tests.proxies import Kind, need
from tests.proxies.procfs import is_listening
from tests.proxies.running import reserved_port

pytestmark = [pytest.mark.interop, pytest.mark.integration]

HELLO = b"hello from the backend"


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(HELLO)))
        self.end_headers()
        self.wfile.write(HELLO)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    """The port of a web server on every address of this machine."""
    with http.server.ThreadingHTTPServer(("", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def believes(pki: Pki) -> str:
    return f"client = yes\nverifyChain = yes\nCAfile = {pki.ca}\ncheckHost = localhost\n"


def fetch(port: int) -> bytes:
    """A page through a tunnel that leads to the web server; empty when the tunnel ends first."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as sock, sock.makefile("rb") as stream:
        try:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return stream.read().rpartition(b"\r\n\r\n")[2]
        except ConnectionResetError:
            return b""


# SOCKS ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def socks(pki: Pki, web: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    server = f"protocol = socks\ncert = {pki.server.both}\n"
    client = believes(pki)
    texts = {
        "open": server + "socksAllow = 127.0.0.1, ::1",
        "closed": server,
        "denied": server + "socksAllow = 127.0.0.0/8\nsocksDeny = 127.0.0.1",
        "near": client + "connect = 127.0.0.1:{open}",
        "near-closed": client + "connect = 127.0.0.1:{closed}",
        "near-denied": client + "connect = 127.0.0.1:{denied}",
        "asks": client + f"protocol = socks\nprotocolHost = 127.0.0.1:{web}\nconnect = 127.0.0.1:{{open}}",
        "asks-closed": client + f"protocol = socks\nprotocolHost = 0:{web}\nconnect = 127.0.0.1:{{closed}}",
    }
    with sections(tmp_path_factory.mktemp("socks"), texts) as culvert:
        yield culvert


@pytest.mark.parametrize("version", ["socks4", "socks4a", "socks5", "socks5-hostname"])
def test_curl_reaches_what_is_open_and_nothing_else(socks: Running, web: int, version: str) -> None:
    page = f"http://127.0.0.1:{web}/" if version in ("socks4", "socks5") else f"http://localhost:{web}/"
    outcomes = {
        name: run("curl", "-4", "-sS", f"--{version}", f"127.0.0.1:{socks.port[name]}", page)
        for name in ("near", "near-closed", "near-denied")
    }
    assert outcomes["near"].stdout == HELLO
    for name in ("near-closed", "near-denied"):
        assert outcomes[name].stdout == b""
        assert outcomes[name].returncode == 97  # CURLE_PROXY: it was refused, and not cut off


@pytest.mark.parametrize("version", ["socks4", "socks5"])
def test_curl_is_told_that_nobody_is_there(socks: Running, version: str) -> None:
    with reserved_port() as port:
        proxy = f"127.0.0.1:{socks.port['near']}"
        outcome = run("curl", "-sS", f"--{version}", proxy, f"http://127.0.0.1:{port}/")
    assert outcome.returncode == 97


def test_the_own_client_asks_the_own_server(socks: Running) -> None:
    assert fetch(socks.port["asks"]) == HELLO
    assert fetch(socks.port["asks-closed"]) == b""
    socks.proxy.wait_line("SOCKS5 request failed: Connection not allowed by ruleset")


NAMES = (
    "0", "0.0.0.0", "0x7f000001", "127.0.0.1", "127.1", "2130706433", "localhost", "LOCALHOST", "::", "::1",
    "[::1]", "::ffff:127.0.0.1", "::ffff:0:127.0.0.1", "::127.0.0.1", "fe80::1%lo", "64:ff9b::7f00:1",
    "2002:7f00:1::", "2001:0:7f00:1::", "127.255.255.254",
)  # fmt: skip
NUMBERS = (
    "0.0.0.0", "127.0.0.1", "127.9.9.9", "::", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "fe80::1",
    "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "::ffff:0.0.0.0",
)  # fmt: skip


def own_addresses() -> list[str]:
    lines = Path("/proc/net/if_inet6").read_text().split("\n")
    return [str(ipaddress.ip_address(bytes.fromhex(each.split()[0]))) for each in lines if each]


def requests(port: int) -> Iterator[tuple[str, bytes, bytes]]:
    """What is asked for, the request, and how its refusal begins."""
    end = struct.pack("!H", port)
    for name in NAMES:
        text = name.encode()
        yield f"4a {name}", b"\4\1" + end + b"\0\0\0\1\0" + text + b"\0", b"\0\x5b"
        yield f"5 {name}", b"\5\1\0\5\1\0\3" + bytes((len(text),)) + text + end, b"\5\0\5"
    for number in (*NUMBERS, *own_addresses()):
        packed = ipaddress.ip_address(number).packed
        kind = b"\1" if len(packed) == 4 else b"\4"
        yield f"5 {number}", b"\5\1\0\5\1\0" + kind + packed + end, b"\5\0\5\2"
        if len(packed) == 4 and packed[:3] != b"\0\0\0":
            yield f"4 {number}", b"\4\1" + end + packed + b"\0", b"\0\x5b"


def answered(context: ssl.SSLContext, port: int, request: bytes) -> bytes:
    """All that a server inside TLS says to a request."""
    with (
        socket.create_connection(("127.0.0.1", port), SECONDS) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        tls.sendall(request)
        return b"".join(iter(lambda: tls.recv(100), b""))


def test_no_form_of_a_loopback_address_leads_there(socks: Running, pki: Pki) -> None:
    """T6 of the field: refused on the address that would be connected to, however it was written."""
    context = ssl.create_default_context(cafile=str(pki.ca))
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as target:
        target.settimeout(0)
        for what, request, refusal in requests(target.getsockname()[1]):
            answer = answered(context, socks.port["closed"], request)
            assert answer.startswith(refusal), (what, answer)
            assert not refusal.startswith(b"\5") or answer[3] in (2, 4), (what, answer)
            with pytest.raises(BlockingIOError):
                target.accept()


def test_stunnel_understands_the_socks_of_both_sides(
    pki: Pki, web: int, socks: Running, tmp_path: Path
) -> None:
    """As a client 5.68 knows no protocolHost, so there it carries what curl says."""
    need(Kind.STUNNEL)
    far = {
        "server": f"protocol = socks\ncert = {pki.server.both}\n",
        "client": f"{believes(pki)}connect = 127.0.0.1:{socks.port['open']}",
    }
    with sections(tmp_path / "stunnel", far, kind=Kind.STUNNEL) as stunnel:
        page, proxy = f"http://127.0.0.1:{web}/", f"127.0.0.1:{stunnel.port['client']}"
        assert run("curl", "-sS", "--socks5", proxy, page).stdout == HELLO
        # It refuses 127.0.0.1 and takes 0, which is the same.
        own = f"protocol = socks\nprotocolHost = 0:{web}\nconnect = 127.0.0.1:{stunnel.port['server']}"
        with sections(tmp_path / "culvert", {"client": believes(pki) + own}) as culvert:
            assert fetch(culvert.port["client"]) == HELLO


# CONNECT --------------------------------------------------------------------------------------------------


def write_tinyproxy(folder: Path, port: int) -> Sequence[str | Path]:
    file = folder / "tinyproxy.conf"
    file.write_text(
        f"Port {port}\nListen 127.0.0.1\nTimeout 30\nMaxClients 10\nAllow 127.0.0.1\n"
        "BasicAuth user secret\nDisableViaHeader Yes\n"
    )
    return "-d", "-c", file


def write_squid(folder: Path, port: int) -> Sequence[str | Path]:
    """With its own reader of a file of passwords, and without a cache."""
    (folder / "passwords").write_bytes(b"user:" + run("openssl", "passwd", "-apr1", "secret").stdout)
    helper = f"/usr/lib/squid/basic_ncsa_auth {folder}/passwords"
    (folder / "squid.conf").write_text(
        f"http_port 127.0.0.1:{port}\npid_filename none\naccess_log none\ncache deny all\n"
        "cache_log /dev/null\ncoredump_dir none\nnetdb_filename none\npinger_enable off\n"
        "visible_hostname localhost\nshutdown_lifetime 0 seconds\n"
        f"auth_param basic program {helper}\nauth_param basic children 1 startup=1\n"
        "acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n"
    )
    return "-N", "-n", f"culvert{port}", "-f", folder / "squid.conf"


@contextlib.contextmanager
def proxy_with_password(name: str) -> Iterator[int]:
    """The port of a private HTTP proxy that knows one user."""
    user = "proxy" if name == "squid" else None  # it refuses to be root
    with tempfile.TemporaryDirectory(prefix="culvert-proxy-") as made, reserved_port() as port:
        folder = Path(made)
        folder.chmod(0o755)
        write = {"squid": write_squid, "tinyproxy": write_tinyproxy}[name]
        with spawned(name, *write(folder, port), user=user) as process:
            while not is_listening(("127.0.0.1", port)):
                assert process.poll() is None, process.communicate()[0].decode()
            try:
                yield port
            finally:
                process.terminate()  # squid takes its shared memory with it
                process.wait(SECONDS)


@pytest.mark.parametrize("name", ["squid", "tinyproxy"])
def test_a_proxy_connects_whoever_it_knows(pki: Pki, web: int, tmp_path: Path, name: str) -> None:
    server = f"cert = {pki.server.both}\nconnect = 127.0.0.1:{web}"
    client = believes(pki) + "protocol = connect\nprotocolHost = 127.0.0.1:{server}\n"
    login = "protocolUsername = user\nprotocolPassword = "
    with proxy_with_password(name) as port:
        end = f"\nconnect = 127.0.0.1:{port}"
        texts = {
            "server": server,
            "known": f"{client}{login}secret{end}",
            "wrong": f"{client}{login}other{end}",
            "nobody": client + end,
        }
        with sections(tmp_path / "culvert", texts) as culvert:
            assert fetch(culvert.port["known"]) == HELLO
            for section in ("wrong", "nobody"):
                assert fetch(culvert.port[section]) == b""
            culvert.proxy.wait_line(r"CONNECT request rejected.*: HTTP/1\.. 40[17]", count=2)
            assert base64.b64encode(b"user:secret").decode() not in culvert.proxy.output


def test_a_destination_where_nobody_is_ends_a_tunnel_that_was_granted(pki: Pki, tmp_path: Path) -> None:
    """The answer comes before TLS, and the destination is dialled after it."""
    server = f"protocol = connect\ncert = {pki.server.both}\nconnect = 127.0.0.1:9\nsocksAllow = 127.0.0.1\n"
    context = ssl.create_default_context(cafile=str(pki.ca))
    with sections(tmp_path, {"server": server}) as culvert, reserved_port() as nobody:
        with socket.create_connection(("127.0.0.1", culvert.port["server"]), SECONDS) as sock:
            sock.sendall(f"CONNECT 127.0.0.1:{nobody} HTTP/1.1\r\n\r\n".encode())
            answer = b"HTTP/1.0 200 OK\r\n\r\n"
            assert sock.recv(len(answer), socket.MSG_WAITALL) == answer
            tls = context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)
            with tls, pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
                tls.recv(1)
        culvert.proxy.wait_line(rf"s_connect: connect 127\.0\.0\.1:{nobody}: Connection refused")


class NtlmProxy(threading.Thread):
    """An HTTP proxy for one connection that believes NTLM only; pyspnego judges."""

    def __init__(self, listener: socket.socket, far: int) -> None:
        super().__init__()
        self.listener, self.far, self.complete = listener, far, False

    def run(self) -> None:
        self.listener.settimeout(SECONDS)
        with self.listener.accept()[0] as sock, sock.makefile("rb") as stream:
            judge = spnego.server(protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm)
            for _ in range(2):
                head = iter(stream.readline, b"\r\n")
                token = next(each for each in list(head) if each.startswith(b"Proxy-Authorization: NTLM "))
                answer = judge.step(base64.b64decode(token.split()[-1]))
                if answer:
                    sock.sendall(
                        b"HTTP/1.1 407 Authenticate\r\nProxy-Authenticate: NTLM " + base64.b64encode(answer)
                        + b"\r\nContent-Length: 3\r\n\r\nno\n"
                    )  # fmt: skip
            self.complete = judge.complete
            sock.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            self._carry(sock)

    def _carry(self, sock: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self.far), SECONDS) as far:
            other = threading.Thread(target=_pump, args=(far, sock))
            other.start()
            _pump(sock, far)
            other.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_a_proxy_believes_ntlm(pki: Pki, web: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "accounts").write_text("DOM:user:secret\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(tmp_path / "accounts"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        texts = {
            "server": f"cert = {pki.server.both}\nconnect = 127.0.0.1:{web}",
            "client": believes(pki) + "protocol = connect\nprotocolHost = far.example:443\n"
            "protocolAuthentication = ntlm\nprotocolDomain = DOM\nprotocolUsername = user\n"
            f"protocolPassword = secret\nconnect = 127.0.0.1:{listener.getsockname()[1]}",
        }
        with sections(tmp_path / "culvert", texts) as culvert:
            proxy = NtlmProxy(listener, culvert.port["server"])
            proxy.start()
            assert fetch(culvert.port["client"]) == HELLO
            proxy.join()
            assert proxy.complete


@pytest.mark.parametrize("protocol", ["connect", "cifs"])
def test_stunnel_understands_both_sides(pki: Pki, web: int, tmp_path: Path, protocol: str) -> None:
    need(Kind.STUNNEL)
    far = f"connect = 127.0.0.1:{web}\n"
    server = f"protocol = {protocol}\ncert = {pki.server.both}\n{far}"
    client = believes(pki) + f"protocol = {protocol}\n"
    if protocol == "connect":
        client += f"protocolHost = 127.0.0.1:{web}\n"
    with sections(tmp_path / "stunnel-server", {"server": server}, kind=Kind.STUNNEL) as stunnel:
        own = {
            "server": server + ("socksAllow = 127.0.0.1\n" if protocol == "connect" else ""),
            "client": f"{client}connect = 127.0.0.1:{stunnel.port['server']}",
            "own": f"{client}connect = 127.0.0.1:{{server}}",
        }
        with sections(tmp_path / "culvert", own) as culvert:
            assert fetch(culvert.port["client"]) == HELLO
            assert fetch(culvert.port["own"]) == HELLO
            text = {"client": f"{client}connect = 127.0.0.1:{culvert.port['server']}"}
            with sections(tmp_path / "stunnel-client", text, kind=Kind.STUNNEL) as near:
                assert fetch(near.port["client"]) == HELLO


# CapWIN ---------------------------------------------------------------------------------------------------


class Directory(threading.Thread):
    """Agrees to the binds of one user."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__()
        self.listener = listener

    def run(self) -> None:
        while True:
            try:
                sock = self.listener.accept()[0]
            except OSError:
                return
            with sock:
                request = sock.recv(4096)
                good = b"uid=user,ou=people,O=CAPWIN,C=US\x80\4pass" in request
                sock.sendall(
                    bytes.fromhex("300c0201016107 0a01".replace(" ", "")) + bytes((0 if good else 49,))
                )
                sock.sendall(bytes.fromhex("04000400"))


def test_what_one_worker_is_told_all_workers_know(pki: Pki, web: int, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        directory = Directory(listener)
        directory.start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        texts = {
            "server": f"protocol = capwin\nprotocolHost = {host}\ncert = {pki.server.both}\n"
            f"connect = 127.0.0.1:{web}",
            "control": believes(pki) + "protocol = capwinctrl",
            "client": believes(pki) + "protocol = capwin\nconnect = 127.0.0.1:{server}",
        }
        with sections(tmp_path, texts, workers=2) as culvert:
            for password, page in (("none", b""), ("wrong", b""), ("pass", HELLO)):
                if password != "none":
                    with socket.create_connection(("127.0.0.1", culvert.port["control"]), SECONDS) as sock:
                        sock.sendall(f"AUTH\x1fuser\x1f{password}\x1fctrl\x1c".encode())
                        assert sock.recv(1) == b""
                for _ in range(8):  # enough for both workers to have had some
                    assert fetch(culvert.port["client"]) == page
            assert "secret" not in culvert.proxy.output
            assert "wrong" not in culvert.proxy.output.replace("wrong version", "")
        listener.shutdown(socket.SHUT_RDWR)
        directory.join()
