"""Warnings about server names."""

from __future__ import annotations

import pytest

from culvert.config.load import load_text

FIRST = "[web]\naccept = 127.0.0.1:443\nconnect = 127.0.0.1:80\ncert = a.pem\n"


def warnings(lines: str) -> list[str]:
    told = load_text(f"{FIRST}[one]\ncert = a.pem\nconnect = 127.0.0.1:81\n{lines}", "conf").warnings
    return [str(each) for each in told]


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("www.example.com", ""),
        ("*.example.com", ""),
        ("*", ""),
        ("www.*.com", "only a * at the start of www.*.com stands for something"),
        ("www.example.com.", "clients send names without the dot at the end of www.example.com."),
        ("bücher.example", "clients send xn--bcher-kva.example for bücher.example: write it so"),
        ("*.bücher.example", "clients send *.xn--bcher-kva.example for *.bücher.example: write it so"),
        ("bü..example", "clients send names in ASCII, and bü..example is not"),
        ("x" * 256, "the pattern is longer than any server name, which has at most 255 octets"),
    ],
)
def test_what_no_client_asks_for_is_warned_of(pattern: str, told: str) -> None:
    assert warnings(f"sni = web:{pattern}\n") == ([f"conf:8: sni: {told}"] if told else [])


def test_a_pattern_of_an_earlier_section_is_warned_of() -> None:
    lines = "sni = web:a.example\n[two]\ncert = a.pem\nconnect = 127.0.0.1:82\nsni = web:b.example\n"
    told = warnings(f"{lines}sni = web:A.example\n")
    assert told == ["conf:13: sni: never reached: [one] handles A.example already"]


def test_what_is_the_business_of_the_first_section_is_warned_of() -> None:
    told = warnings("sni = web:a.example\nsessionCacheTimeout = 5\n")
    reason = "has no effect in [one]: the section that accepts decides about it"
    assert told == [f"conf:9: sessionCacheTimeout: {reason}"]


@pytest.mark.parametrize("slot", "alr")
def test_only_options_of_the_dialled_socket_are_the_business_of_a_named_section(slot: str) -> None:
    told = warnings(f"sni = web:a.example\nsocket = {slot}:SO_RCVBUF=65536\n")
    reason = f"{slot}:SO_RCVBUF has no effect in [one]: the section that accepts decides about it"
    assert told == ([] if slot == "r" else [f"conf:9: socket: {reason}"])
