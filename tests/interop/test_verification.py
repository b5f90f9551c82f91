"""Who is believed: Culvert and stunnel judge the peers that OpenSSL, GnuTLS and stunnel play, and agree."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.interop.conftest import SECONDS, run, spawned
from tests.pki import Identity, Pki
from tests.proxies import Kind, need, running
from tests.proxies.running import reserved_port
from tests.signs import signs

pytestmark = [pytest.mark.interop, pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(120)]

Address = tuple[str, int]
JUDGES = [Kind.CULVERT, Kind.STUNNEL]
TOP = "foreground = yes\nsyslog = no\ndebug = info\n"


class Cast:
    """Peers by name, and the files that a judge needs."""

    def __init__(self, pki: Pki) -> None:
        self.pki = pki
        self.revoked = pki.issue("interop-revoked")
        self.peers: Mapping[str, Identity | None] = {
            "none": None,
            "good": pki.server,
            "chained": pki.chained,
            "other": pki.other_server,
            "expired": pki.expired,
            "early": pki.not_yet_valid,
            "revoked": self.revoked,
            "wrong name": pki.wrong_name,
            "self-signed": pki.self_signed,
        }
        lists = [
            pki.revocation_list("interop-root", pki.root, (self.revoked,)),
            pki.revocation_list("interop-middle", pki.intermediate),
        ]
        self.lists = pki.write("interop.crl.pem", b"".join(each.read_bytes() for each in lists))
        self.installed = pki.write("interop.ca.pem", pki.root.pem + pki.server.pem + pki.self_signed.pem)


@pytest.fixture(scope="module")
def cast(pki: Pki) -> Cast:
    return Cast(pki)


class Rule(NamedTuple):
    """Options of a service, and whom it believes."""

    options: str
    good: frozenset[str]


def rules(cast: Cast, judge: Kind) -> dict[str, Rule]:
    """What both programs can be told, and what Culvert alone can."""
    chain = f"verifyChain = yes\nCAfile = {cast.pki.ca}\n"
    valid = frozenset(("good", "chained", "revoked", "wrong name"))
    found = {
        "chain": Rule(chain, valid),
        "lists": Rule(f"{chain}CRLfile = {cast.lists}\n", valid - {"revoked"}),
        "name": Rule(f"{chain}checkHost = localhost\n", valid - {"wrong name"}),
        "address": Rule(f"{chain}checkIP = 127.0.0.1\n", valid - {"wrong name"}),
        "installed": Rule(
            f"verifyPeer = yes\nCAfile = {cast.installed}\n", frozenset(("good", "self-signed"))
        ),
    }
    if judge is Kind.CULVERT:
        pin = f"pin = {cast.pki.self_signed.pin}\npin = {cast.pki.other_server.pin}\n"
        found["pin"] = Rule(pin, frozenset(("self-signed", "other")))
        found["store"] = Rule(f"verifyChain = yes\nCAstore = file:{cast.pki.ca}\n", valid)
    return found


@contextmanager
def services(
    kind: Kind, folder: Path, sections: Mapping[str, str], top: str = TOP
) -> Iterator[dict[str, Address]]:
    """One program with a section for each name; their addresses."""
    need(kind)
    with ExitStack() as stack:
        text, places = top, {}
        for name, options in sections.items():
            places[name] = ("127.0.0.1", stack.enter_context(reserved_port()))
            text += f"[{name}]\naccept = 127.0.0.1:{places[name][1]}\n{options}\n"
        stack.enter_context(running(kind, text, folder, listens=list(places.values())))
        yield places


# Clients, which a server judges


def by_s_client(cast: Cast, peer: Identity | None, place: Address) -> bytes:
    shown = ("-cert", peer.cert, "-key", peer.key, "-cert_chain", peer.chain) if peer else ()
    server = f"{place[0]}:{place[1]}"
    return run("openssl", "s_client", "-connect", server, "-CAfile", cast.pki.ca, "-quiet", *shown).stdout


def by_gnutls_cli(cast: Cast, peer: Identity | None, place: Address) -> bytes:
    shown = ("--x509certfile", peer.chain, "--x509keyfile", peer.key) if peer else ()
    with spawned(
        "gnutls-cli", "--x509cafile", cast.pki.ca, "--logfile", "/dev/null", *shown,
        "-p", str(place[1]), "localhost",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = re.search(rb"inside|outside", process.stdout.read())  # beside words of its own
        return said[0] if said else b""


def read_all(place: Address) -> bytes:
    """What a service says until it ends; nothing after a reset, which may come as soon as the connection is
    there.
    """
    said = b""
    with suppress(ConnectionResetError), socket.create_connection(place, SECONDS) as sock:
        while data := sock.recv(4096):
            said += data
        return said
    return b""


CLIENTS: dict[str, Callable[[Cast, Identity | None, Address], bytes]] = {
    "s_client": by_s_client,
    "gnutls-cli": by_gnutls_cli,
}


@pytest.mark.parametrize("judge", JUDGES)
def test_a_server_believes_the_same_clients_of_every_make(cast: Cast, judge: Kind, tmp_path: Path) -> None:
    known = rules(cast, judge)
    wrong = []
    with signs() as (inside, outside):
        end = f"connect = 127.0.0.1:{inside.port}\ncert = {cast.pki.server.both}\n"
        sections = {name: rule.options + end for name, rule in known.items()}
        sections["redirect"] = f"{known['lists'].options}{end}redirect = 127.0.0.1:{outside.port}\n"
        with services(judge, tmp_path / "judge", sections) as places, ExitStack() as stack:
            relayed = stack.enter_context(services(Kind.STUNNEL, tmp_path / "peers", _senders(cast, places)))
            for name, place in places.items():
                good = known["lists" if name == "redirect" else name].good
                bad = b"outside" if name == "redirect" else b""
                for peer, identity in cast.peers.items():
                    seen = {"stunnel": read_all(relayed[f"{name}: {peer}"])}
                    if name in ("lists", "redirect", "pin"):
                        seen |= {make: ask(cast, identity, place) for make, ask in CLIENTS.items()}
                    expected = b"inside" if peer in good else bad
                    wrong += [(name, peer, *each) for each in seen.items() if each[1] != expected]
    assert not wrong


def _senders(cast: Cast, places: Mapping[str, Address]) -> dict[str, str]:
    """Client sections of stunnel, one for each service and peer."""
    return {
        f"{name}: {peer}": f"client = yes\nconnect = 127.0.0.1:{place[1]}\n"
        + (_own(identity) if identity else "")
        for name, place in places.items()
        for peer, identity in cast.peers.items()
    }


def _own(identity: Identity) -> str:
    return f"cert = {identity.chain}\nkey = {identity.key}\n"


# Servers, which a client judges


@contextmanager
def s_server(peer: Identity) -> Iterator[Address]:
    with spawned(
        "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", peer.cert, "-key", peer.key,
        "-cert_chain", peer.chain, "-www",
    ) as process:  # fmt: skip
        yield "127.0.0.1", _port(process, rb"ACCEPT .*:(\d+)")


@contextmanager
def gnutls_serv(peer: Identity) -> Iterator[Address]:
    with reserved_port() as port, spawned(
        "gnutls-serv", "--http", "--x509certfile", peer.chain, "--x509keyfile", peer.key, "-p", str(port)
    ) as process:  # fmt: skip
        _port(process, rb"IPv4 0.0.0.0 port (\d+)...done")
        yield "127.0.0.1", port


def _port(process: subprocess.Popen[bytes], pattern: bytes) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(pattern, line):
            return int(found[1])
    pytest.fail("the server does not listen")


def answers(place: Address) -> bool:
    """Whether there is a web server at the other end of a tunnel; a reset may come while we still connect."""
    with (
        suppress(ConnectionResetError, BrokenPipeError),
        socket.create_connection(place, SECONDS) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return bool(sock.recv(10))
    return False


SERVERS = {"s_server": s_server, "gnutls-serv": gnutls_serv}


@pytest.mark.parametrize("judge", JUDGES)
def test_a_client_believes_the_same_servers_of_every_make(cast: Cast, judge: Kind, tmp_path: Path) -> None:
    known = rules(cast, judge)
    peers = {name: each for name, each in cast.peers.items() if each is not None}
    wrong = []
    with signs() as (inside, _), ExitStack() as stack:
        offered = {
            f"stunnel: {peer}": f"connect = 127.0.0.1:{inside.port}\n{_own(identity)}"
            for peer, identity in peers.items()
        }
        places = stack.enter_context(services(Kind.STUNNEL, tmp_path / "peers", offered))
        for make, serve in SERVERS.items():
            for peer, identity in peers.items():
                places[f"{make}: {peer}"] = stack.enter_context(serve(identity))
        sections = {
            f"{name}: {far}": f"client = yes\nsni = localhost\nconnect = 127.0.0.1:{place[1]}\n{rule.options}"
            for name, rule in known.items()
            for far, place in places.items()
            if far.startswith("stunnel") or name in ("lists", "name", "pin")
        }
        near = stack.enter_context(services(judge, tmp_path / "judge", sections))
        for section, place in near.items():
            name, make, peer = section.split(": ")
            reached = bool(read_all(place)) if make == "stunnel" else answers(place)
            if reached != (peer in known[name].good):
                wrong.append((section, reached))
    assert not wrong
