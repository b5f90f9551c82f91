"""Engines of OpenSSL: keys that another program or a token holds, and that never come into our memory.

An engine lives as long as the process.  It is made before the workers are forked; that its keys go on
working in them is the engine's affair (engine_pkcs11 notices a fork and opens its module again).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from culvert.errors import TlsError
from culvert.openssl._errors import begin, check, check_pointer
from culvert.openssl._lib import ffi, lib
from culvert.openssl.asking import Answer, answering
from culvert.openssl.certificates import Certificate, PrivateKey


class TokenEngine:
    """One engine of OpenSSL, opened by its id and not working yet."""

    __slots__ = ("_engine", "works")

    def __init__(self, engine: Any) -> None:
        """engine: an ENGINE, which is kept for ever."""
        self._engine = engine
        self.works = False

    @classmethod
    def open(cls, name: str) -> TokenEngine:
        """Find an engine, or load it from the folder of engines.  Raises TlsError."""
        begin()
        lib.culvert_engines_load()
        engine = lib.culvert_engine_by_id(ffi.new("char[]", _raw(name)))
        return cls(check_pointer(engine, f"open the engine {name}"))

    @property
    def id(self) -> str:
        """How it calls itself; the engine `dynamic` takes over the id of what it loads."""
        name = lib.culvert_engine_id(self._engine)
        return "" if name == ffi.NULL else str(ffi.string(name).decode("utf-8", "replace"))

    def control(self, command: str, argument: str | None) -> None:
        """Carry out a control command (ENGINE_ctrl_cmd_string(3)).  Raises TlsError."""
        begin()
        given = ffi.NULL if argument is None else ffi.new("char[]", _raw(argument))
        done = lib.culvert_engine_control(self._engine, ffi.new("char[]", _raw(command)), given)
        check(done, "execute a command of an engine")

    def start(self) -> None:
        """Make it work, once.  Raises TlsError."""
        if not self.works:
            begin()
            check(lib.culvert_engine_init(self._engine), f"initialize the engine {self.id}")
            self.works = True

    def serve_as_default(self, parts: str) -> None:
        """Use it for these algorithms wherever nothing else is said: ``RSA,EC``.  Raises TlsError."""
        begin()
        done = lib.culvert_engine_default(self._engine, ffi.new("char[]", _raw(parts)))
        check(done, "set the default engine")

    def key(self, name: str, answer: Answer) -> PrivateKey:
        """A handle of a key that stays where it is; ``answer`` is asked for the PIN.  Raises TlsError."""
        begin()
        with answering(answer) as (method, data):
            lib.culvert_engine_asks(self._engine, method, data)
            key = lib.culvert_engine_key(self._engine, ffi.new("char[]", _raw(name)), method, data)
            lib.culvert_engine_asks(self._engine, method, ffi.NULL)
        return PrivateKey(check_pointer(key, "load a key of an engine"), in_token=True)

    def certificate(self, name: str, answer: Answer) -> Certificate:
        """A certificate that the engine's token holds.  Raises TlsError."""
        begin()
        with answering(answer) as (method, data):
            lib.culvert_engine_asks(self._engine, method, data)
            found = lib.culvert_engine_certificate(self._engine, ffi.new("char[]", _raw(name)))
            lib.culvert_engine_asks(self._engine, method, ffi.NULL)
        return Certificate(check_pointer(found, "load a certificate of an engine"))


def engines_that_work() -> Iterator[TokenEngine]:
    """Every engine that OpenSSL knows and that can be initialized here, initialized (`engine = auto`)."""
    lib.culvert_engines_load()
    engine = ffi.NULL
    while (engine := lib.culvert_engine_next(engine)) != ffi.NULL:
        opened = lib.culvert_engine_by_id(lib.culvert_engine_id(engine))
        if opened == ffi.NULL:
            continue
        found = TokenEngine(opened)
        try:
            found.start()
        except TlsError:
            continue
        yield found
    begin()


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
