"""Pass phrases and PINs: asked for on the terminal, once, and remembered for reloads.

A phrase that has opened one key or file is tried on every other before anybody is asked, so keys that share a
phrase, sections that share a key, and reloads need one answer.  The PIN of a token is given to the question
that it was typed for and to no other: tokens count wrong PINs, and lock.  Phrases stay in the memory of the
process that loads keys.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from typing import TypeVar

from culvert.errors import TlsError
from culvert.openssl import PrivateKey

TRIES = 3
"""How often an operator may mistype, as in stunnel."""

Ask = Callable[[str], str]
"""Takes a prompt, gives what was typed; raises EOFError when nobody can answer."""

Answer = Callable[[str], bytes | None]
"""Takes a prompt of OpenSSL or an engine, gives the phrase or PIN; None when there is none to give."""

Opened = TypeVar("Opened")


def ask_terminal(prompt: str) -> str:
    """Ask on the controlling terminal, without echo.  Raises EOFError when there is none."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise EOFError("there is no terminal to ask for its pass phrase on") from None
    return getpass.getpass(prompt)


class Passphrases:
    """Opens what is locked with what is known or can be asked for."""

    def __init__(self, ask: Ask = ask_terminal) -> None:
        self._ask = ask
        self._known: list[bytes] = []
        self._answers: dict[str, bytes] = {}

    def open(self, pem: bytes, name: str) -> PrivateKey:
        """Read an encrypted key; ``name`` tells the operator which.  Raises TlsError."""
        return self.unlock(lambda phrase: _try(pem, phrase), name)

    def unlock(self, attempt: Callable[[bytes], Opened | None], name: str) -> Opened:
        """Open anything; ``attempt`` gives None for a wrong phrase.  Raises TlsError."""
        for phrase in self._known:
            if (opened := attempt(phrase)) is not None:
                return opened
        return self._unlock_asking(attempt, name)

    def _unlock_asking(self, attempt: Callable[[bytes], Opened | None], name: str) -> Opened:
        for _ in range(TRIES):
            phrase = self._answer(f"Pass phrase for {name}: ", "it is encrypted")
            if phrase and b"\0" not in phrase and (opened := attempt(phrase)) is not None:
                self._known.append(phrase)
                return opened
        raise TlsError("open the key", (f"the pass phrase was wrong {TRIES} times",))

    def _answer(self, prompt: str, why: str = "it is locked") -> bytes:
        try:
            typed = self._ask(prompt)
        except (EOFError, OSError) as refusal:
            raise TlsError("open the key", (f"{why} and {refusal or 'nobody answered'}",)) from None
        return typed.encode("utf-8", "surrogateescape")

    def load(self, load: Callable[[Answer], Opened]) -> Opened:
        """Load what OpenSSL or an engine asks for by itself: ``load`` gets who answers their prompts.

        What was typed for the same prompt before is tried first, once.  Raises the TlsError of the last try.
        """
        conversation = _Conversation(self._answers, self._answer)
        while True:
            try:
                loaded = load(conversation.answer)
            except TlsError as error:
                if conversation.refusal is not None:
                    raise conversation.refusal from None
                if not conversation.may_go_on():
                    raise TlsError(error.doing, error.reasons) from None
            else:
                conversation.remember()
                return loaded


class _Conversation:
    """The questions of one key."""

    def __init__(self, remembered: dict[str, bytes], ask: Callable[[str], bytes]) -> None:
        self._remembered, self._ask = remembered, ask
        self._given: dict[str, bytes] = {}
        self._left = TRIES
        self._asked = False
        self.refusal: TlsError | None = None

    def answer(self, prompt: str) -> bytes | None:
        """Answer a prompt of OpenSSL; None when that is not possible."""
        self._asked = True
        known = self._remembered.pop(prompt, None)  # wrong ones are not tried twice
        if known is None:
            if not self._left:
                return None
            self._left -= 1
            try:
                known = self._ask(f"{prompt.rstrip(': ')}: ")
            except TlsError as refusal:
                self.refusal = refusal
                return None
        self._given[prompt] = known
        return known

    def may_go_on(self) -> bool:
        """After a failure: whether another answer could help."""
        asked, self._asked = self._asked, False
        return asked and self._left > 0

    def remember(self) -> None:
        self._remembered.update(self._given)


def _try(pem: bytes, phrase: bytes) -> PrivateKey | None:
    try:
        return PrivateKey.from_pem(pem, phrase)
    except TlsError:
        return None


REMEMBERED = Passphrases()
"""Of this process."""
