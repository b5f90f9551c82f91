"""Where OpenSSL calls Python: all of our ``extern "Python"`` functions, and how each finds whom it concerns.

An exception must never travel on as "0 = all is well": every function names its failing value, logs the
exception once, and so ends the handshake that asked.  (Storing and forgetting a session is different: the
handshake is over by then, and an unstored session is merely never resumed.)

OpenSSL's objects carry small numbers of ours, not pointers to Python objects: an object of C that outlives
its face (a context after a reload, a connection whose Session was dropped) finds nobody, and nobody's
answer is the failing value.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from culvert.errors import TlsError
from culvert.openssl._lib import ffi, lib
from culvert.openssl.certificates import Certificate

if TYPE_CHECKING:
    from culvert.openssl.context import Context
    from culvert.openssl.session import SavedSession, Session

Report = Callable[[int, str], None]
"""Takes a syslog level (0-7) and a line for the log of the connection."""

_DEBUG = 7
"""The syslog level of what only developers read."""

_log = logging.getLogger("culvert.openssl")


@dataclass(frozen=True, slots=True)
class Finding:
    """What OpenSSL says of one certificate of a peer's chain (SSL_CTX_set_verify(3))."""

    good: bool
    """False when ``error`` was found now; True once for each certificate, root first, after its checks."""
    error: int
    """X509_V_ERR_...; with ``good`` it is the last error that was passed over, or 0."""
    depth: int
    """0 is the peer itself."""
    certificate: Certificate
    _verification: Any

    @property
    def reason(self) -> str:
        """The error in OpenSSL's words."""
        return verify_error_text(self.error)

    def trusted_namesakes(self) -> tuple[Certificate, ...]:
        """Every trusted certificate with this certificate's subject, those in folders included."""
        subject = lib.X509_get_subject_name(self.certificate._x509)
        stack = lib.culvert_certificates_named(self._verification, subject)
        if stack == ffi.NULL:
            return ()
        try:
            count = lib.culvert_certificates_count(stack)
            return tuple(Certificate.borrow(lib.culvert_certificates_at(stack, at)) for at in range(count))
        finally:
            lib.culvert_certificates_free(stack)


class Verifier(Protocol):
    """Judges a peer's chain, certificate by certificate."""

    def judge(self, finding: Finding, report: Report) -> bool:
        """False ends the handshake.  Asked for each error, and once for each certificate that has passed."""


class SessionStore(Protocol):
    """Keeps a server's sessions for every worker; none of its methods blocks."""

    def keep(self, key: bytes, session: bytes) -> None: ...
    def find(self, key: bytes) -> bytes | None: ...
    def forget(self, key: bytes) -> None: ...


class SessionMemory(Protocol):
    """Keeps a client's sessions by the number that Context.session() was given."""

    def keep(self, destination: int, session: SavedSession) -> None: ...
    def forget(self, destination: int, key: bytes) -> None: ...


@dataclass(slots=True)
class _Chain:
    """One verification under way."""

    verifier: Verifier
    report: Report
    leaf_accepted: bool = False
    asking: bool = False
    """Set while the verifier is asked; it stays set when that raised."""


CONTEXT_SLOT: int = lib.culvert_slot(lib.CRYPTO_EX_INDEX_SSL_CTX)
SESSION_SLOT: int = lib.culvert_slot(lib.CRYPTO_EX_INDEX_SSL)
DESTINATION_SLOT: int = lib.culvert_slot(lib.CRYPTO_EX_INDEX_SSL)
SAVED_DESTINATION_SLOT: int = lib.culvert_slot(lib.CRYPTO_EX_INDEX_SSL_SESSION)
_SSL_OF_CHAIN: int = lib.SSL_get_ex_data_X509_STORE_CTX_idx()

_numbers = itertools.count(1)
_contexts: WeakValueDictionary[int, Context] = WeakValueDictionary()
_sessions: WeakValueDictionary[int, Session] = WeakValueDictionary()
_chains: dict[int, _Chain] = {}


