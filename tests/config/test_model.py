"""Services that a program makes behave as the same lines of a file."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from culvert.config import Address, GlobalOptions, Service, load_text
from culvert.config.checks import check_services
from culvert.errors import Where

HERE, THERE = Address.parse("127.0.0.1:443"), Address.parse("127.0.0.1:80")


def _service(**values: object) -> Service:
    given = {"accept": (HERE,), "connect": (THERE,), "cert": ("web.pem",)} | values
    return Service(name="web", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        ("", {}),
        ("verify = 2\nCAfile = a", {"verify": 2, "ca_file": "a"}),
        ("verifyChain = yes\nCAfile = a", {"verify_chain": True, "ca_file": "a"}),
        ("requireCert = yes", {"require_cert": True}),
        ("sslVersion = TLSv1.3", {"ssl_version": "TLSv1.3"}),
        ("sslVersionMax = TLSv1.1", {"ssl_version_max": "TLSv1.1"}),
        ("delay = yes\nfailover = rr", {"delay": True, "failover": "rr"}),
        ("TIMEOUTidle = -1", {"timeout_idle": None}),
        ("options = NO_TICKET", {"options": ("NO_TICKET",)}),
    ],
)
def test_a_service_of_a_program_equals_the_service_of_a_file(lines: str, values: dict[str, object]) -> None:
    text = f"[web]\naccept = 127.0.0.1:443\nconnect = 127.0.0.1:80\ncert = web.pem\n{lines}\n"
    assert load_text(text).services == (_service(**values),)


def test_the_options_of_a_program_equal_those_of_an_empty_global_part() -> None:
    text = "[web]\naccept = 443\nconnect = 80\ncert = web.pem\n"
    assert load_text(text).options == GlobalOptions()


def test_a_program_can_ask_for_a_certificate_without_demanding_it() -> None:
    service = _service(verify_chain=True, request_cert=True, require_cert=False)
    assert (service.request_cert, service.require_cert, service.verify_chain) == (True, False, True)


def test_options_of_openssl_are_presets_and_what_is_set_less_what_is_cleared() -> None:
    service = _service(options=("NO_TICKET", "-NO_SSLv3"))
    assert service.options_set == {"NO_SSLv2", "NO_SSLv3", "NO_TICKET"}
    assert service.options_cleared == {"NO_SSLv3"}


def test_values_cannot_be_changed_but_replaced() -> None:
    service = _service()
    with pytest.raises(dataclasses.FrozenInstanceError):
        service.delay = True  # type: ignore[misc]
    assert dataclasses.replace(service, delay=True).failover == "prio"


def test_a_service_can_be_compared_hashed_and_sent_to_another_process() -> None:
    service = dataclasses.replace(_service(), at=Where("conf", 1), positions={"cert": Where("conf", 2)})
    assert service == _service()
    assert hash(service) == hash(_service())
    again = pickle.loads(pickle.dumps(service))
    assert (again, again.where("cert")) == (service, Where("conf", 2))


def test_a_line_is_the_one_of_the_option_else_of_the_section() -> None:
    service = dataclasses.replace(_service(), at=Where("conf", 1), positions={"cert": Where("conf", 2)})
    assert (service.where("cert"), service.where("key")) == (Where("conf", 2), Where("conf", 1))
    assert _service().where("cert") is None


def test_a_program_can_have_its_services_checked() -> None:
    assert check_services([_service()]) == ()
    told = check_services([_service(cert=()), _service(ocsp_aia=True), _service(verify_peer=True)])
    assert [str(error) for error in told] == [
        "[web]: TLS server needs a certificate",
        'OCSPaia: "verifyChain" has to be enabled for OCSP support',
        '[web]: Either "CAengine", "CAfile", "CApath" or "CAstore" has to be configured',
    ]
