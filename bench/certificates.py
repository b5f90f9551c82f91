"""What all proxies share: self-signed certificates, and an authority with a client and a responder."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.errors import BenchError
from bench.measures import PSK_SECRET

KEYS = {
    "rsa": ("rsa:2048",),
    "p256": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
}


def make_certificates(folder: Path, responder: int = 0) -> dict[str, Path]:
    """Write one PEM file (key, then certificate) per kind of key; readable by the owner only.

    Beside them stand `authority.crt`, `client.pem`, whom it vouches for, and `psk.txt`.  responder: the
    loopback port at which "stapled" is asked about, see ``responder_command``.
    """
    made = {kind: _self_signed(folder / f"{kind}.pem", arguments) for kind, arguments in KEYS.items()}
    authority = _self_signed(folder / "authority.pem", KEYS["p256"])
    _issue(folder / "client.pem", authority, 2, "extendedKeyUsage = clientAuth")
    made["stapled"] = _issue(
        folder / "stapled.pem",
        authority,
        3,
        f"authorityInfoAccess = OCSP;URI:http://127.0.0.1:{responder}/\nsubjectAltName = DNS:localhost",
    )
    (folder / "stapled.crt").write_bytes((folder / "authority.crt").read_bytes())  # what a client trusts
    secrets = folder / "psk.txt"
    secrets.touch(mode=0o600)
    secrets.write_text(f"bench:{PSK_SECRET}\n")
    return made


def responder_command(folder: Path, port: int) -> list[str]:
    """An OCSP responder for what the authority has issued."""
    index = folder / "index.txt"
    index.write_text(
        "".join(f"V\t491231235959Z\t\t{serial:02X}\tunknown\t/CN={serial}\n" for serial in (2, 3))
    )
    authority = ["-CA", f"{folder}/authority.crt", "-rsigner", f"{folder}/authority.crt"]
    answers = ["-rkey", f"{folder}/authority.key", "-index", str(index), "-ndays", "1"]
    return ["openssl", "ocsp", "-port", str(port), *authority, *answers]


def _self_signed(path: Path, key: tuple[str, ...]) -> Path:
    key_file, certificate_file = path.with_suffix(".key"), path.with_suffix(".crt")
    request = ["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=localhost", "-newkey", *key]
    _openssl(*request, "-keyout", str(key_file), "-out", str(certificate_file))
    return _together(path, key_file, certificate_file)


def _issue(path: Path, authority: Path, serial: int, extensions: str) -> Path:
    """A P-256 leaf, signed by the authority."""
    key_file, request_file, leaf_file, extension_file = (
        path.with_suffix(ending) for ending in (".key", ".csr", ".leaf", ".ext")
    )
    extension_file.write_text(extensions + "\n")
    request = ["req", "-new", "-nodes", "-subj", "/CN=leaf", "-newkey", *KEYS["p256"]]
    _openssl(*request, "-keyout", str(key_file), "-out", str(request_file))
    signer = ["-CA", str(authority.with_suffix(".crt")), "-CAkey", str(authority.with_suffix(".key"))]
    about = ["-days", "30", "-set_serial", str(serial), "-extfile", str(extension_file)]
    _openssl("x509", "-req", "-in", str(request_file), *signer, *about, "-out", str(leaf_file))
    return _together(path, key_file, leaf_file)


def _together(path: Path, key_file: Path, certificate_file: Path) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(key_file.read_bytes() + certificate_file.read_bytes())
    return path


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"openssl {arguments[0]}: {done.stderr.strip()}")
