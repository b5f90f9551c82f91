"""Names of far ends mean something else after a while, or when nobody answers any more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import dns.resolver
import pytest

import culvert
from culvert import Address, Service
from culvert.net import addresses, names
from culvert.net.addresses import Endpoint
from culvert.tunnel import lookups
from tests.net.dnsserver import NameServer, serving_names
from tests.pki import Pki
from tests.tunnel.test_far_end import answer, backend, refusing

NAME = "far.example"


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=culvert.EngineLoop) as runner:
        runner.run(asyncio.wait_for(main, 30))


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "culvert")


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Endpoint]]:
    """What the system's resolver knows; a name without an entry is unknown."""
    known: dict[str, list[Endpoint]] = {}
    ask = addresses._ask

    def answer_from_zone(host: str | None, port: int, flags: int) -> list[Endpoint]:
        if host != NAME:
            return ask(host, port, flags)
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known[host]

    monkeypatch.setattr(addresses, "_ask", answer_from_zone)
    monkeypatch.setattr(lookups, "FIRST_SECONDS", 3600.0)
    return known


def endpoints(*targets: Address) -> list[Endpoint]:
    return [each for target in targets for each in addresses.resolve(target, passive=False)]


@contextlib.asynccontextmanager
async def led_to_the_name(pki: Pki, level: int = 7) -> AsyncIterator[int]:
    """A plain port that leads through a client and a server tunnel to the name."""
    anywhere = (Address.parse("127.0.0.1:0"),)
    near = Service(
        name="far",
        accept=anywhere,
        connect=(Address(host=NAME, port="1"),),
        cert=(str(pki.server.both),),
        debug=level,
    )
    async with culvert.open_tunnel(near) as server:
        to_server = (Address.parse(f"127.0.0.1:{server.port}"),)
        front = Service(name="front", client=True, accept=anywhere, connect=to_server, debug=0)
        async with culvert.open_tunnel(front) as client:
            yield client.port


@pytest.mark.parametrize("level", [3, 7], ids=["by standing orders", "by Python"])
def test_who_finds_nobody_looks_the_name_up_again(
    pki: Pki, zone: dict[str, list[Endpoint]], level: int
) -> None:
    async def main() -> None:
        zone[NAME] = endpoints(refusing())
        async with backend(b"moved") as moved, led_to_the_name(pki, level) as port:
            zone[NAME] = endpoints(moved)
            assert await answer(port) == b"moved"
            assert await answer(port) == b"moved"

    run(main())


def test_a_name_that_still_means_nobody_is_a_reset(
    pki: Pki, zone: dict[str, list[Endpoint]], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        zone[NAME] = endpoints(refusing())
        async with led_to_the_name(pki) as port:
            assert await answer(port) == b"reset"
            assert await answer(port) == b"reset"

    run(main())
    assert caplog.messages.count("No more addresses to connect") == 2


@pytest.mark.parametrize("level", [3, 7], ids=["by standing orders", "by Python"])
def test_a_name_is_looked_up_again_when_its_time_is_over(
    pki: Pki, zone: dict[str, list[Endpoint]], monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    """Both addresses answer, so that nothing but the time says that there is another one."""
    monkeypatch.setattr(lookups, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(names, "_seconds", lambda _name: 0.05)

    async def main() -> None:
        async with backend(b"first") as first, backend(b"second") as second:
            zone[NAME] = endpoints(first)
            async with led_to_the_name(pki, level) as port:
                assert await answer(port) == b"first"
                zone[NAME] = endpoints(second)
                while await answer(port) != b"second":  # noqa: ASYNC110 - a thread looks the name up
                    await asyncio.sleep(0.02)
                zone.clear()  # what is not known any more goes on as it was
                await asyncio.sleep(0.2)
                assert await answer(port) == b"second"

    run(main())


def test_a_name_that_was_unknown_at_the_start_is_known_later(
    pki: Pki, zone: dict[str, list[Endpoint]], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with backend(b"late") as late, led_to_the_name(pki) as port:
            assert await answer(port) == b"reset"
            zone[NAME] = endpoints(late)
            assert await answer(port) == b"late"

    run(main())
    assert "Cannot resolve connect target - delaying DNS lookup" in caplog.messages


# The time to live


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    with serving_names(7) as made:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], made.port
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
        yield made


def test_the_time_to_live_is_the_one_of_dns(server: NameServer, zone: dict[str, list[Endpoint]]) -> None:
    server.records[NAME] = ["192.0.2.1", "192.0.2.2"]
    zone[NAME] = endpoints(Address.parse("192.0.2.1:1"))
    found = names.look_up((Address(host=NAME, port="1"),))
    assert found == (tuple(zone[NAME]), 7.0)
    assert server.questions == [NAME, NAME]


@pytest.mark.usefixtures("server")
def test_a_name_that_dns_does_not_know_has_no_time(zone: dict[str, list[Endpoint]]) -> None:
    zone[NAME] = endpoints(Address.parse("192.0.2.1:1"))
    assert names.look_up((Address(host=NAME, port="1"),)) == (tuple(zone[NAME]), None)


def test_dns_is_not_asked_for_numbers_paths_and_names_of_this_machine(server: NameServer) -> None:
    targets = (Address.parse("localhost:1"), Address.parse("127.0.0.1:1"), Address.parse("/run/x"))
    assert names.look_up(targets).seconds is None
    assert [each.host for each in names.of(targets)] == ["localhost"]
    assert server.questions == []
