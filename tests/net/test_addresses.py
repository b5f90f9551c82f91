"""Addresses: names to sockaddrs, sockaddrs to text."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from culvert.config.values import Address
from culvert.errors import SystemRefusal
from culvert.net import addresses
from culvert.net.addresses import Endpoint, endpoint, of_socket, resolve, resolve_in_thread, unpack


def texts(found: tuple[Endpoint, ...]) -> list[str]:
    return [each.text for each in found]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address(host="127.0.0.1", port="443"), "127.0.0.1:443"),
        (Address(host="::1", port="8443"), "::1:8443"),
        (Address(host="[::1]", port="8443"), "::1:8443"),
        (Address(host="fe80::1%lo", port="25"), "fe80::1%lo:25"),
        (Address(path="/run/some.sock"), "localhost:/run/some.sock"),
    ],
)
def test_an_address_reads_in_the_log_as_stunnel_writes_it(address: Address, text: str) -> None:
    (found,) = resolve(address, passive=False)
    assert found.text == text
    assert unpack(found.packed) == text


def test_a_port_alone_means_every_interface_for_accept_and_loopback_for_connect() -> None:
    assert texts(resolve(Address(port="0"), passive=True)) == ["0.0.0.0:0", ":::0"]
    assert set(texts(resolve(Address(port="80"), passive=False))) == {"127.0.0.1:80", "::1:80"}


def test_a_service_name_is_its_port() -> None:
    (found,) = resolve(Address(host="127.0.0.1", port="https"), passive=False)
    assert found.sockaddr == ("127.0.0.1", 443)


@pytest.mark.parametrize("port", ["no-such-service", "65536", "-1", "", "4 3"])
def test_an_unknown_service_is_refused_by_name(port: str) -> None:
    with pytest.raises(SystemRefusal, match=f'Unknown TCP service "{port}"'):
        resolve(Address(host="127.0.0.1", port=port), passive=False)


@pytest.mark.parametrize("host", ["no such host", "x" * 64 + ".example", "a..example"])
def test_an_unknown_host_is_refused_by_name(host: str) -> None:
    with pytest.raises(SystemRefusal, match=f'Error resolving "{host}"'):
        resolve(Address(host=host, port="1"), passive=False)


def test_a_unix_path_that_does_not_fit_is_refused() -> None:
    longest = "/" + "x" * (addresses.PATH_BYTES - 1)
    assert resolve(Address(path=longest), passive=True)[0].sockaddr == longest
    with pytest.raises(SystemRefusal, match="Unix socket path is too long"):
        resolve(Address(path=longest + "x"), passive=True)


def test_an_abstract_unix_name_begins_with_a_zero_and_has_no_end() -> None:
    named = addresses.endpoint(socket.AF_UNIX, "@culvert")
    assert named.packed[2:] == b"\0culvert"
    assert named.text == "localhost:@culvert"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(named.sockaddr)
        assert addresses.of_socket(sock) == named


def test_a_zero_within_a_unix_path_is_refused() -> None:
    with pytest.raises(SystemRefusal, match="NUL byte"):
        addresses.endpoint(socket.AF_UNIX, "/run/a\0b")


def test_other_families_are_refused() -> None:
    with pytest.raises(SystemRefusal, match="Address family not supported"):
        endpoint(socket.AF_PACKET, ("lo", 0))


def test_packed_is_the_structure_that_the_kernel_takes(tmp_path: Path) -> None:
    """The engine hands it to connect(2); here ctypes does."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    with (
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket() as ipv4,
        socket.socket(socket.AF_INET6) as ipv6,
    ):
        unix.bind(str(tmp_path / "s"))
        ipv4.bind(("127.0.0.1", 0))
        ipv6.bind(("::1", 0))
        for listener in (unix, ipv4, ipv6):
            listener.listen()
            packed = of_socket(listener).packed
            with socket.socket(listener.family) as client:
                assert libc.connect(client.fileno(), packed, len(packed)) == 0
                listener.accept()[0].close()


def test_an_unbound_unix_peer_has_no_name() -> None:
    assert unpack(endpoint(socket.AF_UNIX, "").packed) == "unnamed socket"


def test_with_port_changes_the_port_alone() -> None:
    moved = endpoint(socket.AF_INET6, ("::1", 0, 0, 0)).with_port(99)
    assert (moved.text, unpack(moved.packed)) == ("::1:99", "::1:99")
    path = endpoint(socket.AF_UNIX, "/x")
    assert path.with_port(99) is path


Answer = Callable[..., list[Any]]
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 1))]


def resolver(monkeypatch: pytest.MonkeyPatch, *answers: object) -> list[int]:
    """Answer getaddrinfo with each in turn; returns the flags that were asked with."""
    asked: list[int] = []
    waiting = iter(answers)

    def answer(_host: str, _port: int, _family: int, _kind: int, _proto: int, flags: int) -> list[Any]:
        asked.append(flags)
        what = next(waiting)
        if isinstance(what, Exception):
            raise what
        return list(what)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(addresses, "RETRY_SECONDS", 0.0)
    return asked


BUSY = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
ABSENT = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_name_is_asked_again_without_addrconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolver(monkeypatch, ABSENT, FOUND)
    assert texts(resolve(Address(host="x", port="1"), passive=False)) == ["192.0.2.1:1"]
    assert asked == [socket.AI_ADDRCONFIG, 0]


def test_a_busy_resolver_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, BUSY, BUSY, BUSY, BUSY, FOUND)
    assert texts(resolve(Address(host="x", port="1"), passive=False)) == ["192.0.2.1:1"]


def test_a_resolver_that_stays_busy_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolver(monkeypatch, *[BUSY] * 100)
    with pytest.raises(SystemRefusal, match='Error resolving "x": Temporary failure'):
        resolve(Address(host="x", port="1"), passive=False)
    assert len(asked) == 2 * (1 + addresses.RETRIES_WHEN_BUSY)


def test_an_address_that_is_given_twice_is_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, FOUND * 2)
    assert len(resolve(Address(host="x", port="1"), passive=False)) == 1


def test_a_running_loop_resolves_in_a_thread() -> None:
    import threading

    seen: list[str] = []
    real = addresses._look_up

    def look_up(host: str | None, port: int, passive: bool) -> tuple[Endpoint, ...]:
        seen.append(threading.current_thread().name)
        return real(host, port, passive)

    async def both() -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
        return (
            await resolve_in_thread(Address(host="localhost", port="1")),
            await resolve_in_thread(Address(host="127.0.0.1", port="1")),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(addresses, "_look_up", look_up)
        named, numeric = asyncio.run(both())
    assert "127.0.0.1:1" in texts(named)
    assert texts(numeric) == ["127.0.0.1:1"]
    assert "MainThread" not in seen[:1]
    assert seen[1:] == ["MainThread"]


def test_a_running_loop_waits_for_a_busy_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, ABSENT, BUSY, BUSY, FOUND)  # the first question is whether the host is a number

    async def ask() -> tuple[Endpoint, ...]:
        return await resolve_in_thread(Address(host="x", port="1"))

    monkeypatch.setattr(addresses, "is_numeric", lambda _host: False)
    assert texts(asyncio.run(ask())) == ["192.0.2.1:1"]
