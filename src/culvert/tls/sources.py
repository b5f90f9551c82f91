"""Where own certificates and keys come from: files of PEM or PKCS#12, URIs, and the tokens of engines.

A value of `cert` or `key` is, in this order: a `pkcs11:` URI (RFC 7512), for the section's engine, else for
an engine `pkcs11` that was opened, else for OpenSSL's loaders; any other URI, for OpenSSL's loaders; the name
of a file that is there; the id of a certificate or key of the section's engine; the name of a file.
"""

from __future__ import annotations

import abc
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from culvert.errors import TlsError
from culvert.openssl import Certificate, PrivateKey
from culvert.tls.faults import Faults
from culvert.tls.library import in_force, readable_by_others
from culvert.tls.passphrases import Answer, Passphrases
from culvert.tls.pem import FILE_MAX, Block, blocks_of

if TYPE_CHECKING:
    from culvert.openssl.hardware import TokenEngine
    from culvert.openssl.store import Contents, Pkcs12

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_SECRET = re.compile(r"(pin-value=)([^;?&]*)")
_CERTIFICATE_TYPE = re.compile(r"([;:])type=cert(?=[;?]|$)")
WRONG_PIN = "PIN incorrect"
"""What engine_pkcs11 says of CKR_PIN_INCORRECT."""

_WRONG_PINS: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
"""Engines whose configured PIN was wrong, and the same of URIs; for the life of this process."""

Loaded = TypeVar("Loaded")

_BEGIN = b"-----BEGIN "
_DER_SEQUENCE = b"\x30"


class Source(Protocol):
    """One value of `cert` or `key`.  What cannot be had is refused in ``faults``."""

    name: str
    """For messages; without secrets."""

    def certificates(self, faults: Faults) -> Iterable[Certificate]: ...
    def keys(self, faults: Faults, attribute: str) -> Iterable[PrivateKey]: ...
    def parameters(self) -> Sequence[Block]: ...


def shown(text: str) -> str:
    """A value for messages: the PIN that a URI may hold is left out (RFC 7512, 2.4)."""
    return _SECRET.sub(r"\1***", text)


def open_source(
    faults: Faults, attribute: str, text: str, passphrases: Passphrases, engine: TokenEngine | None
) -> Source | None:
    """Find out what a value means; None when that was refused."""
    _look_for_pin(faults, attribute, text)
    scheme = _SCHEME.match(text)
    if scheme and not os.path.exists(text):
        if scheme[1].lower() == "pkcs11" and (token := engine or _engine_of_tokens()) is not None:
            return TokenSource(text, token, passphrases)
        return UriSource(text, passphrases)
    if engine is not None and not os.path.exists(text):
        return TokenSource(text, engine, passphrases)
    with faults.about(attribute, f"cannot read {text}"):
        return _file(text, passphrases)
    return None


def _look_for_pin(faults: Faults, attribute: str, text: str) -> None:
    at = faults.service.where(attribute)
    if at is None or shown(text) == text or not readable_by_others(at):
        return
    reason = f"Insecure file permissions on {at.path}: a PIN is in it"
    if faults.service.strict:
        faults.refuse(attribute, reason)
    else:
        faults.warn(attribute, reason)


def _engine_of_tokens() -> TokenEngine | None:
    return next((each for each in in_force().engines if each.id == "pkcs11"), None)


def _file(path: str, passphrases: Passphrases) -> Source:
    with open(path, "rb") as file:
        data = file.read(FILE_MAX + 1)
    if len(data) > FILE_MAX:
        raise OSError(f"larger than {FILE_MAX >> 20} MiB")
    if data.startswith(_DER_SEQUENCE) and _BEGIN not in data:
        from culvert.openssl.store import Pkcs12

        try:
            return SealedSource(path, Pkcs12(data), passphrases)
        except TlsError:
            pass  # something else in DER: it has no PEM either, and that is told
    return PemSource(path, blocks_of(data), passphrases)


class PemSource:
    """A file of PEM blocks, in any order."""

    def __init__(self, path: str, blocks: Sequence[Block], passphrases: Passphrases) -> None:
        self.name = path
        self._blocks = blocks
        self._passphrases = passphrases

    def certificates(self, faults: Faults) -> Iterator[Certificate]:
        """Those that can be read."""
        before, path = len(faults.errors), self.name
        count = 0
        for block in self._blocks:
            if block.is_certificate:
                count += 1
                with faults.about("cert", f"line {block.line} of {path} is not a usable certificate"):
                    yield Certificate.from_pem(block.data)
        if not count and len(faults.errors) == before:
            reason = f"{path} has no BEGIN CERTIFICATE line (PEM or PKCS#12 is needed)"
            faults.refuse("cert", f"Failed to load certificate: {reason}")

    def keys(self, faults: Faults, attribute: str) -> Iterator[PrivateKey]:
        """Those that can be read or opened."""
        for block in (block for block in self._blocks if block.is_key):
            with faults.about(attribute, f"Failed to load private key: line {block.line} of {self.name}"):
                yield self._open(block)

    def _open(self, block: Block) -> PrivateKey:
        if block.is_encrypted:
            return self._passphrases.open(block.data, self.name)
        return PrivateKey.from_pem(block.data)

    def parameters(self) -> Sequence[Block]:
        """Its DH parameters."""
        return [block for block in self._blocks if block.is_parameters]