def register_context(context: Context, pointer: Any) -> None:
    """Make ``context`` known to callbacks that get its SSL_CTX."""
    number = next(_numbers)
    _contexts[number] = context
    if not lib.SSL_CTX_set_ex_data(pointer, CONTEXT_SLOT, ffi.cast("void *", number)):
        raise TlsError("mark the context")


def register_session(session: Session, pointer: Any, destination: int) -> None:
    """Make ``session`` known to callbacks that get its SSL; ``destination`` 0 remembers no session."""
    number = next(_numbers)
    _sessions[number] = session
    done = lib.SSL_set_ex_data(pointer, SESSION_SLOT, ffi.cast("void *", number))
    if not done or not lib.SSL_set_ex_data(pointer, DESTINATION_SLOT, ffi.cast("void *", destination)):
        raise TlsError("mark the session")


def home_of(ssl: Any) -> Context | None:
    """The context that keeps an SSL's sessions: the one that it began with; None after a reload."""
    return _contexts.get(_number(lib.SSL_CTX_get_ex_data(lib.home_of(ssl), CONTEXT_SLOT)))


def destination_of(ssl: Any) -> int:
    """The number that register_session() was given."""
    return _number(lib.SSL_get_ex_data(ssl, DESTINATION_SLOT))


def mark_saved(pointer: Any, destination: int) -> None:
    """Note the destination of a client's SSL_SESSION, for the day when one of its connections is cut."""
    if not lib.SSL_SESSION_set_ex_data(pointer, SAVED_DESTINATION_SLOT, ffi.cast("void *", destination)):
        raise TlsError("mark a saved session")


def verify_error_text(code: int) -> str:
    """X509_V_ERR_... in OpenSSL's words."""
    return _text(lib.X509_verify_cert_error_string(code))


def _text(words: Any) -> str:
    return str(ffi.string(words).decode())


