"""Pass phrases of private keys: asked for on the terminal, once, and remembered for reloads.

A phrase that has opened one key is tried on every other before anybody is asked, so keys that share a phrase,
sections that share a key, and reloads need one answer.  Phrases stay in the memory of the process that
loads keys.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable

from culvert.errors import TlsError
from culvert.openssl import PrivateKey

TRIES = 3
"""How often an operator may mistype, as in stunnel."""

Ask = Callable[[str], str]
"""Takes a prompt, gives what was typed; raises EOFError when nobody can answer."""


def ask_terminal(prompt: str) -> str:
    """Ask on the controlling terminal, without echo.  Raises EOFError when there is none."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise EOFError("there is no terminal to ask for its pass phrase on") from None
    return getpass.getpass(prompt)


class Passphrases:
    """Opens encrypted keys with what is known or can be asked for."""

    def __init__(self, ask: Ask = ask_terminal) -> None:
        self._ask = ask
        self._known: list[bytes] = []

    def open(self, pem: bytes, name: str) -> PrivateKey:
        """Read an encrypted key; ``name`` tells the operator which.  Raises TlsError."""
        for phrase in self._known:
            if (key := _try(pem, phrase)) is not None:
                return key
        return self._open_asking(pem, name)

    def _open_asking(self, pem: bytes, name: str) -> PrivateKey:
        for _ in range(TRIES):
            phrase = self._answer(name)
            if (key := _try(pem, phrase)) is not None:
                self._known.append(phrase)
                return key
        raise TlsError("open the key", (f"the pass phrase was wrong {TRIES} times",))

    def _answer(self, name: str) -> bytes:
        try:
            typed = self._ask(f"Pass phrase for {name}: ")
        except (EOFError, OSError) as refusal:
            raise TlsError("open the key", (f"it is encrypted and {refusal or 'nobody answered'}",)) from None
        return typed.encode("utf-8", "surrogateescape")


def _try(pem: bytes, phrase: bytes) -> PrivateKey | None:
    if not phrase or b"\0" in phrase:
        return None
    try:
        return PrivateKey.from_pem(pem, phrase)
    except TlsError:
        return None


REMEMBERED = Passphrases()
"""Of this process."""
