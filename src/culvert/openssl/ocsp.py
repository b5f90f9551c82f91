"""Questions to the issuers of certificates, and what their answers say (OCSP, RFC 6960).

What a stranger wrote is parsed by OpenSSL alone, and judged by its OCSP_basic_verify(3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from culvert.errors import PeerError, TlsError
from culvert.openssl._errors import begin, check, check_pointer, take_reasons
from culvert.openssl._lib import ffi, lib
from culvert.openssl.certificates import Certificate, stack_of

ANSWER_MAX: Final = 64 * 1024
"""Octets of an answer; a usual one has 300 to 3000."""

ENDLESS_MAX: Final = 24 * 3600
"""Seconds after thisUpdate for which an answer without nextUpdate is believed: whoever hands it out could
keep it for ever.  (RFC 5019, 4, would have it refused at once.)"""

FLAGS: Final[dict[str, int]] = {
    "NOINTERN": lib.OCSP_NOINTERN,
    "NOSIGS": lib.OCSP_NOSIGS,
    "NOCHAIN": lib.OCSP_NOCHAIN,
    "NOVERIFY": lib.OCSP_NOVERIFY,
    "NOEXPLICIT": lib.OCSP_NOEXPLICIT,
    "NOCASIGN": lib.OCSP_NOCASIGN,
    "NODELEGATED": lib.OCSP_NODELEGATED,
    "NOCHECKS": lib.OCSP_NOCHECKS,
    "TRUSTOTHER": lib.OCSP_TRUSTOTHER,
}
"""How answers are verified.  OpenSSL knows NOCASIGN and NODELEGATED by name only: they are ours to do."""


class Status(Enum):
    """What an issuer says of a certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """A verified answer about one certificate.  Moments are seconds since 1970, 0 where there is none."""

    status: Status
    this_update: int
    next_update: int
    revoked_at: int
    reason: int
    """CRL_REASON_..., -1 for none."""

    @property
    def reason_text(self) -> str:
        """Why the certificate was revoked, in OpenSSL's words: ``keyCompromise``."""
        return str(ffi.string(lib.OCSP_crl_reason_str(self.reason)).decode())


class BadAnswer(PeerError):
    """An answer that says nothing: what was looked at, and what was wrong with it."""


class Signers:
    """Whose signatures count: a store of trusted certificates; owned by whoever made it."""

    __slots__ = ("_owner", "_store")

    def __init__(self, store: Any, owner: object) -> None:
        self._store, self._owner = store, owner

    @classmethod
    def only(cls, issuer: Certificate) -> Signers:
        """This issuer, whoever stands above it, and those to whom it has given the right."""
        begin()
        store = ffi.gc(check_pointer(lib.X509_STORE_new(), "make a store"), lib.X509_STORE_free)
        check(lib.X509_STORE_add_cert(store, issuer._x509), "trust a certificate")
        check(lib.X509_STORE_set_flags(store, lib.X509_V_FLAG_PARTIAL_CHAIN), "trust an issuer")
        return cls(store, None)


