"""One TLS connection before and after its handshake.

Who owns the SSL: the Session that made it, until the engine takes it over (``_taken``).  From then on the
engine frees it when the tunnel ends and sets ``_ssl`` to NULL; facts must be read before.  A Session that
is never handed over is closed by whoever asked for it, with ``close()``; there is no finalizer, so that
making one costs one call of C.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from culvert.errors import TlsError
from culvert.openssl._callbacks import Report, destination_of, mark_saved
from culvert.openssl._errors import begin, check, check_pointer
from culvert.openssl._lib import ffi, lib
from culvert.openssl.certificates import Certificate, name_text

if TYPE_CHECKING:
    from culvert.openssl.context import Context
    from culvert.openssl.switching import Chooser


Question = Callable[[], Coroutine[Any, Any, None]]
"""Finds out, in a running loop, what a handshake waits for; it must not raise."""


def silent(_level: int, _text: str) -> None:
    """The report of a session whose log nobody reads."""


def session_id(pointer: Any) -> bytes:
    """The id of an SSL_SESSION, 0 to 32 octets."""
    size = ffi.new("unsigned int *")
    start = lib.SSL_SESSION_get_id(pointer, size)
    return bytes(ffi.buffer(start, size[0]))


def encode_session(pointer: Any) -> bytes:
    """An SSL_SESSION in DER, its secrets and its peer's certificate included; empty when it cannot be had."""
    out = ffi.new("unsigned char **")
    size = lib.i2d_SSL_SESSION(pointer, out)
    if size <= 0:
        return b""
    try:
        return bytes(ffi.buffer(out[0], size))
    finally:
        lib.culvert_free(out[0])


def decode_pointer(encoded: bytes) -> Any:
    """The SSL_SESSION that encode_session() gave, the caller's to free, or NULL."""
    octets = ffi.from_buffer("unsigned char[]", encoded)
    start = ffi.new("const unsigned char **", octets)
    session = lib.d2i_SSL_SESSION(ffi.NULL, start, len(encoded))
    begin()
    return session


class SavedSession:
    """A session that a client may resume: a reference to an SSL_SESSION."""

    __slots__ = ("_session",)

    def __init__(self, pointer: Any) -> None:
        check(lib.SSL_SESSION_up_ref(pointer), "keep a session")
        self._session = ffi.gc(pointer, lib.SSL_SESSION_free)

    @property
    def encoded(self) -> bytes:
        """What decode_session() takes, in any process; 1000 to 3000 octets, mostly the peer's certificate."""
        return encode_session(self._session)

    @property
    def id(self) -> bytes:
        return session_id(self._session)

    @property
    def single_use(self) -> bool:
        """True for TLS 1.3, whose tickets a client should not show twice (RFC 8446, C.4)."""
        return bool(lib.SSL_SESSION_get_protocol_version(self._session) >= lib.TLS1_3_VERSION)

    @property
    def ends_at(self) -> int:
        """When it may no longer be offered: seconds since the epoch."""
        return int(lib.SSL_SESSION_get_time(self._session) + lib.SSL_SESSION_get_timeout(self._session))

    @property
    def usable(self) -> bool:
        """False when OpenSSL would not resume it, or its peer's certificate is no longer valid by date."""
        resumable = lib.SSL_SESSION_is_resumable(self._session)
        return bool(resumable and lib.culvert_session_is_current(self._session))


def decode_session(encoded: bytes) -> SavedSession | None:
    """The session that ``encoded`` was made of; None when it is none."""
    pointer = decode_pointer(encoded)
    if pointer == ffi.NULL:
        return None
    try:
        return SavedSession(pointer)  # which holds a reference of its own
    finally:
        lib.SSL_SESSION_free(pointer)


