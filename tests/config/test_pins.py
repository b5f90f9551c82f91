"""Pins as they are written, and what is said of those that are not."""

from __future__ import annotations

import base64

import pytest

from culvert.config import load_text
from culvert.config.pins import parse_pin
from culvert.config.values import BadValue
from culvert.errors import ConfigErrors

DIGEST = bytes(range(32))
GOOD = f"sha256/{base64.b64encode(DIGEST).decode()}"


@pytest.mark.parametrize("text", [GOOD, GOOD.replace("/", "//", 1), GOOD.replace("sha256", "SHA-256")])
def test_a_pin_is_read_as_it_is_written_elsewhere(text: str) -> None:
    assert parse_pin(text) == GOOD


BAD = [
    ("", "is written sha256/BASE64"),
    ("sha256", "is written sha256/BASE64"),
    (GOOD.removeprefix("sha256/"), "by sha256, not by|is written sha256/BASE64"),
    (GOOD.replace("sha256", "sha1"), 'not by "sha1"'),
    (GOOD[:-4], "not base64|octets, this one has"),
    (f"sha256/{base64.b64encode(DIGEST[:31]).decode()}", "32 octets, this one has 31"),
    ("sha256/!!!!", "not base64; a pin comes from: openssl x509"),
    ("sha256/ąę", "not base64"),
]


@pytest.mark.parametrize("slashes", ["/", "//"])
def test_a_digest_may_begin_with_a_slash_of_its_own(slashes: str) -> None:
    digest = base64.b64encode(b"\xff\xff" + bytes(30)).decode()
    assert digest.startswith("//")
    assert parse_pin(f"sha256{slashes}{digest}") == f"sha256/{digest}"


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_a_pin_that_is_none_is_explained(text: str, reason: str) -> None:
    with pytest.raises(BadValue, match=reason):
        parse_pin(text)


@pytest.mark.parametrize("colons", [False, True])
def test_hexadecimal_is_recognised_and_the_pin_is_proposed(colons: bool) -> None:
    text = DIGEST.hex(":") if colons else DIGEST.hex()
    with pytest.raises(BadValue, match="base64, not in hexadecimal") as refused:
        parse_pin(f"sha256/{text}")
    assert refused.value.near == GOOD


FILE = "[web]\nclient = yes\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\n"


def test_a_pin_demands_a_certificate_and_is_authentication() -> None:
    configuration = load_text(f"{FILE}pin = {GOOD}\n")
    (service,) = configuration.services
    assert service.pin == (GOOD,)
    assert service.request_cert
    assert service.require_cert
    assert not configuration.warnings


def test_a_bad_pin_is_told_with_its_line() -> None:
    with pytest.raises(ConfigErrors, match=r"^<text>:5: pin: a pin is written sha256/BASE64"):
        load_text(f"{FILE}pin = abc\n")
