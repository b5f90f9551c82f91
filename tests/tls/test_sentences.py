"""The plain words for a refusal; what they say of each kind is pinned beside the lists and chains."""

from __future__ import annotations

from culvert.config.model import Service
from culvert.openssl import Certificate
from culvert.openssl._callbacks import Finding
from culvert.tls.sentences import Places, sentence
from tests.pki import Pki


def test_every_place_is_named_as_the_file_names_it() -> None:
    service = Service(name="s", ca_file="a.pem", ca_path="certs", crl_file="l.pem", ca_store="file:x")
    places = Places.of(service)
    assert places.trusted == "CAfile a.pem or CApath certs or CAstore file:x"
    assert places.lists == "CRLfile l.pem"
    with_pin = Places.of(Service(name="s", ca_store="pkcs11:token=t?pin-value=4711"))
    assert with_pin.trusted == "CAstore pkcs11:token=t?pin-value=***"
    assert Places.of(Service(name="s")).trusted == "what is trusted, for there is no CAfile"


def test_where_openssls_words_are_all_there_is_nothing_is_added(pki: Pki) -> None:
    finding = Finding(False, 1, 0, Certificate.from_pem(pki.server.pem), None)
    assert sentence(finding, Places()) == ""