class _Loaded(abc.ABC):
    """What is read as a whole, once, when it is first asked for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._contents: Contents | None = None
        self._failed = False

    @abc.abstractmethod
    def _load(self) -> Contents:
        """Read it.  Raises TlsError, OSError."""

    def _because(self, error: TlsError) -> str:
        return shown(error.reason or error.doing)  # OpenSSL's words may have the whole URI in them

    def _read(self, faults: Faults, attribute: str, what: str) -> Contents | None:
        if self._contents is None and not self._failed:
            try:
                self._contents = self._load()
            except TlsError as error:
                self._failed = True
                faults.refuse(attribute, f"Failed to load {what}: {self.name}: {self._because(error)}")
        return self._contents

    def certificates(self, faults: Faults) -> Iterable[Certificate]:
        """All of them, in their order."""
        contents = self._read(faults, "cert", "certificate")
        if contents is not None and not contents.certificates:
            faults.refuse("cert", f"Failed to load certificate: none is in {self.name}")
        return contents.certificates if contents else ()

    def keys(self, faults: Faults, attribute: str) -> Iterable[PrivateKey]:
        """All of them."""
        contents = self._read(faults, attribute, "private key")
        return contents.keys if contents else ()

    def parameters(self) -> Sequence[Block]:
        """None: DH parameters are looked for in PEM."""
        return ()


class SealedSource(_Loaded):
    """A PKCS#12 file."""

    def __init__(self, path: str, file: Pkcs12, passphrases: Passphrases) -> None:
        super().__init__(path)
        self._file, self._passphrases = file, passphrases

    def _load(self) -> Contents:
        if self._file.opened_by(b""):
            return self._file.open(b"")
        return self._passphrases.unlock(self._attempt, self.name)

    def _attempt(self, phrase: bytes) -> Contents | None:
        return self._file.open(phrase) if self._file.opened_by(phrase) else None

    def _because(self, error: TlsError) -> str:
        if "unsupported" not in error.reason:
            return super()._because(error)
        return "it has an old algorithm (RC2, RC4): `provider = legacy` knows it, or export the file anew"


class UriSource(_Loaded):
    """What OpenSSL's loaders find under a URI; which there are, its providers decide."""

    def __init__(self, uri: str, passphrases: Passphrases) -> None:
        super().__init__(shown(uri))
        self._uri, self._passphrases = uri, passphrases

    def _load(self) -> Contents:
        from culvert.openssl.store import read_uri

        def load(answer: Answer) -> Contents:
            # OpenSSL's own question does not say for what.
            return read_uri(self._uri, lambda prompt: answer(f"{prompt.rstrip(': ')} for {self.name}"))

        return self._passphrases.load(load)

    def _because(self, error: TlsError) -> str:
        scheme = self._uri.partition(":")[0]
        if scheme == "file" or f"unregistered scheme: scheme={scheme}" not in error.reason:
            return super()._because(error)
        way = "`engine = pkcs11` or " if scheme.lower() == "pkcs11" else ""
        return f"OpenSSL has no loader for {scheme}: URIs, {way}a `provider` can bring one"


class TokenSource:
    """A certificate and a key in the token of an engine, found by a URI or the engine's own id."""

    def __init__(self, text: str, engine: TokenEngine, passphrases: Passphrases) -> None:
        self.name = shown(text)
        self._text, self._engine, self._passphrases = text, engine, passphrases

    def certificate(self) -> Certificate:
        """The one of this name.  Raises TlsError."""
        return self._load(lambda answer: self._engine.certificate(self._text, answer))

    def certificates(self, faults: Faults) -> Iterator[Certificate]:
        """The same, as the other sources give theirs."""
        with faults.about("cert", f"Failed to load certificate: {self.name} of engine {self._engine.id}"):
            yield self.certificate()

    def keys(self, faults: Faults, attribute: str) -> Iterator[PrivateKey]:
        """A handle of the one of this name; where `cert` names a certificate, of the key beside it."""
        text = _CERTIFICATE_TYPE.sub(r"\1type=private", self._text)
        with faults.about(attribute, f"Failed to load private key: {self.name} of engine {self._engine.id}"):
            yield self._load(lambda answer: self._engine.key(text, answer))

    def _load(self, load: Callable[[Answer], Loaded]) -> Loaded:
        """Log in with a PIN of the file only as long as it was not wrong: tokens count, and lock."""
        pin = (self._engine.id, tuple(_SECRET.findall(self._text)))
        if pin in _WRONG_PINS:
            raise TlsError("log in", ("the PIN is wrong, and is not tried twice, because tokens lock",))
        asked: list[str] = []

        def noticed(answer: Answer) -> Loaded:
            def note(prompt: str) -> bytes | None:
                asked.append(prompt)
                return answer(prompt)

            return load(note)

        try:
            return self._passphrases.load(noticed)
        except TlsError as error:
            if not asked and any(WRONG_PIN in reason for reason in error.reasons):
                _WRONG_PINS.add(pin)
            raise

    def parameters(self) -> Sequence[Block]:
        """None."""
        return ()
