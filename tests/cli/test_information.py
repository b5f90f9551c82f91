"""The texts of -help, -version, -sockets and -options have the shape that scripts expect."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from culvert import __version__
from culvert.cli import information
from culvert.config.model import GLOBAL, SERVICE


def _parts(text: str) -> dict[str, list[str]]:
    """Heading -> the lines behind it; a line with one blank stands before each heading."""
    _before, *parts = re.split(r"^ \n", text, flags=re.MULTILINE)
    return {heading: lines for heading, *lines in map(str.splitlines, parts)}


def test_help_has_a_line_for_every_option_under_its_heading() -> None:
    parts = _parts(information.help_text())
    assert list(parts) == ["Global options:", "Service-level options:"]
    for lines, table in zip(parts.values(), (GLOBAL, SERVICE), strict=True):
        assert all(re.match(r"[A-Za-z]+ * = \S", line) for line in lines)
        assert sorted(line.partition(" ")[0] for line in lines) == sorted(each.name for each in table)
        short = [line for line in lines if len(line.partition(" ")[0]) <= 22]  # as all of stunnel's names are
        assert all(line[22:25] == " = " for line in short)


def test_version_begins_with_the_banner_and_shows_defaults() -> None:
    text = information.version_text()
    assert text.startswith(f"culvert {__version__} on ")
    assert "with OpenSSL 3" in text.splitlines()[1]
    parts = _parts(text)
    assert "syslog                 = yes" in parts["Global options:"]
    assert "TIMEOUTidle            = 43200 seconds" in parts["Service-level options:"]
    assert parts["Service-level options:"].count("options                = NO_SSLv3") == 1


def test_the_banner_is_the_beginning_of_the_version() -> None:
    assert information.version_text().splitlines()[: len(information.banner())] == list(information.banner())


def test_the_banner_names_no_feature_that_no_tunnel_uses() -> None:
    (listed,) = re.findall(r" TLS:(\S+) ", information.banner()[-1])
    features = {"DTLS": "transport", "OCSP": "OCSP", "PSK": "PSKsecrets", "SNI": "sni"}
    table = {each.name: each for each in SERVICE}
    assert [name for name in listed.split(",") if name not in ("ENGINE", "FIPS")] == [
        name for name, option in features.items() if table[option].available or name == "SNI"
    ]


@pytest.mark.parametrize("there", [True, False])
def test_fips_is_named_where_its_provider_is(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if there:
        (tmp_path / "fips.so").touch()
    monkeypatch.setenv("OPENSSL_MODULES", str(tmp_path))
    assert (",FIPS," in information.banner()[-1]) is there


def test_sockets_has_the_columns_of_the_original() -> None:
    lines = information.sockets_text().splitlines()
    assert lines[:3] == [
        " ",
        "Socket option defaults:",
        "    Option Name         |  Accept  |   Local  |  Remote  |OS default",
    ]
    assert "    SO_REUSEADDR        |       yes|    --    |    --    |        no" in lines
    assert all(len(line.split("|")) == 5 for line in lines[4:])


def test_options_lists_what_this_openssl_has() -> None:
    lines = information.options_text().splitlines()
    assert lines[:2] == [" ", "Supported TLS options:"]
    assert "options = NO_TICKET" in lines
    assert "KTLS" not in information.options_text()  # it would be refused
    assert all(re.fullmatch(r"options = \w+", line) for line in lines[2:])


@pytest.mark.parametrize(
    "text",
    [information.help_text, information.version_text, information.sockets_text, information.options_text],
    ids=lambda each: each.__name__,
)
def test_every_text_ends_with_one_newline(text: object) -> None:
    assert callable(text)
    written = text()
    assert written.endswith("\n")
    assert not written.endswith("\n\n")
