"""The two self-signed certificates that all proxies share."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.errors import BenchError

KEYS = {
    "rsa": ("rsa:2048",),
    "p256": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
}


def make_certificates(folder: Path) -> dict[str, Path]:
    """Write one PEM file (key, then certificate) per kind of key; readable by the owner only."""
    return {kind: _make(folder / f"{kind}.pem", arguments) for kind, arguments in KEYS.items()}


def _make(path: Path, key: tuple[str, ...]) -> Path:
    key_file, certificate_file = path.with_suffix(".key"), path.with_suffix(".crt")
    command = ["openssl", "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=localhost", "-newkey", *key]
    done = subprocess.run(
        [*command, "-keyout", str(key_file), "-out", str(certificate_file)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"openssl req: {done.stderr.strip()}")
    path.touch(mode=0o600)
    path.write_bytes(key_file.read_bytes() + certificate_file.read_bytes())
    return path
