"""The PROXY protocol with haproxy and nginx, and what a backend is told of a client's certificate."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import SECONDS, run, spawned
from tests.interop.sections import Running, sections
from tests.interop.test_proxies import believes
from tests.negotiate.test_proxy import extensions
from tests.pki import Pki
from tests.proxies import Kind, need, need_program, running
from tests.proxies.procfs import Place, is_listening
from tests.proxies.running import need_missing, reserved_port

pytestmark = [pytest.mark.interop, pytest.mark.integration]


class Backend(threading.Thread):
    """Keeps what each connection begins with, and answers with `seen`."""

    def __init__(self) -> None:
        super().__init__()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.seen: list[bytes] = []

    def run(self) -> None:
        while True:
            try:
                sock = self.listener.accept()[0]
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                sock.settimeout(SECONDS)
                data = b""
                while not data.endswith(b"hello"):
                    if not (more := sock.recv(65536)):
                        break
                    data += more
                self.seen.append(data)
                sock.sendall(b"seen")


@pytest.fixture(scope="module")
def one_backend() -> Iterator[Backend]:
    made = Backend()
    made.start()
    yield made
    made.listener.shutdown(socket.SHUT_RDWR)
    made.join()
    made.listener.close()


@pytest.fixture
def backend(one_backend: Backend) -> Backend:
    """With nothing seen so far."""
    one_backend.seen.clear()
    return one_backend


def spoken(place: Place, first: bytes = b"", tls: ssl.SSLContext | None = None) -> tuple[bytes, int]:
    """Say `hello`, in TLS or not, behind something in clear; the answer, and the own port."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(
            socket.socket(socket.AF_UNIX if isinstance(place, str) else socket.AF_INET)
        )
        sock.settimeout(SECONDS)
        sock.connect(place)
        own = 0 if isinstance(place, str) else sock.getsockname()[1]
        sock.sendall(first)
        if tls is not None:
            shaken = tls.wrap_socket(sock, server_hostname="localhost", do_handshake_on_connect=False)
            sock = stack.enter_context(shaken)
            shaken.do_handshake()
        sock.sendall(b"hello")
        try:
            return sock.recv(10), own
        except (ConnectionResetError, ssl.SSLError):
            return b"", own


def trusting(pki: Pki) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pki.ca))


V1 = b"PROXY TCP4 192.0.2.1 198.51.100.7 1000 443\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" + bytes.fromhex(
    "20010db800000000000000000000000120010db800000000000000000000000203e801bb"
)
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
ARRIVED = b"PROXY TCP4 192.0.2.1 198.51.100.7 1000 443\r\nhello"


