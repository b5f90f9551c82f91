"""Which peers are believed: every mode against every kind of certificate, in both versions, both ways."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from culvert import tls
from culvert.openssl import Certificate
from culvert.openssl._callbacks import Finding
from culvert.tls.verification import PeerRules
from tests.openssl.memory import Ours, Theirs, failing
from tests.pki import Identity, Pki
from tests.tls.pairs import Log, client, connect, part, python_client, server

MODES: dict[str, dict[str, Any]] = {
    "request": {"verify": 0},
    "optional": {"verify": 1},
    "chain": {"verify_chain": True},
    "peer": {"verify_peer": True},
    "both": {"verify": 3},
    "require": {"require_cert": True},
}

# Who comes with what, and which modes let it in.  `installed` is the leaf that CAfile holds beside the root.
EVERYBODY = set(MODES)
PEERS: dict[str, set[str]] = {
    "none": {"request", "optional"},
    "client": {"request", "optional", "chain", "require"},
    "installed": EVERYBODY,
    "other_client": {"request", "require"},
    "pinned_stranger": {"request", "require", "peer"},
    "self_signed": {"request", "require"},
    "pinned_self_signed": EVERYBODY,
    "expired": {"request", "require"},
    "pinned_expired": {"request", "require"},
    "not_yet_valid": {"request", "require"},
    "impostor": {"request", "require"},
}


class Cast:
    """The peers of the matrix and the CAfile that goes with them."""

    def __init__(self, pki: Pki) -> None:
        self.installed = pki.issue("installed")
        self.pinned_stranger = pki.issue("pinned-stranger", issuer=pki.other_root)
        self.pinned_self_signed = pki.issue("pinned-self-signed", self_signed=True)
        self.pinned_expired = pki.issue("pinned-expired", days=(-10, -1))
        self.impostor = pki.issue("impostor", issuer=pki.other_root, common_name="installed")
        self.client, self.other_client = pki.client, pki.other_client
        self.self_signed, self.expired = pki.self_signed, pki.expired
        self.not_yet_valid = pki.not_yet_valid
        pinned = (self.installed, self.pinned_stranger, self.pinned_self_signed, self.pinned_expired)
        self.ca_file = pki.write("cast.ca.pem", pki.root.pem + b"".join(each.pem for each in pinned))

    def identity(self, peer: str) -> Identity | None:
        found: Identity | None = getattr(self, peer, None)
        return found


@pytest.fixture(scope="module")
def cast(pki: Pki) -> Cast:
    return Cast(pki)


def outcome(near: tls.TlsPolicy, far: tls.TlsPolicy, log: Log, reporter: str) -> str | None:
    """None when the handshake of two policies went through, else the reason."""
    ends = (
        Ours(near.session("there", log if reporter == "near" else None)),
        Ours(far.session(None, log if reporter == "far" else None)),
    )
    try:
        return failing(*ends)
    except AssertionError:
        return None
    finally:
        for end in ends:
            end.close()


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("peer", PEERS)
def test_a_server_lets_in_whom_its_mode_allows(
    pki: Pki, cast: Cast, peer: str, mode: str, version: str
) -> None:
    identity = cast.identity(peer)
    service = server(pki, ca_file=str(cast.ca_file), ssl_version_max=version, **MODES[mode])
    near = tls.build(client(cert=(str(identity.both),) if identity else ()))
    log = Log()
    reason = outcome(near, tls.build(service), log, "far")
    assert (reason is None) == (mode in PEERS[peer]), (reason, log.texts)


@pytest.mark.parametrize("mode", ["chain", "optional"])
@pytest.mark.parametrize("debug", [3, 4])
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("peer", PEERS)
def test_what_is_decided_without_python_is_decided_alike(
    pki: Pki, cast: Cast, peer: str, version: str, debug: int, mode: str
) -> None:
    identity = cast.identity(peer)
    near = tls.build(client(cert=(str(identity.both),) if identity else ()))
    found = []
    for level in (debug, 5):
        rules = {"ca_file": str(cast.ca_file), "debug": level, **MODES[mode]}
        log = Log()
        far = tls.build(server(pki, ssl_version_max=version, **rules))
        assert (far.silent_context is not None) == (level == 3)
        reason = outcome(near, far, log, "far")
        found.append((reason, [line for line in log.lines if line[0] <= debug]))
    assert found[0] == found[1]
    assert (found[0][0] is None) == (mode in PEERS[peer])


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer != "none"])
def test_a_client_believes_whom_its_mode_allows(
    pki: Pki, cast: Cast, peer: str, mode: str, version: str
) -> None:
    identity = cast.identity(peer)
    assert identity is not None
    far = tls.build(server(pki, cert=(str(identity.both),), ssl_version_max=version))
    near = tls.build(client(ca_file=str(cast.ca_file), **MODES[mode]))
    log = Log()
    reason = outcome(near, far, log, "near")
    assert (reason is None) == (mode in PEERS[peer]), (reason, log.texts)


def test_a_missing_client_certificate_is_told_in_openssls_words(pki: Pki) -> None:
    far = Ours(tls.build(server(pki, verify_chain=True, ca_file=str(pki.ca))).session())
    near = Theirs(python_client(pki), name="localhost")
    assert failing(near, far) == "peer did not return a certificate"
    far.close()


ORG, ABSENT = "C=PL, O=Culvert Tests, ", "which is not in CAfile CA"
ROOT = f"{ORG}CN=other-root"
NOT_HERE = "certificate not found in local repository"

NAMES: list[tuple[dict[str, Any], bool]] = [
    ({"check_host": ("localhost",)}, True),
    ({"check_host": ("LOCALHOST",)}, True),
    ({"check_host": ("elsewhere",)}, False),
    ({"check_host": ("elsewhere", "localhost")}, True),
    ({"check_ip": ("127.0.0.1",)}, True),
    ({"check_ip": ("::1",)}, True),
    ({"check_ip": ("127.0.0.2",)}, False),
    ({"check_email": ("client@example.com",)}, False),
    ({"check_host": ("elsewhere",), "check_ip": ("127.0.0.1",)}, True),
    ({"check_host": ("elsewhere",), "check_ip": ("10.0.0.1",), "check_email": ("a@b",)}, False),
    ({"check_host": ("127.0.0.1",)}, False),
]


@pytest.mark.parametrize(("checks", "good"), NAMES)
def test_a_client_must_have_one_of_the_names_too(pki: Pki, checks: dict[str, Any], good: bool) -> None:
    near = tls.build(client(cert=(str(pki.server.both),)))
    far = tls.build(server(pki, ca_file=str(pki.ca), verify_chain=True, **checks))
    assert (outcome(near, far, Log(), "far") is None) == good


@pytest.mark.parametrize("mode", ["chain", "peer", "both"])
@pytest.mark.parametrize(("checks", "good"), NAMES)
def test_one_of_the_names_that_are_asked_for_is_enough(
    pki: Pki, cast: Cast, checks: dict[str, Any], good: bool, mode: str
) -> None:
    far = tls.build(server(pki, cert=(str(cast.installed.both),)))
    near = tls.build(client(ca_file=str(cast.ca_file), **MODES[mode], **checks))
    log = Log()
    assert (outcome(near, far, log, "near") is None) == good
    assert ("CERT: Subject checks failed" in log.texts) != good


def test_a_mail_address_lets_a_client_in(pki: Pki) -> None:
    near = tls.build(client(cert=(str(pki.client.both),)))
    for address, good in (("client@example.com", True), ("root@example.com", False)):
        checks = {"check_email": (address,), "verify_chain": True, "ca_file": str(pki.ca)}
        log = Log()
        assert (outcome(near, tls.build(server(pki, **checks)), log, "far") is None) == good
        assert (f'CERT: Email address "{address}" matched' in log.texts) == good


def test_a_good_peer_is_logged_as_stunnel_does(pki: Pki) -> None:
    log = Log()
    near = tls.build(client(verify_chain=True, ca_file=str(pki.ca), check_host=("localhost",)))
    part(*connect(near, tls.build(server(pki)), log=log))
    root, leaf = "C=PL, O=Culvert Tests, CN=root", "C=PL, O=Culvert Tests, CN=server"
    assert log.lines == [
        (7, f"Verification started at depth=1: {root}"),
        (7, "CERT: Pre-verification succeeded"),
        (6, f"Certificate accepted at depth=1: {root}"),
        (7, f"Verification started at depth=0: {leaf}"),
        (7, "CERT: Pre-verification succeeded"),
        (6, 'CERT: Host name "localhost" matched with "localhost"'),
        (5, f"Certificate accepted at depth=0: {leaf}"),
    ]


@pytest.mark.parametrize(
    ("peer", "mode", "lines"),
    [
        (
            "other_server",
            {"verify_chain": True},
            [
                (4, "CERT: Pre-verification error: unable to get local issuer certificate"),
                (
                    4,
                    f"CERT: the certificate of {ORG}CN=other-server was issued by {ROOT}, {ABSENT}",
                ),
                (4, "Rejected by CERT at depth=0: C=PL, O=Culvert Tests, CN=other-server"),
            ],
        ),
        (
            "self_signed",
            {"verify_chain": True},
            [
                (
                    4,
                    f"CERT: Pre-verification error: {NOT_HERE}: self-signed certificate",
                ),
                (
                    4,
                    f"CERT: the certificate of {ORG}CN=self-signed signed itself and is not in CAfile CA",
                ),
                (4, "Rejected by CERT at depth=0: C=PL, O=Culvert Tests, CN=self-signed"),
            ],
        ),
        (
            "server",
            {"verify_peer": True},
            [
                (4, "CERT: Certificate not found in local repository"),
                (4, "Rejected by CERT at depth=0: C=PL, O=Culvert Tests, CN=server"),
            ],
        ),
    ],
)
def test_a_refused_peer_is_logged_as_stunnel_does(
    pki: Pki, peer: str, mode: dict[str, Any], lines: list[tuple[int, str]]
) -> None:
    far = tls.build(server(pki, cert=(str(getattr(pki, peer).both),)))
    log = Log()
    near = tls.build(client(ca_file=str(pki.ca), **mode))
    assert outcome(near, far, log, "near") == "certificate verify failed"
    told = [(level, text.replace(str(pki.ca), "CA")) for level, text in log.lines if level <= 4]
    assert told == lines


def test_an_unknown_issuer_is_passed_over_for_a_pinned_leaf(pki: Pki, cast: Cast) -> None:
    far = tls.build(server(pki, cert=(str(cast.pinned_stranger.both),)))
    log = Log()
    near = tls.build(client(ca_file=str(cast.ca_file), verify_peer=True))
    assert outcome(near, far, log, "near") is None
    assert (6, "CERT: Pre-verification error ignored: unable to get local issuer certificate") in log.lines
    assert (6, "CERT: Locally installed certificate matched") in log.lines


def test_a_folder_of_hashed_names_is_trusted(pki: Pki, tmp_path: Path) -> None:
    folder = hashed_folder(pki, tmp_path)
    near = tls.build(client(verify_chain=True, ca_path=str(folder)))
    assert outcome(near, tls.build(server(pki)), Log(), "near") is None
    far = tls.build(server(pki, cert=(str(pki.other_server.both),)))
    assert outcome(near, far, Log(), "near") == "certificate verify failed"


def test_a_leaf_in_a_folder_is_pinned(pki: Pki, tmp_path: Path) -> None:
    folder = hashed_folder(pki, tmp_path, pki.server)
    near = tls.build(client(verify_peer=True, ca_path=str(folder)))
    assert outcome(near, tls.build(server(pki)), Log(), "near") is None
    impostor = pki.issue("false-server", issuer=pki.other_root, common_name="server")
    far = tls.build(server(pki, cert=(str(impostor.both),)))
    assert outcome(near, far, Log(), "near") == "certificate verify failed"


def hashed_folder(pki: Pki, folder: Path, *leaves: Identity) -> Path:
    """A CApath as `openssl rehash` would make it."""
    (folder / "root.pem").write_bytes(pki.root.pem)
    for leaf in leaves:
        (folder / f"{leaf.name}.pem").write_bytes(leaf.pem)
    subprocess.run(["openssl", "rehash", str(folder)], check=True)
    return folder


def test_authorities_are_named_to_clients(pki: Pki, tmp_path: Path) -> None:
    folder = hashed_folder(pki, tmp_path, pki.other_server)
    for options in ({"ca_file": str(pki.ca)}, {"ca_path": str(folder)}):
        policy = tls.build(server(pki, verify_chain=True, ssl_version_max="TLSv1.2", **options))
        far, near = Ours(policy.session()), Theirs(python_client(pki), name="localhost")
        near.handshake()
        far.receive(near.to_send())
        far.handshake()
        assert Certificate.from_pem(pki.root.pem).subject_key in far.to_send()  # in clear, before TLS 1.3
        far.close()


def test_a_rule_that_asks_for_nothing_accepts_every_finding(pki: Pki) -> None:
    finding = Finding(False, 20, 0, Certificate.from_pem(pki.server.pem), None)
    assert PeerRules(chain=False, installed=False).judge(finding, Log())