class Session:
    """The face of one SSL.  Made by Context.session()."""

    __slots__ = (
        "__weakref__",
        "_accepted",
        "_held",
        "_ssl",
        "_taken",
        "by_key",
        "chooser",
        "context",
        "offers",
        "question",
        "report",
        "server",
    )

    def __init__(self, context: Context, ssl: Any, server: bool, report: Report) -> None:
        self._ssl = ssl
        self._taken = False
        self.by_key = False  # a pre-shared key was used; noted for sessions that tell_keys() was called for
        self.chooser: Chooser | None = None  # asked for the service of a client's name
        self.offers = False  # a client's earlier session
        self._accepted = False
        self._held: tuple[tuple[Context, SavedSession], ...] = ()
        self.context = context
        self.server = server
        self.report = report
        self.question: Question | None = None

    def close(self) -> None:
        """Free a session that the engine has not taken over; harmless otherwise, and when called again."""
        self.report = silent  # whoever takes the lines most likely holds this session, too
        if not self._taken and self._ssl != ffi.NULL:
            lib.SSL_free(self._ssl)
            self._ssl = ffi.NULL

    async def answer(self) -> None:
        """Wait for what a callback needs before the handshake can go on (culvert.openssl.hello)."""
        if self.question is not None:
            await self.question()

    def send_name(self, name: str) -> None:
        """Send ``name`` as server_name (RFC 6066, 3).  Raises TlsError when it is longer than 255 octets."""
        begin()
        raw = name.encode("utf-8", "surrogateescape")
        check(lib.SSL_set_tlsext_host_name(self._live(), ffi.new("char[]", raw)), "set the server name")

    def resume(self, saved: SavedSession) -> None:
        """Offer ``saved`` to the server; to be called before the handshake."""
        begin()
        ssl = self._live()
        check(lib.SSL_set_session(ssl, saved._session), "resume a session")
        check(lib.age_note(ssl, saved._session), "note the age of a session")
        mark_saved(saved._session, destination_of(ssl))
        self.offers = True

    # -- where peers are judged after the handshake (Context.await_verdict) --

    def accept(self) -> None:
        """The peer is good: its sessions may be resumed."""
        self._accepted = True
        held, self._held = self._held, ()
        for context, saved in held:
            context.keep_session(self._live(), saved._session, self.context.redirects)

    def admits(self, context: Context, pointer: Any) -> bool:
        """Whether a new SSL_SESSION of ``context`` may be kept now; accept() keeps what has to wait.

        (One that renews another is as old as that, native/age.c: its peer is judged again in the end.)
        """
        if not self._accepted:
            self._held = (*self._held, (context, SavedSession(pointer)))
        return self._accepted

    # -- facts, once the handshake is done --

    @property
    def version(self) -> str:
        """``TLSv1.3``, ``TLSv1.2`` ..."""
        return str(ffi.string(lib.SSL_get_version(self._live())).decode())

    @property
    def cipher(self) -> str:
        """OpenSSL's name of the cipher suite, empty before there is one."""
        cipher = lib.SSL_get_current_cipher(self._live())
        return "" if cipher == ffi.NULL else str(ffi.string(lib.SSL_CIPHER_get_name(cipher)).decode())

    @property
    def cipher_bits(self) -> int:
        cipher = lib.SSL_get_current_cipher(self._live())
        return 0 if cipher == ffi.NULL else int(lib.SSL_CIPHER_get_bits(cipher, ffi.NULL))

    @property
    def compression(self) -> tuple[str, str]:
        """How records are compressed and expanded, in OpenSSL's words; ``null`` for not at all."""
        ssl = self._live()
        names = [lib.culvert_compression_of(ssl, expansion) for expansion in (0, 1)]
        texts = ["null" if name == ffi.NULL else str(ffi.string(name).decode()) for name in names]
        return texts[0], texts[1]

    @property
    def group(self) -> str:
        """The key exchange group as OpenSSL names it (``x25519``, ``secp256r1``), or empty."""
        ssl = self._live()
        number = lib.SSL_get_negotiated_group(ssl)
        name = lib.SSL_group_to_name(ssl, number) if number > 0 else ffi.NULL
        return "" if name == ffi.NULL else str(ffi.string(name).decode())

    @property
    def peer_key(self) -> tuple[str, int] | None:
        """The peer's temporary key: its name (``X25519``, ``ECDH, P-256``, ``DH``) and its length in bits."""
        found = ffi.new("EVP_PKEY **")
        begin()
        if not lib.SSL_get_peer_tmp_key(self._live(), found):
            begin()
            return None
        key = ffi.gc(found[0], lib.EVP_PKEY_free)
        return _key_name(key), int(lib.EVP_PKEY_get_bits(key))

    @property
    def resumed(self) -> bool:
        return bool(lib.SSL_session_reused(self._live()))

    @property
    def offered_id(self) -> bytes:
        """The id of the session that a client offers to resume, empty when it offers none."""
        return self.id

    @property
    def id(self) -> bytes:
        """The session's id, 0 to 32 octets; with a TLS 1.3 ticket it only has a meaning for the log."""
        session = lib.SSL_get_session(self._live())
        return b"" if session == ffi.NULL else session_id(session)

    @property
    def peer_certificate(self) -> Certificate | None:
        found = lib.SSL_get0_peer_certificate(self._live())
        return None if found == ffi.NULL else Certificate.borrow(found)

    @property
    def verified_chain(self) -> tuple[Certificate, ...]:
        """The peer's certificate first, the trusted end last; empty where no chain was verified, as in a
        resumed handshake.
        """
        stack = lib.SSL_get0_verified_chain(self._live())
        if stack == ffi.NULL:
            return ()
        count = lib.culvert_certificates_count(stack)
        return tuple(Certificate.borrow(lib.culvert_certificates_at(stack, at)) for at in range(count))

    @property
    def staple_asked(self) -> bool:
        """Whether the client asks for an OCSP response with the certificate."""
        return bool(lib.SSL_get_tlsext_status_type(self._live()) == lib.TLSEXT_STATUSTYPE_ocsp)

    @property
    def stapled(self) -> bytes | None:
        """The OCSP response that goes with the server's certificate, in DER; None when there is none."""
        start = ffi.new("const unsigned char **")
        size = lib.culvert_stapled_answer(self._live(), start)
        return bytes(ffi.buffer(start[0], size)) if size > 0 and start[0] != ffi.NULL else None

    @property
    def certificate_requested(self) -> bool:
        """Whether the server has asked for our certificate; a resumed handshake never does."""
        return bool(lib.culvert_certificate_requested(self._live()))

    def peer_authorities(self) -> Iterator[str]:
        """The names of the authorities whose certificates the peer says that it takes (RFC 8446, 4.2.4)."""
        ssl, position = self._live(), 0
        while (name := lib.culvert_peer_authority(ssl, position)) != ffi.NULL:
            yield name_text(name)
            position += 1

    @property
    def vouched(self) -> bool:
        """Whether the peer has passed all checks, in this handshake or in the one that it resumes.

        Known only where Context.verify() was told to redirect.
        """
        return bool(lib.culvert_is_vouched_for(lib.SSL_get_session(self._live())))

    @property
    def token(self) -> bytes:
        """By what a server remembers a session: a name that its tickets carry from one to the next, else the
        id; empty when it has neither.

        Tickets carry names where Context.name_sessions() said so.
        """
        name = ffi.new("unsigned char[16]")
        return bytes(ffi.buffer(name)) if lib.culvert_token(self._live(), name) else self.id

    @property
    def verify_result(self) -> int:
        """X509_V_OK (0), or the last error of the verification, also one that was passed over."""
        return int(lib.SSL_get_verify_result(self._live()))

    @property
    def server_name(self) -> str | None:
        """The server_name that was sent (client) or received (server)."""
        name = lib.SSL_get_servername(self._live(), 0)
        return None if name == ffi.NULL else str(ffi.string(name).decode("utf-8", "replace"))

    @property
    def server_random(self) -> bytes:
        """The 32 octets of the server's hello."""
        buffer = ffi.new("unsigned char[]", 32)
        return bytes(ffi.buffer(buffer, lib.SSL_get_server_random(self._live(), buffer, 32)))

    def _live(self) -> Any:
        if self._ssl == ffi.NULL:
            raise TlsError("look at a session that is gone")
        return self._ssl


def _key_name(key: Any) -> str:
    """As stunnel prints it: the group too for elliptic curves that have several."""
    kind = check_pointer(lib.EVP_PKEY_get0_type_name(key), "name a key")
    name = str(ffi.string(kind).decode())
    if name != "EC":
        return name
    buffer, size = ffi.new("char[]", 64), ffi.new("size_t *")
    known = lib.EVP_PKEY_get_group_name(key, buffer, len(buffer), size)
    group = ffi.string(buffer).decode() if known else "unknown"
    return f"ECDH, {_NIST.get(group, group)}"


_NIST = {"prime256v1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
