"""Pre-shared keys: the file, both ends, and what a key is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from culvert import tls
from culvert.config.load import load_text
from culvert.config.model import Service
from culvert.errors import ConfigErrors
from culvert.tls.psk import Key, read_secrets
from tests.openssl.memory import Ours, failing, shake
from tests.pki import Pki
from tests.tls.pairs import Log, client, connect, part, server

ALICE = "alice:0123456789abcdef0123456789abcdef"
BOB = "bob:what only bob and the server know"
VERSIONS = ("TLSv1.2", "TLSv1.3")

each_version = pytest.mark.parametrize("version", VERSIONS)


def written(folder: Path, *lines: str, name: str = "psk.txt") -> str:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return str(path)


def keyed_server(path: str, **options: Any) -> Service:
    return Service(name="server", psk_secrets=path, **options)


# The file


def keys_of(folder: Path, text: bytes) -> list[tuple[bytes, bytes, bool]]:
    path = folder / "keys"
    path.write_bytes(text)
    keys, errors = read_secrets(str(path))
    assert not errors
    return [(key.identity, key.secret, key.hexadecimal) for key in keys]


def test_keys_are_text_or_hexadecimal(tmp_path: Path) -> None:
    raw = bytes(range(16))
    assert keys_of(
        tmp_path,
        b"\xef\xbb\xbfhex:000102030405060708090a0b0c0d0e0f\r\n\n"
        b"colons:00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F\n"
        b"text:sixteen characte:r\n"
        b" blanks count :  sixteen octets  \n"
        b"odd:000102030405060708090a0b0c0d0e0f1",
    ) == [
        (b"hex", raw, True),
        (b"colons", raw, True),
        (b"text", b"sixteen characte:r", False),
        (b" blanks count ", b"  sixteen octets  ", False),
        (b"odd", b"000102030405060708090a0b0c0d0e0f1", False),
    ]


def test_every_wrong_line_is_refused_at_its_place_and_no_key_is_told(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    secret = "topsecret"
    path.write_bytes(
        b"\n".join(
            (
                b"good:0123456789abcdef!",
                f"{secret}{secret}".encode(),
                f"short:{secret}".encode(),
                b"hex:00010203040506070809",  # twenty digits are ten octets
                f":{secret}{secret}".encode(),
                b"i" * 256 + b":0123456789abcdef!",
                b"long:" + b"k" * 513,
                b"zero\0:0123456789abcdef!",
                b"empty:",
                b"x" * (1 << 20),
                b"good:0123456789abcdef0123456789abcdef",
            )
        )
    )
    with pytest.raises(ConfigErrors) as refused:
        tls.build(keyed_server(str(path)))
    assert str(refused.value).splitlines() == [
        f"{path}:2: PSKsecrets: Not in identity:key format",
        f"{path}:3: PSKsecrets: Key shorter than 16 bytes",
        f"{path}:4: PSKsecrets: Key shorter than 16 bytes",
        f"{path}:5: PSKsecrets: Identity is empty",
        f"{path}:6: PSKsecrets: Identity longer than 255 characters",
        f"{path}:7: PSKsecrets: Key longer than 512 bytes",
        f"{path}:8: PSKsecrets: There is a zero octet in it",
        f"{path}:9: PSKsecrets: Key shorter than 16 bytes",
        f"{path}:10: PSKsecrets: Not in identity:key format",
        f"{path}:11: PSKsecrets: its identity is that of line 1, too",
        f"PSKsecrets: Failed to read PSK secrets from {path}",
    ]


@pytest.mark.parametrize("text", [b"", b"\n\r\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "keys"
    path.write_bytes(text)
    with pytest.raises(ConfigErrors, match="there is no key in it"):
        tls.build(keyed_server(str(path)))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"PSKsecrets: cannot read .*: No such file"):
        tls.build(keyed_server(str(tmp_path / "nowhere")))


def test_an_odd_number_of_digits_is_warned_of(tmp_path: Path) -> None:
    path = written(tmp_path, "odd:" + "0" * 33)
    (warning,) = tls.build(keyed_server(path)).warnings
    assert "line 1" in warning.reason
    assert "0000" not in warning.reason


def test_a_key_is_not_in_its_representation() -> None:
    assert "hush" not in repr(Key(b"id", b"hush", False, 1))


def test_the_file_may_be_named_globally_in_a_section_or_in_both() -> None:
    ends = "accept = 127.0.0.1:1\nconnect = 127.0.0.1:2\n"
    for before, within, wanted in (("a", "", "a"), ("", "b", "b"), ("a", "b", "b")):
        top = f"PSKsecrets = {before}\n" if before else ""
        own = f"PSKsecrets = {within}\n" if within else ""
        (service,) = load_text(f"{top}[web]\n{ends}{own}").services
        assert service.psk_secrets == wanted


def test_an_identity_needs_a_file_that_has_it(tmp_path: Path) -> None:
    path = written(tmp_path, ALICE)
    with pytest.raises(ConfigErrors, match="PSKidentity: No key found for the specified PSK identity"):
        tls.build(client(psk_secrets=path, psk_identity="carol"))
    with pytest.raises(ConfigErrors, match="PSKidentity"):
        load_text("[c]\nclient = yes\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\nPSKidentity = carol\n")


# The handshake


@each_version
def test_a_key_is_enough_for_both_ends(tmp_path: Path, version: str) -> None:
    path = written(tmp_path, ALICE, BOB)
    near = tls.build(client(psk_secrets=path, psk_identity="bob", ssl_version=version))
    far = tls.build(keyed_server(path))
    here, there = Log(), Log()
    ends = Ours(near.session("there:1", here)), Ours(far.session(None, there))
    shake(*ends)
    assert here.lines == [(6, 'PSK client configured for identity "bob"')]
    assert there.lines == [(5, 'Key configured for PSK identity "bob"')]
    assert (6, "TLS accepted: PSK") in list(far.handshake_lines(ends[1].session))
    assert (6, "TLS connected: PSK") in list(near.handshake_lines(ends[0].session))
    part(*ends)


@each_version
def test_sessions_under_a_key_are_resumed(tmp_path: Path, version: str) -> None:
    path = written(tmp_path, ALICE)
    near = tls.build(client(psk_secrets=path, ssl_version=version))
    far = tls.build(keyed_server(path))
    part(*connect(near, far))
    there = Log()
    ends = Ours(near.session("there:443")), Ours(far.session(None, there))
    shake(*ends)
    lines = [text for _, text in far.handshake_lines(ends[1].session)]
    assert "TLS accepted: previous session reused" in lines
    assert not any("alice" in text for text in there.texts)
    part(*ends)


@each_version
@pytest.mark.parametrize("line", ["alice:another key of alice's", "carol:0123456789abcdef0123456789abcdef"])
def test_a_wrong_key_or_an_unknown_identity_ends_the_handshake(
    tmp_path: Path, version: str, line: str
) -> None:
    near = tls.build(client(psk_secrets=written(tmp_path, line, name="client"), ssl_version=version))
    far = tls.build(keyed_server(written(tmp_path, ALICE)))
    log = Log()
    ends = Ours(near.session("there:443", Log())), Ours(far.session(None, log))
    assert failing(*ends)
    if line.startswith("carol"):
        assert log.lines == [(6, "PSK identity not found: carol")]
    for end in ends:
        end.close()


@each_version
def test_a_server_with_both_serves_who_knows_a_key_and_who_trusts_its_certificate(
    pki: Pki, tmp_path: Path, version: str
) -> None:
    far = tls.build(server(pki, psk_secrets=written(tmp_path, ALICE)))
    for options, by_key in (
        ({"psk_secrets": written(tmp_path, ALICE)}, True),
        ({"verify_chain": True, "ca_file": str(pki.ca)}, False),
    ):
        ends = connect(tls.build(client(ssl_version=version, **options)), far, log=Log())
        assert (ends[0].session.peer_certificate is None) is by_key
        part(*ends)


@each_version
def test_a_client_that_relies_on_its_key_takes_no_certificate_instead(
    pki: Pki, tmp_path: Path, version: str
) -> None:
    """Whoever is between the two has a certificate of some kind, but not the key."""
    near = tls.build(client(psk_secrets=written(tmp_path, ALICE), ssl_version=version))
    log = Log()
    ends = Ours(near.session("there:443", log)), Ours(tls.build(server(pki)).session())
    assert failing(*ends)
    if version == "TLSv1.3":
        assert "PSK: the server showed a certificate instead of using the pre-shared key" in log.texts
    for end in ends:
        end.close()


def test_a_client_that_verifies_may_be_shown_a_certificate(pki: Pki, tmp_path: Path) -> None:
    options = {"verify_chain": True, "ca_file": str(pki.ca)}
    near = tls.build(client(psk_secrets=written(tmp_path, ALICE), **options))
    part(*connect(near, tls.build(server(pki)), log=Log()))


@each_version
def test_a_ticket_is_worth_nothing_once_the_keys_have_changed(tmp_path: Path, version: str) -> None:
    keys = {"ticket_key_secret": b"k" * 32, "ticket_mac_secret": b"m" * 32}
    path = written(tmp_path, ALICE)
    near = tls.build(client(psk_secrets=path, ssl_version=version))
    part(*connect(near, tls.build(keyed_server(path, **keys))))
    after = tls.build(keyed_server(written(tmp_path, BOB, name="after"), **keys))
    ends = Ours(near.session("there:443")), Ours(after.session())
    assert failing(*ends)
    for end in ends:
        end.close()


def test_ten_thousand_identities_are_told_apart(tmp_path: Path) -> None:
    lines = [f"user{number}:secret of user number {number:08}" for number in range(10_000)]
    path = written(tmp_path, *lines)
    far = tls.build(keyed_server(path))
    for number in (0, 4711, 9999):
        near = tls.build(client(psk_secrets=path, psk_identity=f"user{number}"))
        part(*connect(near, far))
