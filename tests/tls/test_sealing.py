"""What lies in somebody else's memory can be read and changed by nobody without the secret."""

from __future__ import annotations

import pytest

from culvert.tls.sealing import Clear, Sealed, seal_of

NAME, SESSION = b"culvert:session:00", b"a session" * 20
SEAL = seal_of(bytes(32), bytes(range(32)))


def test_what_was_closed_opens() -> None:
    stored = SEAL.close(NAME, SESSION)
    assert SESSION[:9] not in stored
    assert SEAL.open(NAME, stored) == SESSION
    assert SEAL.close(NAME, SESSION) != stored


@pytest.mark.parametrize("change", ["name", "bit", "cut", "secret", "clear", "empty"])
def test_what_was_changed_does_not(change: str) -> None:
    stored, name, seal = SEAL.close(NAME, SESSION), NAME, SEAL
    if change == "name":
        name = b"culvert:session:01"
    elif change == "bit":
        stored = stored[:20] + bytes([stored[20] ^ 1]) + stored[21:]
    elif change == "cut":
        stored = stored[:-1]
    elif change == "secret":
        seal = seal_of(bytes(32), bytes(32))
    else:
        stored = SESSION if change == "clear" else b""
    assert seal.open(name, stored) is None


def test_without_a_secret_nothing_is_sealed() -> None:
    clear = seal_of(None, None)
    assert isinstance(clear, Clear)
    assert clear.open(NAME, clear.close(NAME, SESSION)) == SESSION
    assert isinstance(SEAL, Sealed)
