"""FIPS and compression, with what `make fips` has built from Debian's source of OpenSSL.

`make test` does not build it, so these tests are skipped where it is not there, with CI=true, too.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.scene import ask_once, configuration, culvert, echoing, reload, rewrite
from tests.pki import Pki
from tests.proxies import Proxy, need_program

BUILT = Path(__file__).resolve().parents[2] / "build" / "fips"

pytestmark = pytest.mark.interop
with_fips = pytest.mark.skipif(not (BUILT / "fips.so").exists(), reason="`make fips` has not been run")
with_zlib = pytest.mark.skipif(
    not (BUILT / "lib/libssl.so.3").exists(), reason="`make fips` has not been run"
)

OPENSSL_CNF = f"""\
openssl_conf = init
.include {BUILT}/fipsmodule.cnf
[init]
providers = providers
[providers]
default = default_sect
fips = fips_sect
[default_sect]
activate = 1
"""


@pytest.fixture
def fips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon's OpenSSL finds the FIPS provider and its integrity record."""
    file = tmp_path / "openssl.cnf"
    # Loaded when somebody asks for it, not by the configuration itself.
    record = (BUILT / "fipsmodule.cnf").read_text().replace("activate = 1\n", "")
    (tmp_path / "fipsmodule.cnf").write_text(record)
    file.write_text(OPENSSL_CNF.replace(str(BUILT), str(tmp_path)))
    monkeypatch.setenv("OPENSSL_CONF", str(file))
    monkeypatch.setenv("OPENSSL_MODULES", str(BUILT))


def s_client(pki: Pki, proxy: Proxy, *arguments: str, library: Path | None = None) -> str:
    """What a client of the system's own OpenSSL says of a handshake."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OPENSSL_")}
    if library:
        plain["LD_LIBRARY_PATH"] = str(library)
    place = ("-connect", f"127.0.0.1:{proxy.port}", "-CAfile", str(pki.root.ca))
    done = subprocess.run(
        [need_program("openssl"), "s_client", *place, *arguments],
        input=b"",
        capture_output=True,
        timeout=30,
        check=False,
        env=plain,
    )
    return (done.stdout + done.stderr).decode("utf-8", "replace")


@contextmanager
def serving(pki: Pki, folder: Path, more: str) -> Iterator[tuple[Proxy, str]]:
    """A daemon with these lines in its global part, and its configuration."""
    with echoing() as echo:
        text = configuration(pki, echo.port, more=more)
        with culvert(text, folder) as proxy:
            yield proxy, text


NOT_APPROVED = {
    "X25519": ("-groups", "X25519"),
    "X448, TLS 1.2": ("-groups", "X448", "-tls1_2"),
    "ChaCha20": ("-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"),
    "ChaCha20, TLS 1.2": ("-tls1_2", "-cipher", "CHACHA20"),
    "Camellia": ("-tls1_2", "-cipher", "CAMELLIA"),
    "anonymous": ("-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"),
}
APPROVED = {
    "TLS 1.3": ("-groups", "P-256", "-tls1_3"),
    "TLS 1.2": ("-groups", "P-384", "-tls1_2", "-cipher", "ECDHE+AESGCM"),
}


@with_fips
@pytest.mark.usefixtures("fips")
def test_nothing_is_negotiated_that_fips_does_not_approve(pki: Pki, tmp_path: Path) -> None:
    with serving(pki, tmp_path / "daemon", "fips = yes\n") as (proxy, text):
        proxy.wait_line("LOG5.ui.: FIPS mode enabled")
        assert ",FIPS," in proxy.wait_line("Threading:")
        for name, arguments in NOT_APPROVED.items():
            assert "Cipher is (NONE)" in s_client(pki, proxy, *arguments), name
        for name, arguments in APPROVED.items():
            assert "Verify return code: 0 (ok)" in s_client(pki, proxy, *arguments), name
        ask_once(pki, proxy.address)
        rewrite(proxy, text.replace("fips = yes", "fips = no"))
        reload(proxy)
        proxy.wait_line("FIPS mode disabled")
        assert "Verify return code: 0 (ok)" in s_client(pki, proxy, *NOT_APPROVED["X25519"])


@with_fips
@pytest.mark.usefixtures("fips")
def test_a_refused_reload_leaves_fips_as_it_was(pki: Pki, tmp_path: Path) -> None:
    with serving(pki, tmp_path / "daemon", "fips = yes\nworkers = 1\n") as (proxy, text):
        rewrite(proxy, text.replace("fips = yes", "fips = no") + "key = /nowhere\n")
        reload(proxy, broken=True)
        rewrite(proxy, text)
        reload(proxy)
        proxy.wait_line("FIPS mode enabled", count=2)
        assert "Cipher is (NONE)" in s_client(pki, proxy, *NOT_APPROVED["X25519"])


@with_fips
@pytest.mark.usefixtures("fips")
def test_what_a_line_names_and_fips_lacks_is_refused_or_not_negotiated(pki: Pki, tmp_path: Path) -> None:
    with serving(pki, tmp_path / "daemon", "fips = yes\nciphers = ALL\ncurves = P-256\n") as (proxy, text):
        for name in ("ChaCha20", "ChaCha20, TLS 1.2", "Camellia"):
            assert "Cipher is (NONE)" in s_client(pki, proxy, *NOT_APPROVED[name]), name
        rewrite(proxy, text.replace("curves = P-256", "curves = P-256:x25519"))
        reload(proxy, broken=True)
        proxy.wait_line("curves: x25519 is not approved for key exchange by FIPS")


@with_zlib
def test_an_openssl_with_zlib_compresses_where_that_is_asked_for(
    pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(BUILT / "lib"))
    client = ("-tls1_2", "-comp", "-cipher", "DEFAULT@SECLEVEL=1")
    with serving(pki, tmp_path / "on", "compression = zlib\nsecurityLevel = 1\ndebug = 7\n") as (proxy, _):
        proxy.wait_line("LOG6.ui.: Compression id 0x01: zlib compression")
        assert "Compression: zlib compression" in s_client(pki, proxy, *client, library=BUILT / "lib")
        proxy.wait_line("LOG7.*: Compression: zlib compression, expansion: zlib compression")
        ask_once(pki, proxy.address)
    with serving(pki, tmp_path / "off", "securityLevel = 1\n") as (proxy, _):
        proxy.wait_line("LOG6.ui.: Compression disabled")
        assert "Compression: NONE" in s_client(pki, proxy, *client, library=BUILT / "lib")
