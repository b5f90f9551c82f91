"""All servers, one Culvert with a service in each mode for each of them, and one stunnel; for a whole module.

openssl, curl, Python ── TLS after STARTTLS ── culvert server ── clear ── real server
Python ── clear ── culvert client ── TLS after STARTTLS ── real server
Python ── clear ── stunnel client ── TLS ── culvert server ── clear ── real server
Python ── clear ── culvert client ── TLS ── stunnel server ── clear ── real server
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pki import Pki
from tests.protocols.instances import PASSWORD, USER
from tests.protocols.servers import all_of_them
from tests.proxies import Kind, Proxy, running
from tests.proxies.running import need_missing, reserved_port

STUNNEL_SERVER = ("smtp", "pop3", "imap")
STUNNEL_CLIENT = (*STUNNEL_SERVER, "nntp")
TOP = "foreground = yes\npid =\nsyslog = no\ndebug = debug\n"
HOSTS = {"xmpp": "example.org", "xmpp-server": "example.org", "smtp": "client.example.org"}


@dataclass(frozen=True)
class Field:
    """Ports by protocol.

    real: the servers themselves.  server, client: Culvert's services in front of them.  logins: of smtp,
    client mode, by the mechanism with which Culvert logs in.  from_stunnel: a stunnel client towards our
    server; to_stunnel: our client towards a stunnel server.
    """

    real: Mapping[str, int]
    server: Mapping[str, int]
    client: Mapping[str, int]
    logins: Mapping[str, int]
    from_stunnel: Mapping[str, int]
    to_stunnel: Mapping[str, int]
    culvert: Proxy

    def need(self, protocol: str, stunnel: bool = False) -> None:
        """Skip, or fail in CI, when there is no such server or no stunnel."""
        if protocol not in self.real:
            need_missing(f"a server of {protocol}")
        if stunnel and Kind.STUNNEL.program is None:
            need_missing("stunnel4")


def _section(name: str, accept: int, connect: int, **options: str) -> str:
    lines = {"accept": f"127.0.0.1:{accept}", "connect": f"127.0.0.1:{connect}", **options}
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


def _client(pki: Pki, protocol: str) -> dict[str, str]:
    trust = {"CAfile": str(pki.ca), "verifyChain": "yes", "checkHost": "localhost"}
    host = {"protocolHost": HOSTS[protocol]} if protocol in HOSTS else {}
    return {"client": "yes", "protocol": protocol, **trust, **host}


def _take(stack: ExitStack, names: tuple[str, ...]) -> dict[str, int]:
    return {name: stack.enter_context(reserved_port()) for name in names}


@pytest.fixture(scope="module")
def field(pki: Pki) -> Iterator[Field]:
    """Everything at once."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="culvert-protocols-")))
        folder.chmod(0o755)  # servers read below it as users of their own
        real = stack.enter_context(all_of_them(folder, pki.server))
        real.pop("auth", None)
        spoken = tuple(real)
        chained = tuple(each for each in STUNNEL_SERVER if each in real)
        server, client = _take(stack, spoken), _take(stack, spoken)
        logins = _take(stack, ("plain", "login")) if "smtp" in real else {}
        behind = _take(stack, chained)  # stunnel servers
        to_stunnel = _take(stack, chained)
        from_stunnel = _take(stack, tuple(each for each in STUNNEL_CLIENT if each in real))
        text = TOP + "workers = 1\n"
        for name in spoken:
            own = {"protocol": name, "cert": str(pki.server.both)}
            text += _section(f"{name} server", server[name], real[name], **own)
            text += _section(f"{name} client", client[name], real[name], **_client(pki, name))
        for mechanism, port in logins.items():
            user = {"protocolUsername": USER, "protocolPassword": PASSWORD}
            login = {**_client(pki, "smtp"), **user, "protocolAuthentication": mechanism}
            text += _section(f"login {mechanism}", port, real["smtp"], **login)
        for name in chained:
            text += _section(f"{name} to stunnel", to_stunnel[name], behind[name], **_client(pki, name))
        ours = (server, client, logins, to_stunnel)
        listens = [("127.0.0.1", port) for each in ours for port in each.values()]
        culvert = stack.enter_context(running(Kind.CULVERT, text, folder / "culvert", listens=listens))
        if Kind.STUNNEL.program is not None:
            _start_stunnel(stack, folder, pki, real, server, behind, from_stunnel)
        yield Field(real, server, client, logins, from_stunnel, to_stunnel, culvert)


def _start_stunnel(
    stack: ExitStack,
    folder: Path,
    pki: Pki,
    real: Mapping[str, int],
    server: Mapping[str, int],
    behind: Mapping[str, int],
    from_stunnel: Mapping[str, int],
) -> None:
    text = TOP
    for name, port in behind.items():
        text += _section(f"{name} server", port, real[name], protocol=name, cert=str(pki.server.both))
    for name, port in from_stunnel.items():
        text += _section(f"{name} client", port, server[name], protocol=name, client="yes")
    listens = [("127.0.0.1", port) for each in (behind, from_stunnel) for port in each.values()]
    stack.enter_context(running(Kind.STUNNEL, text, folder / "stunnel", listens=listens))
