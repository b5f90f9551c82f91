"""The one door to OpenSSL's error queue."""

from __future__ import annotations

import pickle

import pytest

from culvert.errors import TlsError
from culvert.openssl import Certificate, Context
from culvert.openssl._errors import begin, describe, reason, take_reasons
from culvert.openssl._lib import lib

HTTP_REQUEST = 0x0A00009C
UNKNOWN_CA = 0x0A000418


def test_a_failure_carries_openssls_reason_and_empties_the_queue() -> None:
    with pytest.raises(TlsError) as caught:
        Context(server=True).set_ciphers("NO-SUCH-CIPHER")
    assert caught.value.reasons == ("no cipher match",)
    assert str(caught.value) == "set the ciphers: no cipher match"
    assert lib.ERR_peek_error() == 0


def test_a_failure_is_not_blamed_for_what_was_queued_before() -> None:
    lib.BIO_new_mem_buf(b"", -2)  # a failure that nobody has read
    with pytest.raises(TlsError) as caught:
        Context(server=True).set_ciphers("NO-SUCH-CIPHER")
    assert caught.value.reasons == ("no cipher match",)


def test_a_failure_survives_pickling() -> None:
    with pytest.raises(TlsError) as caught:
        Certificate.from_pem(b"nothing")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.reasons) == (str(caught.value), caught.value.reasons)


def test_taking_reasons_gives_all_of_them_once() -> None:
    begin()
    assert take_reasons() == ()


def test_a_code_reads_as_openssl_prints_it() -> None:
    Context(server=True)  # the first one loads the texts
    assert describe(HTTP_REQUEST) == "error:0A00009C:SSL routines::http request"


def test_the_peers_alert_is_named_by_its_number() -> None:
    assert describe(UNKNOWN_CA) == "error:0A000418:SSL routines::tlsv1 alert unknown ca: SSL alert number 48"


def test_a_code_without_a_text_is_told_by_its_number() -> None:
    assert reason(0x0A000000 | 0x3FF) == "reason(1023)"