class Question:
    """Is ``certificate``, which ``issuer`` has signed, still good?

    nonce: demand an answer that was made for this question.  Raises TlsError.
    """

    def __init__(self, certificate: Certificate, issuer: Certificate, *, nonce: bool = False) -> None:
        begin()
        made = lib.culvert_ocsp_question(certificate._x509, issuer._x509, nonce)
        self._request = ffi.gc(check_pointer(made, "make an OCSP request"), lib.OCSP_REQUEST_free)
        self.certificate, self.issuer, self.nonce = certificate, issuer, nonce

    @property
    def der(self) -> bytes:
        """What a responder is sent."""
        out = ffi.new("unsigned char **")
        size = check(lib.i2d_OCSP_REQUEST(self._request, out), "encode an OCSP request")
        try:
            return bytes(ffi.buffer(out[0], size))
        finally:
            lib.culvert_free(out[0])

    def read(
        self, der: bytes, signers: Signers, above: Sequence[Certificate], flags: int, leeway: int
    ) -> Answer:
        """Verify an answer and take what it says of the certificate.

        above: certificates of the verified chain from the issuer upwards; any of them may have signed.
        flags: of FLAGS.  leeway: seconds by which clocks may differ.
        Raises BadAnswer when it says nothing that could be believed; `unknown` is not such a case.
        """
        begin()
        basic = self._opened(der)
        if self.nonce and lib.OCSP_check_nonce(self._request, basic) <= 0:
            raise BadAnswer("Invalid or unsupported nonce", "")
        stack = stack_of(above)
        if lib.OCSP_basic_verify(basic, stack, signers._store, flags) <= 0:
            raise BadAnswer("OCSP_basic_verify", "; ".join(take_reasons()))
        self._check_signer(basic, stack, flags)
        return self._said(basic, leeway)

    def _opened(self, der: bytes) -> Any:
        """The basic answer in a response."""
        if len(der) > ANSWER_MAX:
            raise BadAnswer(f"The OCSP response has more than {ANSWER_MAX} bytes", "")
        octets = ffi.from_buffer("unsigned char[]", der)
        start = ffi.new("const unsigned char **", octets)
        response = lib.d2i_OCSP_RESPONSE(ffi.NULL, start, len(der))
        if response == ffi.NULL:
            begin()
            raise BadAnswer("The OCSP response cannot be parsed" if der else "No OCSP response", "")
        try:
            status = lib.OCSP_response_status(response)
            if status != lib.OCSP_RESPONSE_STATUS_SUCCESSFUL:
                text = ffi.string(lib.OCSP_response_status_str(status)).decode()
                raise BadAnswer("OCSP responder error", f"{status}: {text}")
            basic = lib.OCSP_response_get1_basic(response)
        finally:
            lib.OCSP_RESPONSE_free(response)
        if basic == ffi.NULL:
            raise BadAnswer("OCSP_response_get1_basic", "; ".join(take_reasons()))
        return ffi.gc(basic, lib.OCSP_BASICRESP_free)

    def _check_signer(self, basic: Any, stack: Any, flags: int) -> None:
        if not flags & (lib.OCSP_NOCASIGN | lib.OCSP_NODELEGATED):
            return
        found = ffi.new("X509 **")
        if not lib.OCSP_resp_get0_signer(basic, found, stack):
            raise BadAnswer("OCSP_resp_get0_signer", "; ".join(take_reasons()))
        signer = Certificate.borrow(found[0])
        if signer.same_key(self.issuer):
            if flags & lib.OCSP_NOCASIGN:
                raise BadAnswer("OCSPflag = NOCASIGN", "the authority itself has signed")
        elif flags & lib.OCSP_NODELEGATED:
            raise BadAnswer("OCSPflag = NODELEGATED", f"{signer.subject} has signed for the authority")

    def _said(self, basic: Any, leeway: int) -> Answer:
        single = lib.culvert_ocsp_about(basic, self.certificate._x509, self.issuer._x509)
        if single == ffi.NULL:
            begin()
            raise BadAnswer("OCSP_resp_find_status", "the response is about other certificates")
        reason = ffi.new("int *", -1)
        moments = [ffi.new("ASN1_GENERALIZEDTIME **") for _ in range(3)]
        status = lib.OCSP_single_get0_status(single, reason, *moments)
        revoked, this_update, next_update = (moment[0] for moment in moments)
        oldest = -1 if next_update != ffi.NULL else ENDLESS_MAX
        if not lib.OCSP_check_validity(this_update, next_update, leeway, oldest):
            raise BadAnswer("OCSP_check_validity", "; ".join(take_reasons()))
        return Answer(
            _STATUS.get(status, Status.UNKNOWN),
            lib.culvert_epoch(this_update),
            lib.culvert_epoch(next_update),
            lib.culvert_epoch(revoked),
            reason[0],
        )


_STATUS = {
    lib.V_OCSP_CERTSTATUS_GOOD: Status.GOOD,
    lib.V_OCSP_CERTSTATUS_REVOKED: Status.REVOKED,
}


def responders(certificate: Certificate) -> Iterator[str]:
    """The URLs of the responders that a certificate names (RFC 5280, 4.2.2.1), as they stand there."""
    position = 0
    while (found := lib.culvert_ocsp_responder(certificate._x509, position)) != ffi.NULL:
        try:
            yield ffi.string(found).decode("utf-8", "replace")
        finally:
            lib.culvert_free(found)
        position += 1


class Staple:
    """A place for the current answer about one certificate of ours, in memory that forked processes share.

    One process puts answers there; any reads them, OpenSSL's callback above all.  Raises TlsError when memory
    is out.
    """

    __slots__ = ("__weakref__", "_staple")

    def __init__(self) -> None:
        staple = lib.culvert_staple_new()
        if staple == ffi.NULL:
            raise TlsError("map memory for OCSP responses")
        self._staple = ffi.gc(staple, lib.culvert_staple_free)

    def put(self, der: bytes, ends: int) -> None:
        """Hand this answer out until ``ends`` (seconds since 1970)."""
        if not lib.culvert_staple_put(self._staple, der, len(der), ends):
            raise ValueError(f"an answer of {len(der)} octets does not fit")

    def take_away(self) -> None:
        """Hand nothing out any more."""
        lib.culvert_staple_put(self._staple, b"", 0, 0)

    @property
    def current(self) -> tuple[bytes, int] | None:
        """The answer that is handed out, and when it ends."""
        size, ends = ffi.new("uint32_t *"), ffi.new("int64_t *")
        copy = lib.culvert_staple_get(self._staple, size, ends)
        if copy == ffi.NULL:
            return None
        try:
            return bytes(ffi.buffer(copy, size[0])), ends[0]
        finally:
            lib.culvert_free(copy)
