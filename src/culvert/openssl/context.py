"""What all connections of one service share: an SSL_CTX, set up once, before the workers are forked.

Every setter raises TlsError with OpenSSL's reason when a value is not possible; nothing falls back silently.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from culvert.errors import TlsError
from culvert.openssl._callbacks import (
    SESSION_SLOT,
    Report,
    SessionMemory,
    SessionStore,
    Verifier,
    destination_of,
    mark_saved,
    register_context,
    register_session,
)
from culvert.openssl._errors import begin, check, check_pointer
from culvert.openssl._lib import OPTIONS, ffi, lib
from culvert.openssl.certificates import Certificate, Parameters, PrivateKey, stack_of
from culvert.openssl.ocsp import Signers, Staple
from culvert.openssl.session import SavedSession, Session, decode_pointer, encode_session, session_id, silent

if TYPE_CHECKING:
    from culvert.openssl.hello import Ask

READ_BUFFER = 64 * 1024
"""Octets that one read from the socket may bring: four records and their frames."""

TICKETS_PER_HANDSHAKE = 1
"""A second TLS 1.3 ticket costs about 35 us, and few clients want two."""

VERSIONS = {
    "SSLv3": lib.SSL3_VERSION,
    "TLSv1": lib.TLS1_VERSION,
    "TLSv1.1": lib.TLS1_1_VERSION,
    "TLSv1.2": lib.TLS1_2_VERSION,
    "TLSv1.3": lib.TLS1_3_VERSION,
}

_MODE = (
    lib.SSL_MODE_RELEASE_BUFFERS | lib.SSL_MODE_ENABLE_PARTIAL_WRITE | lib.SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
)
_ALWAYS = OPTIONS["NO_COMPRESSION"] | OPTIONS["NO_SSLv3"]


class Context:
    """An SSL_CTX for servers or for clients.  Verifies nothing and resumes nothing until it is told to."""

    def __init__(self, *, server: bool) -> None:
        begin()
        context = check_pointer(lib.SSL_CTX_new(lib.TLS_method()), "make a TLS context")
        self._ctx = ffi.gc(context, lib.SSL_CTX_free)
        self.server = server
        self._verifier: Verifier | None = None
        self._store: SessionStore | None = None
        self._memory: SessionMemory | None = None
        self.redirects = False
        self.names_sessions = False
        self.resumes = False
        self.groups = ""
        self.verifies_silently = False
        self._watched = not server
        self.ask: Ask | None = None
        self.leaves: list[Certificate] = []
        self.judged = False
        register_context(self, self._ctx)
        lib.SSL_CTX_set_mode(self._ctx, _MODE)
        lib.SSL_CTX_set_read_ahead(self._ctx, 1)
        lib.SSL_CTX_set_default_read_buffer_len(self._ctx, READ_BUFFER)
        lib.SSL_CTX_set_options(self._ctx, _ALWAYS)
        lib.SSL_CTX_set_num_tickets(self._ctx, TICKETS_PER_HANDSHAKE)
        lib.SSL_CTX_set_session_cache_mode(self._ctx, lib.SSL_SESS_CACHE_OFF)

    def session(
        self, report: Report = silent, *, destination: int = 0, tell_progress: bool = False
    ) -> Session:
        """A new connection, ready for its handshake.

        report: takes the lines that the verification has for the connection's log.
        destination: the number under which a client's sessions are remembered; 0 remembers none.
        tell_progress: report each state of the handshake and each alert, too; this costs Python calls.
        """
        ssl = lib.culvert_session_new(self._ctx, self.server)
        if ssl == ffi.NULL:
            check_pointer(ssl, "make a TLS session")
        session = Session(self, ssl, self.server, report)
        if self._watched or tell_progress:
            register_session(session, ssl, destination)
        if tell_progress:
            lib.culvert_tell_progress(ssl)
        return session

    def watch_sessions(self) -> None:
        """Let callbacks find every session of this context."""
        self._watched = True

    # -- protocol --

    def set_options(self, bits: int, clear: int = 0) -> None:
        """Set, then clear, SSL_OP_ bits (culvert.openssl._lib.OPTIONS)."""
        lib.SSL_CTX_set_options(self._ctx, bits)
        lib.SSL_CTX_clear_options(self._ctx, clear)

    @property
    def options(self) -> int:
        return int(lib.SSL_CTX_get_options(self._ctx))

    def set_versions(self, low: str | None, high: str | None) -> None:
        """Bounds, both included; names as in VERSIONS, None for the widest that OpenSSL has."""
        begin()
        least = lib.SSL_CTX_set_min_proto_version(self._ctx, VERSIONS[low] if low else 0)
        check(least, f"set the lowest version {low}")
        most = lib.SSL_CTX_set_max_proto_version(self._ctx, VERSIONS[high] if high else 0)
        check(most, f"set the highest version {high}")

    def set_ciphers(self, names: str) -> None:
        """For TLS 1.2 and before, OpenSSL's list syntax."""
        begin()
        check(lib.SSL_CTX_set_cipher_list(self._ctx, names.encode()), "set the ciphers")

    def set_ciphersuites(self, names: str) -> None:
        """For TLS 1.3, names joined by colons."""
        begin()
        check(lib.SSL_CTX_set_ciphersuites(self._ctx, names.encode()), "set the cipher suites")

    @property
    def ciphers(self) -> tuple[str, ...]:
        """The names of everything that is on, in order of preference."""
        names: list[str] = []
        while (name := lib.culvert_cipher_at(self._ctx, len(names))) != ffi.NULL:
            names.append(ffi.string(name).decode())
        return tuple(names)

    @property
    def proves_nothing(self) -> bool:
        """True when a cipher is on with which no server shows a certificate or has a key."""
        return bool(lib.culvert_ciphers_include_anonymous(self._ctx))

    def set_groups(self, names: str) -> None:
        """Key exchange groups, best first, joined by colons."""
        begin()
        check(lib.SSL_CTX_set1_groups_list(self._ctx, names.encode()), "set the groups")
        self.groups = names

    @property
    def security_level(self) -> int:
        """0 to 5, SSL_CTX_set_security_level(3)."""
        return int(lib.SSL_CTX_get_security_level(self._ctx))

    @security_level.setter
    def security_level(self, level: int) -> None:
        lib.SSL_CTX_set_security_level(self._ctx, level)

    # -- who we are --

    def use_identity(self, leaf: Certificate, key: PrivateKey, above: Sequence[Certificate] = ()) -> None:
        """Present ``leaf`` and the certificates ``above`` it; one identity for each kind of key."""
        begin()
        stack = stack_of(above)
        check(lib.SSL_CTX_use_cert_and_key(self._ctx, leaf._x509, key._key, stack, 1), "use the certificate")
        self.leaves.append(leaf)

    def use_parameters(self, parameters: Parameters) -> None:
        """Exchange keys with these DH parameters."""
        begin()
        check(lib.EVP_PKEY_up_ref(parameters._key), "share the DH parameters")
        check(lib.SSL_CTX_set0_tmp_dh_pkey(self._ctx, parameters._key), "use the DH parameters")

    def use_automatic_parameters(self) -> None:
        """Exchange keys with the DH parameters of RFC 7919 that fit the strength of the certificate."""
        lib.SSL_CTX_set_dh_auto(self._ctx, 1)

    @property
    def exchanges_dh(self) -> bool:
        """True when a cipher is on that needs finite-field DH."""
        return bool(lib.culvert_ciphers_include_dh(self._ctx))

    # -- whom we trust --

    def trust(self, certificates: Iterable[Certificate]) -> None:
        store = lib.SSL_CTX_get_cert_store(self._ctx)
        for certificate in certificates:
            begin()
            check(lib.X509_STORE_add_cert(store, certificate._x509), "trust a certificate")

    def trust_folder(self, path: str) -> None:
        """Look for issuers in a folder of hashed names (openssl-rehash(1)) while a chain is verified."""
        begin()
        store = lib.SSL_CTX_get_cert_store(self._ctx)
        check(lib.X509_STORE_load_path(store, os.fsencode(path)), "trust a folder")

    def name_authorities(self, certificates: Iterable[Certificate]) -> None:
        """Tell clients whose certificates we would take (RFC 8446, 4.2.4)."""
        for certificate in certificates:
            begin()
            check(lib.SSL_CTX_add_client_CA(self._ctx, certificate._x509), "name an authority")

    def verify(self, verifier: Verifier, *, require: bool, redirect: bool = False) -> None:
        """Ask the peer for its certificate and let ``verifier`` judge it.

        require: no certificate, no handshake (a server's clients; servers always have one).
        redirect: whatever the judgement, the handshake goes on, and Session.vouched tells it.  Sessions of
            peers that did not pass are never resumed; to be said before share_sessions().
        """
        if redirect:
            self.redirects, require = True, False
            self.set_options(OPTIONS["NO_RENEGOTIATION"])  # a peer must not become another one later
        self._verifier = verifier
        self._watched = True
        mode = lib.SSL_VERIFY_PEER | (lib.SSL_VERIFY_FAIL_IF_NO_PEER_CERT if require else 0)
        lib.SSL_CTX_set_verify(self._ctx, mode, ffi.addressof(lib, "culvert_on_certificate"))
        lib.SSL_CTX_set_cert_verify_callback(self._ctx, ffi.addressof(lib, "culvert_on_chain"), ffi.NULL)

    def verify_by_chain(self, verifier: Verifier, *, require: bool, tell: bool) -> None:
        """Ask the peer for its certificate and believe whom OpenSSL believes, without a call of Python.

        verifier: says with ``tell`` why a peer is refused; nobody asks it whom to accept.  require: as above.
        """
        self._verifier = verifier
        self._watched = self._watched or tell
        self.verifies_silently = not tell
        mode = lib.SSL_VERIFY_PEER | (lib.SSL_VERIFY_FAIL_IF_NO_PEER_CERT if require else 0)
        lib.culvert_verify_by_chain(self._ctx, mode, SESSION_SLOT)

    @property
    def verifier(self) -> Verifier:
        if self._verifier is None:
            raise TlsError("verify without a verifier")
        return self._verifier

    # -- revocation --

    def staple(self, leaf: Certificate, staple: Staple) -> None:
        """Hand out, with ``leaf``, the current answer of ``staple`` to clients that ask for one."""
        begin()
        check(lib.culvert_staple_use(self._ctx, leaf._x509, staple._staple), "staple OCSP responses")

    def ask_for_staple(self) -> None:
        """Ask servers for an answer of their issuer (RFC 6066, 8)."""
        begin()
        check(lib.SSL_CTX_set_tlsext_status_type(self._ctx, lib.TLSEXT_STATUSTYPE_ocsp), "ask for OCSP")

    def await_verdict(self) -> None:
        """Judge peers after their handshake: no session may be resumed before Session.accept().

        A server's tickets would be in the peer's hands by then, so its sessions stand in the store alone;
        and nobody puts another certificate into the place of the one that was judged.
        """
        self.judged = True
        if self.server:
            lib.SSL_CTX_set_options(self._ctx, OPTIONS["NO_TICKET"] | OPTIONS["NO_RENEGOTIATION"])

    @property
    def signers(self) -> Signers:
        """The trusted certificates, as signers of answers."""
        return Signers(lib.SSL_CTX_get_cert_store(self._ctx), self)

    # -- sessions that may be resumed --

    def set_session_context(self, name: bytes) -> None:
        """Sessions are resumed only where the name is the same; 1 to 32 octets."""
        begin()
        done = lib.SSL_CTX_set_session_id_context(self._ctx, name, len(name))
        check(done if name else 0, "name the session context")

    def set_session_timeout(self, seconds: int) -> None:
        """How long a session may be resumed; also what tickets say."""
        lib.SSL_CTX_set_timeout(self._ctx, seconds)

    def share_sessions(self, store: SessionStore) -> None:
        """Resume what any worker has negotiated; tickets need no store, ids do."""
        self._store = store
        self.resume_elsewhere()
        lib.culvert_ask_python_about_sessions(self._ctx, 1)

    def resume_elsewhere(self) -> None:
        """Give sessions ids and tickets; the context keeps them from which connections come to this one.

        No ticket is opened of a peer whose certificate has expired, or that has not passed where that counts.
        """
        self.resumes = True
        mode = lib.SSL_SESS_CACHE_SERVER | lib.SSL_SESS_CACHE_NO_INTERNAL
        lib.SSL_CTX_set_session_cache_mode(self._ctx, mode)
        self.recheck_tickets()

    def name_sessions(self) -> None:
        """Give every session a name that its tickets carry (Session.token)."""
        self.names_sessions = True
        self.recheck_tickets()

    def recheck_tickets(self) -> None:
        """Open only those tickets that are good here, and name those that are made."""
        begin()
        check(lib.culvert_recheck_tickets(self._ctx, self.redirects, self.names_sessions), "watch tickets")

    def remember_sessions(self, memory: SessionMemory) -> None:
        """Hand a client's new sessions to ``memory``."""
        self._memory = memory
        mode = lib.SSL_SESS_CACHE_CLIENT | lib.SSL_SESS_CACHE_NO_INTERNAL
        lib.SSL_CTX_set_session_cache_mode(self._ctx, mode)
        lib.culvert_ask_python_about_sessions(self._ctx, 0)

    def refuse_resumption(self) -> None:
        """No tickets, no ids: every handshake is a full one."""
        lib.SSL_CTX_set_session_cache_mode(self._ctx, lib.SSL_SESS_CACHE_OFF)
        lib.SSL_CTX_set_options(self._ctx, OPTIONS["NO_TICKET"])
        lib.SSL_CTX_set_num_tickets(self._ctx, 0)

    # -- called by _callbacks with pointers of OpenSSL --

    def keep_session(self, ssl: Any, pointer: Any, marked: bool) -> None:
        """marked: of a server, only if the peer has passed all checks."""
        if self.server:
            self.keep_server_session(pointer, marked)
        else:
            self.keep_client_session(destination_of(ssl), pointer)

    def keep_server_session(self, pointer: Any, marked: bool = False) -> None:
        if self._store is None or (marked and not lib.culvert_is_vouched_for(pointer)):
            return
        encoded = encode_session(pointer)
        if encoded:
            self._store.keep(session_id(pointer), encoded)

    def find_server_session(self, key: bytes, marked: bool = False) -> Any:
        """marked: only if its peer has passed all checks."""
        encoded = self._store.find(key) if self._store is not None else None
        if encoded is None:
            return ffi.NULL
        session = decode_pointer(encoded)
        if session == ffi.NULL or (session_id(session) == key and self._is_resumable(session, marked)):
            return session
        lib.SSL_SESSION_free(session)
        return ffi.NULL

    def _is_resumable(self, session: Any, marked: bool) -> bool:
        if marked and not lib.culvert_is_vouched_for(session):
            return False
        return bool(lib.culvert_session_is_current(session))

    def forget_server_session(self, pointer: Any) -> None:
        if self._store is not None:
            self._store.forget(session_id(pointer))

    def keep_client_session(self, destination: int, pointer: Any) -> None:
        if self._memory is not None and destination:
            mark_saved(pointer, destination)
            self._memory.keep(destination, SavedSession(pointer))

    def forget_client_session(self, destination: int, pointer: Any) -> None:
        if self._memory is not None and destination:
            self._memory.forget(destination, session_id(pointer))