@pytest.fixture(scope="module")
def culvert(pki: Pki, one_backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("proxied")
    far = f"connect = 127.0.0.1:{one_backend.port}\n"
    server = f"cert = {pki.server.both}\n{far}"
    near = believes(pki)
    path = folder / "near.sock"
    texts = {
        "server": f"{server}proxyFrom = 127.0.0.1\nprotocol = proxy",
        "refuses": f"{server}proxyFrom = 127.0.0.0/8\ndeny = 192.0.2.0/24\nproxyProtocol = v1",
        "trusts-others": f"{server}proxyFrom = 192.0.2.0/24\nproxyProtocol = v1",
        "client": f"{near}connect = 127.0.0.1:{{server}}\nproxyFrom = 127.0.0.1\nproxyProtocol = v2",
        "local": f"{near}connect = 127.0.0.1:{{server}}\naccept = {path}\n"
        "proxyFrom = unix\nproxyProtocol = v1",
        "told": f"{server}proxyProtocol = v2\nverify = 0\nCAfile = {pki.ca}\nalpn = postgresql",
        "strict": f"{server}proxyProtocol = v2\nverifyChain = yes\nCAfile = {pki.ca}",
    }
    with sections(folder, texts) as found:
        found.proxy.wait_listening(str(path))
        yield found


@pytest.mark.parametrize("header", [V1, V2, LOCAL], ids=["v1", "v2", "local"])
def test_a_header_before_tls_is_believed_and_passed_on(
    culvert: Running, backend: Backend, pki: Pki, header: bytes
) -> None:
    answer, own = spoken(("127.0.0.1", culvert.port["server"]), header, trusting(pki))
    assert answer == b"seen"
    told = {
        V1: ARRIVED,
        V2: b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\nhello",
        LOCAL: f"PROXY TCP4 127.0.0.1 127.0.0.1 {own} {culvert.port['server']}\r\nhello".encode(),
    }
    assert backend.seen == [told[header]]
    client = {V1: "192.0.2.1:1000", V2: "2001:db8::1:1000", LOCAL: f"127.0.0.1:{own}"}[header]
    culvert.proxy.wait_line(f"accepted connection from {client}")


def test_clients_are_judged_by_the_address_that_a_trusted_proxy_tells(culvert: Running, pki: Pki) -> None:
    place = ("127.0.0.1", culvert.port["refuses"])
    with pytest.raises((ConnectionError, ssl.SSLError)):
        spoken(place, V1, trusting(pki))
    culvert.proxy.wait_line("REFUSED by deny from 192.0.2.1:1000")
    assert spoken(place, V2, trusting(pki))[0] == b"seen"


def test_a_trusted_proxy_without_a_header_is_refused_and_nobody_else_may_send_one(
    culvert: Running, backend: Backend, pki: Pki
) -> None:
    for section, first in (("server", b""), ("trusts-others", V1), ("trusts-others", V2)):
        with pytest.raises((ConnectionError, ssl.SSLError)):
            spoken(("127.0.0.1", culvert.port[section]), first, trusting(pki))
    culvert.proxy.wait_line(r"Service \[server\] REFUSED by proxyFrom from 127\.0\.0\.1")
    answer, own = spoken(("127.0.0.1", culvert.port["trusts-others"]), b"", trusting(pki))
    assert answer == b"seen"
    assert backend.seen[-1].startswith(f"PROXY TCP4 127.0.0.1 127.0.0.1 {own} ".encode())


@pytest.mark.parametrize("section", ["client", "local"])
def test_a_client_tells_a_server_that_tells_its_backend(
    culvert: Running, backend: Backend, section: str
) -> None:
    """In on TCP or on a Unix socket; out in clear before TLS, as version 2 or 1; version 1 at the end."""
    place = ("127.0.0.1", culvert.port["client"])
    answer, _ = spoken(place if section == "client" else str(culvert.proxy.folder / "near.sock"), V1)
    assert answer == b"seen"
    assert backend.seen == [ARRIVED]


def test_the_backend_is_told_what_is_known_of_the_certificate(
    culvert: Running, backend: Backend, pki: Pki
) -> None:
    """T14 of the field: the code is 0 for a certificate that was verified and for no other."""
    stranger = pki.self_signed
    shown = {"none": None, "good": pki.client, "bad": stranger}
    for identity in shown.values():
        context = trusting(pki)
        context.set_alpn_protocols(["postgresql"])
        if identity is not None:
            context.load_cert_chain(identity.both)
        assert spoken(("127.0.0.1", culvert.port["told"]), b"", context)[0] == b"seen"
    strict = trusting(pki)
    strict.load_cert_chain(pki.client.both)
    assert spoken(("127.0.0.1", culvert.port["strict"]), b"", strict)[0] == b"seen"
    headers = [each[16 + 12 :].removesuffix(b"hello") for each in backend.seen]
    told = [extensions(each)[0x20] for each in headers]
    verify = [int.from_bytes(each[1:5], "big") for each in told]
    assert [each[0] for each in told] == [0x01, 0x07, 0x07, 0x07]
    assert [code == 0 for code in verify] == [False, True, False, True]
    assert extensions(headers[0])[0x01] == b"postgresql"
    assert extensions(headers[0])[0x02] == b"localhost"
    inner = extensions(told[1][5:])
    assert inner[0x22] == b"client"
    assert inner[0x21] == b"TLSv1.3"
    assert inner[0x24] == b"ecdsa-with-SHA256"
    assert inner[0x25] == b"EC256"
    assert ssl.DER_cert_to_PEM_cert(inner[0x28]).encode() in pki.client.both.read_bytes()


# Programs of others ---------------------------------------------------------------------------------------


STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")  # libnginx-mod-stream of Debian
ROOMS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def haproxy_towards(port: int, option: str) -> str:
    return (
        "defaults\n    mode tcp\n    timeout connect 10s\n    timeout client 10s\n    timeout server 10s\n"
        f"listen near\n    bind 127.0.0.1:@PORT@\n    server far 127.0.0.1:{port} {option}\n"
    )


@contextlib.contextmanager
def nginx(folder: Path, port: int, text: str) -> Iterator[None]:
    """One process of nginx without a file of its own anywhere else."""
    program = need_program("nginx")
    folder.mkdir()
    file = folder / "nginx.conf"
    module = f"load_module {STREAM};\n" if "stream {" in text else ""
    own = f"daemon off; master_process off; pid {folder}/pid; error_log stderr;\nevents {{}}\n"
    file.write_text(module + own + text)
    with spawned(program, "-e", "stderr", "-c", file) as process:
        while not is_listening(("127.0.0.1", port)):
            assert process.poll() is None, process.communicate()[0].decode()
        yield


def need_stream() -> None:
    if not STREAM.exists():
        need_missing(str(STREAM))


@contextlib.contextmanager
def telling(program: str, port: int, folder: Path) -> Iterator[int]:
    """The port of a program that tells a section of Culvert where its clients come from."""
    if program == "nginx":
        need_stream()
        with reserved_port() as near:
            server = f"listen 127.0.0.1:{near}; proxy_pass 127.0.0.1:{port}; proxy_protocol on;"
            with nginx(folder, near, f"stream {{ server {{ {server} }} }}\n"):
                yield near
    else:
        need(Kind.HAPROXY)
        with running(Kind.HAPROXY, haproxy_towards(port, program), folder) as haproxy:
            yield haproxy.port


@pytest.mark.parametrize("program", ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn", "nginx"])
@pytest.mark.parametrize("section", ["client", "server"])
def test_a_proxy_of_others_tells_where_a_client_comes_from(
    culvert: Running, backend: Backend, pki: Pki, tmp_path: Path, program: str, section: str
) -> None:
    """haproxy in three ways, and nginx, which knows version 1 only; before TLS in a server section."""
    tls = trusting(pki) if section == "server" else None
    with telling(program, culvert.port[section], tmp_path / "other") as port:
        answer, own = spoken(("127.0.0.1", port), tls=tls)
    assert answer == b"seen"
    assert backend.seen == [f"PROXY TCP4 127.0.0.1 127.0.0.1 {own} {port}\r\nhello".encode()]
    culvert.proxy.wait_line(rf"Service \[server\] accepted connection from 127\.0\.0\.1:{own}")


def page(port: int, pki: Pki) -> bytes:
    return run("curl", "-sS", "--cacert", pki.ca, f"https://localhost:{port}/").stdout


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_is_told(pki: Pki, tmp_path: Path, version: str) -> None:
    need(Kind.HAPROXY)
    text = (
        "defaults\n    mode http\n    timeout client 10s\n"
        "frontend near\n    bind 127.0.0.1:@PORT@ accept-proxy\n"
        '    http-request return status 200 content-type text/plain lf-string "%[src] %[fc_pp_authority]."\n'
    )
    with running(Kind.HAPROXY, text, tmp_path / "haproxy") as haproxy:
        own = f"cert = {pki.server.both}\nconnect = 127.0.0.1:{haproxy.port}\nproxyProtocol = {version}"
        with sections(tmp_path, {"server": own}) as culvert:
            assert page(culvert.port["server"], pki) == (
                b"127.0.0.1 ." if version == "v1" else b"127.0.0.1 localhost."
            )


def nginx_of_http(port: int, folder: Path) -> str:
    rooms = "".join(f"{each}_temp_path {folder}; " for each in ROOMS)
    server = f'listen 127.0.0.1:{port} proxy_protocol; location / {{ return 200 "{TOLD}"; }}'
    return f"http {{ access_log off; {rooms} server {{ {server} }} }}\n"


def nginx_of_streams(port: int, _folder: Path) -> str:
    """It answers with what it was told, before it has read a request."""
    head = "HTTP/1.0 200 OK\r\n\r\n"
    return f"stream {{ server {{ listen 127.0.0.1:{port} proxy_protocol; return '{head}{TOLD}'; }} }}\n"


TOLD = "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("kind", [nginx_of_http, nginx_of_streams], ids=["http", "stream"])
def test_nginx_is_told(pki: Pki, tmp_path: Path, version: str, kind: Callable[[int, Path], str]) -> None:
    if kind is nginx_of_streams:
        need_stream()
    folder = tmp_path / "nginx"
    with reserved_port() as port, nginx(folder, port, kind(port, folder)):
        own = f"cert = {pki.server.both}\nconnect = 127.0.0.1:{port}\nproxyProtocol = {version}"
        with sections(tmp_path, {"server": own}) as culvert:
            told = page(culvert.port["server"], pki)
            line = culvert.proxy.wait_line("accepted connection from")
            client = line.split(" from ")[1].strip()
            assert told.decode() == f"{client} 127.0.0.1:{culvert.port['server']}"
