"""Chains of every length against lists of every kind, in both modes: what is doubtful is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from culvert import tls
from culvert.errors import ConfigErrors
from tests.pki import Pki
from tests.tls.chains import Chains
from tests.tls.judging import BOTH, judged
from tests.tls.pairs import server

ORG = "C=PL, O=Culvert Tests, "


@pytest.fixture(scope="module")
def chains(pki: Pki) -> Chains:
    return Chains(pki)


def rules(chains: Chains, lists: str | None = None, *, whole: bool = False, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"verify_chain": True, "ca_file": str(chains.trusted), **more}
    if lists:
        found |= {"crl_file": str(getattr(chains.lists, lists)), "crl_check_chain": whole}
    return found


# Without lists: the chain, and what is wrong with it ("" for nothing).
CHAINS = {
    "one": "",
    "two": "",
    "three": "",
    "four": "",
    "with_a_hole": f"the certificate of {ORG}CN=lower was issued by {ORG}CN=upper, which is not in CAfile",
    "cross_signed": "",
    "under_an_expired_authority": f"the certificate of {ORG}CN=old has expired",
}


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize("peer", CHAINS)
def test_chains_of_one_to_four_are_followed(pki: Pki, chains: Chains, peer: str, mode: str) -> None:
    reason, log = judged(pki, mode, getattr(chains, peer), **rules(chains))
    told = [text for level, text in log.lines if level <= 4]
    assert (reason is None) == (not CHAINS[peer]), told
    assert any(text.startswith(f"CERT: {CHAINS[peer]}") for text in told) == bool(CHAINS[peer]), told


@pytest.mark.parametrize("mode", BOTH)
def test_a_trusted_authority_comes_before_the_one_that_is_shown(pki: Pki, chains: Chains, mode: str) -> None:
    """A peer may show the certificate that another root gave to an authority which is trusted here, too."""
    trusted = pki.write("bridged.ca.pem", pki.root.pem + chains.bridge.pem)
    options = rules(chains, ca_file=str(trusted))
    assert judged(pki, mode, chains.cross_signed_elsewhere, **options)[0] is None


@pytest.mark.parametrize(("mode", "peer"), [("server", "only_for_servers"), ("client", "only_for_clients")])
def test_a_certificate_for_the_other_side_is_refused(pki: Pki, chains: Chains, mode: str, peer: str) -> None:
    reason, log = judged(pki, mode, getattr(chains, peer), **rules(chains))
    assert reason == "certificate verify failed"
    name = peer.removesuffix("s").replace("_for_", "-")
    role = "client" if mode == "server" else "server"
    assert (4, f"CERT: the certificate of {ORG}CN={name} is not made for a TLS {role}") in log.lines


# Lists, whether the whole chain is checked, and what is told of a chain of four ("" when it passes).
LISTS = [
    ("good", False, ""),
    ("good", True, ""),
    ("leaf_revoked", False, f"the certificate of {ORG}CN=four was revoked by {ORG}CN=lower"),
    ("leaf_revoked", True, f"the certificate of {ORG}CN=four was revoked by {ORG}CN=lower"),
    ("middle_revoked", False, ""),
    ("middle_revoked", True, f"the certificate of {ORG}CN=lower was revoked by {ORG}CN=upper"),
    ("expired", False, f"the revocation list of {ORG}CN=lower has expired"),
    ("expired", True, "the revocation list of "),
    ("early", False, f"the revocation list of {ORG}CN=lower is not valid yet"),
    ("forged", False, f"the revocation list of {ORG}CN=lower has a bad signature"),
    ("root_only", False, f"no revocation list of {ORG}CN=lower is in CRLfile "),
    ("root_only", True, "no revocation list of "),
]


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize(("lists", "whole", "sentence"), LISTS)
def test_a_list_that_is_not_good_refuses(
    pki: Pki, chains: Chains, lists: str, whole: bool, sentence: str, mode: str
) -> None:
    reason, log = judged(pki, mode, chains.four, **rules(chains, lists, whole=whole))
    told = [text for level, text in log.lines if level <= 4]
    assert (reason is None) == (not sentence), told
    assert any(text.startswith(f"CERT: {sentence}") for text in told) == bool(sentence), told


@pytest.mark.parametrize(("lists", "whole", "sentence"), LISTS)
def test_a_list_counts_where_python_is_not_asked(
    pki: Pki, chains: Chains, lists: str, whole: bool, sentence: str
) -> None:
    options = rules(chains, lists, whole=whole, debug=3)
    assert tls.build(server(pki, **options)).silent_context is not None
    reason, log = judged(pki, "server", chains.four, **options)
    assert (reason is None) == (not sentence)
    assert not log.lines


@pytest.mark.parametrize("mode", BOTH)
def test_a_list_counts_for_a_certificate_that_is_installed_here(pki: Pki, chains: Chains, mode: str) -> None:
    pinned = pki.write("two-installed.pem", pki.root.pem + chains.two.pem)
    for lists, good in (("good", True), ("leaf_revoked", False), ("expired", False)):
        options = rules(chains, lists, ca_file=str(pinned), verify_chain=False, verify_peer=True)
        reason, _ = judged(pki, mode, chains.two, **options)
        assert (reason is None) == good, lists


def test_a_good_list_beside_an_expired_one_is_enough(pki: Pki, chains: Chains) -> None:
    both = chains.lists.expired.read_bytes() + chains.lists.good.read_bytes()
    path = pki.write("two-ages.crl.pem", both)
    assert judged(pki, "server", chains.four, **rules(chains), crl_file=str(path))[0] is None


def hashed(folder: Path, *files: Path) -> Path:
    """A folder as `openssl rehash` would make it, of files with one list or certificate each."""
    for number, file in enumerate(files):
        (folder / f"{number}.pem").write_bytes(file.read_bytes())
    subprocess.run(["openssl", "rehash", str(folder)], check=True)
    return folder


def test_lists_in_a_folder_are_found_also_those_that_come_later(
    pki: Pki, chains: Chains, tmp_path: Path
) -> None:
    folder = hashed(tmp_path, pki.revocation_list("folder-good", chains.lower))
    policy = server(pki, **rules(chains), crl_path=str(folder))
    assert judged(pki, "server", chains.four, **rules(chains), crl_path=str(folder))[0] is None
    assert not tls.build(policy).warnings
    hashed(tmp_path, pki.revocation_list("folder-good", chains.lower), _newer(pki, chains))
    reason, log = judged(pki, "server", chains.four, **rules(chains), crl_path=str(folder))
    assert reason == "certificate verify failed"
    assert any("CN=four was revoked by" in text for text in log.texts)


def _newer(pki: Pki, chains: Chains) -> Path:
    return pki.revocation_list("folder-newer", chains.lower, (chains.four,), days=(-0.5, 30))


def test_a_certificate_in_a_folder_of_lists_is_not_trusted(pki: Pki, chains: Chains, tmp_path: Path) -> None:
    lists = pki.revocation_list("stranger", pki.other_root)
    folder = hashed(tmp_path, lists, pki.other_root.ca)
    options = rules(chains, crl_path=str(folder))
    reason, log = judged(pki, "server", pki.other_client, **options)
    assert reason == "certificate verify failed"
    assert any("unable to get local issuer certificate" in text for text in log.texts)


def test_an_empty_folder_refuses_everybody_and_is_warned_of(pki: Pki, chains: Chains, tmp_path: Path) -> None:
    options = rules(chains, crl_path=str(tmp_path))
    assert judged(pki, "server", chains.two, **options)[0] == "certificate verify failed"
    (warning,) = tls.build(server(pki, **options)).warnings
    assert "no revocation list yet" in warning.reason


def test_a_list_out_of_date_is_warned_of_at_the_start(pki: Pki, chains: Chains) -> None:
    for lists, word in (("expired", "has expired"), ("early", "is not valid yet")):
        warnings = tls.build(server(pki, **rules(chains, lists))).warnings
        assert len(warnings) == 3
        assert all(word in each.reason and each.option == "CRLfile" for each in warnings)


BROKEN = [
    ("crl_file", b"", "it has no BEGIN X509 CRL line"),
    ("crl_file", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "line 1 is not a usable list"),
    ("crl_file", None, "No such file or directory"),
    ("crl_path", None, "No such file or directory"),
]


@pytest.mark.parametrize(("option", "content", "reason"), BROKEN)
def test_lists_that_cannot_be_read_stop_the_start(
    pki: Pki, chains: Chains, tmp_path: Path, option: str, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "lists.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigErrors, match=reason):
        tls.build(server(pki, **rules(chains), **{option: str(path)}))