def _number(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def _context_of(pointer: Any) -> Context:
    return _contexts[_number(lib.SSL_CTX_get_ex_data(pointer, CONTEXT_SLOT))]


def _session_of(ssl: Any) -> Session:
    return _sessions[_number(lib.SSL_get_ex_data(ssl, SESSION_SLOT))]


def _failed(_kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log the exception once; cffi then answers with the failing value."""
    place = trace.tb_frame.f_code.co_name if trace else "callback"
    _log.error("%s failed, the handshake ends: %s: %s", place, type(error).__name__, error)


def session_told(ssl: Any) -> Session | None:
    """Whose log takes lines about this SSL; None when nobody's does any more."""
    return _sessions.get(_number(lib.SSL_get_ex_data(ssl, SESSION_SLOT)))


def ignore_lost_line(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Log the exception once; the line that it was about is lost, and decided nothing."""
    _log.error("a line of the log is lost: %s: %s", type(error).__name__, error)


def _failed_look_up(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log, and make the handshake fail: the failing value alone would only make it a full one."""
    _failed(kind, error, trace)
    if trace is not None:
        lib.culvert_doom(trace.tb_frame.f_locals["ssl"])


@ffi.def_extern(error=0, onerror=_failed)  # type: ignore[untyped-decorator]
def culvert_on_chain(verification: Any, _unused: Any) -> int:
    """Verify a peer's chain; the leaf must have been accepted by name, whatever OpenSSL's result is.

    Where peers are redirected, the handshake goes on without it, but only a good peer's session is marked.
    """
    lib.X509_STORE_CTX_set_error(verification, lib.X509_V_ERR_APPLICATION_VERIFICATION)
    ssl = lib.X509_STORE_CTX_get_ex_data(verification, _SSL_OF_CHAIN)
    session = _session_of(ssl)
    chain = _Chain(session.context.verifier, session.report)
    lib.X509_STORE_CTX_set_error(verification, lib.X509_V_OK)
    number = _number(verification)
    _chains[number] = chain
    try:
        verified = lib.X509_verify_cert(verification)
    finally:
        del _chains[number]
    good = verified > 0 and chain.leaf_accepted
    if not session.context.redirects:
        return int(good)
    if good and not lib.culvert_vouch(ssl):
        raise TlsError("mark a session")
    return int(good or not chain.asking)


@ffi.def_extern(error=0, onerror=_failed)  # type: ignore[untyped-decorator]
def culvert_on_certificate(good: int, verification: Any) -> int:
    """Ask the verifier about one certificate or one error."""
    chain = _chains[_number(verification)]
    chain.asking = True
    finding = _finding(bool(good), verification)
    accepted = chain.verifier.judge(finding, chain.report)
    chain.asking = False
    if not accepted:
        if good:
            lib.X509_STORE_CTX_set_error(verification, lib.X509_V_ERR_APPLICATION_VERIFICATION)
        return 0
    chain.leaf_accepted = finding.good and finding.depth == 0
    return 1


def _finding(good: bool, verification: Any) -> Finding:
    error = lib.X509_STORE_CTX_get_error(verification)
    depth = lib.X509_STORE_CTX_get_error_depth(verification)
    current = lib.X509_STORE_CTX_get_current_cert(verification)
    if current == ffi.NULL:  # an error of the chain as a whole
        current = lib.X509_STORE_CTX_get0_cert(verification)
    return Finding(good, error, depth, Certificate.borrow(current), verification)


@ffi.def_extern(onerror=ignore_lost_line)  # type: ignore[untyped-decorator]
def culvert_on_refusal(verification: Any) -> None:
    """Let the verifier say why a peer is refused; C has decided it already (decl/verification.py)."""
    session = _session_of(lib.X509_STORE_CTX_get_ex_data(verification, _SSL_OF_CHAIN))
    session.context.verifier.judge(_finding(False, verification), session.report)


@ffi.def_extern(error=0, onerror=_failed)  # type: ignore[untyped-decorator]
def culvert_on_session_made(ssl: Any, session: Any) -> int:
    """Keep a new session; OpenSSL keeps the ownership of its own reference."""
    home = home_of(ssl)
    if home is None:  # replaced by a reload: nobody would ask for the session
        return 0
    context = _context_of(lib.SSL_get_SSL_CTX(ssl))
    if context.judged and not _session_of(ssl).admits(home, session):
        return 0
    home.keep_session(ssl, session, context.redirects)
    return 0


@ffi.def_extern(error=ffi.NULL, onerror=_failed_look_up)  # type: ignore[untyped-decorator]
def culvert_on_session_wanted(ssl: Any, key: Any, size: int, copy: Any) -> Any:
    """Find a session by its id; the one that is returned is OpenSSL's."""
    copy[0] = 0
    home, context = home_of(ssl), _context_of(lib.SSL_get_SSL_CTX(ssl))
    if home is None:
        return ffi.NULL
    return home.find_server_session(bytes(ffi.buffer(key, size)), context.redirects)


@ffi.def_extern(onerror=_failed)  # type: ignore[untyped-decorator]
def culvert_on_session_spoilt(pointer: Any, session: Any) -> None:
    """Forget a session whose connection was cut."""
    context = _contexts.get(_number(lib.SSL_CTX_get_ex_data(pointer, CONTEXT_SLOT)))
    if context is None:
        return
    if context.server:
        context.forget_server_session(session)
    else:
        destination = _number(lib.SSL_SESSION_get_ex_data(session, SAVED_DESTINATION_SLOT))
        context.forget_client_session(destination, session)


@ffi.def_extern(onerror=ignore_lost_line)  # type: ignore[untyped-decorator]
def culvert_on_progress(ssl: Any, where: int, value: int) -> None:
    """Tell a state or an alert (SSL_set_info_callback(3)); called only where that is logged."""
    session = session_told(ssl)
    if session is None:
        return
    if where & lib.SSL_CB_ALERT:
        way = "read" if where & lib.SSL_CB_READ else "write"
        kind, what = lib.SSL_alert_type_string_long(value), lib.SSL_alert_desc_string_long(value)
        session.report(_DEBUG, f"TLS alert ({way}): {_text(kind)}: {_text(what)}")
    else:
        role = "accept" if session.server else "connect"
        session.report(_DEBUG, f"TLS state ({role}): {_text(lib.SSL_state_string_long(ssl))}")
