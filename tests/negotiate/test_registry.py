"""The names and modes of the configuration's table are those that have scripts."""

from __future__ import annotations

import dataclasses
import pkgutil

import pytest

import culvert.negotiate
from culvert.config.checks import check_services
from culvert.config.model import SERVICE, Service
from culvert.config.table.protocols import OPTIONS, PROTOCOLS
from culvert.config.values import Address
from culvert.negotiate.registry import Terms, hooks

MACHINERY = {
    "ber",
    "destination",
    "failures",
    "http_head",
    "mysql_packets",
    "negotiation",
    "ntlm",
    "proxy_header",
    "registry",
    "steps",
}
MADE = [
    pytest.param(name, client, id=f"{name} {'client' if client else 'server'}")
    for name, protocol in PROTOCOLS.items()
    for client in (True, False)
    if (side := protocol.side(client=client)) is not None and side.made
]


@pytest.mark.parametrize(("name", "client"), MADE)
def test_what_the_configuration_offers_has_a_script(name: str, client: bool) -> None:
    found = hooks(name, client=client)
    assert found.early or found.middle or found.late


@pytest.mark.parametrize(("name", "client"), [each for each in MADE if not each.values[1]])
def test_who_dials_before_the_handshake_cannot_redirect(name: str, client: bool) -> None:
    """The far end is chosen there before the peer is known; the configuration must refuse it."""
    near, far = (Address(host="127.0.0.1", port=port) for port in ("1", "2"))
    service = Service(
        name="s",
        accept=(near,),
        connect=() if name == "socks" else (far,),
        redirect=(far,),
        cert=("cert.pem",),
        verify_chain=True,
        ca_file="ca.pem",
        protocol=name,
        protocol_host="h:1" if name == "capwin" else None,
    )
    told = [each.option for each in check_services([service])]
    assert told == (["redirect"] if hooks(name, client=client).dials_first else [])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_mode_that_is_not_offered_has_none(name: str) -> None:
    for client in (True, False):
        side = PROTOCOLS[name].side(client=client)
        if side is None or not side.made:
            with pytest.raises(LookupError):
                hooks(name, client=client)


def test_every_module_is_a_protocol() -> None:
    modules = {each.name for each in pkgutil.iter_modules(culvert.negotiate.__path__)} - MACHINERY
    made = {name for name, each in PROTOCOLS.items() if any(side and side.made for side in each)}
    assert {each for each in modules if not each.startswith("_")} == {each.replace("-", "_") for each in made}


def test_the_terms_are_the_options() -> None:
    terms = {f"protocol_{each.name}" for each in dataclasses.fields(Terms)}
    assert terms - {"protocol_headers"} | {"protocol_header"} == OPTIONS
    assert {each.attribute for each in SERVICE} >= OPTIONS
    sides = [side for protocol in PROTOCOLS.values() for side in protocol if side]
    assert {each for side in sides for each in side.reads} <= OPTIONS
