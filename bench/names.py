"""``python -m bench.names``: what a service costs that shares its address with many others.

Starts Culvert with 100 and with 10,000 sections that each have a server name, a certificate and a key of
their own (P-256), and prints how long the start took, what a section adds to the memory of all processes
together, and how long it takes to find the section of a name.
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.accounting import proportional_set, quiet_usage
from bench.processes import Child
from culvert.tls import NameTable

COUNTS = (100, 10_000)
LONGEST = 120.0  # seconds that a start may take on a busy machine
LOOK_UPS = 20_000
WAYS = ("host", "a.site", "stranger")


class Cost(NamedTuple):
    """seconds: from the start of the program until its port is open, by the clock; cpu: of all processes;
    kibibytes: of all processes, shared pages counted once; look_up: seconds for one name.
    """

    services: int
    seconds: float
    cpu: float
    kibibytes: float
    look_up: float


def main(arguments: Sequence[str]) -> int:
    """Print the table; 0, or 3 with --strict when a limit was not kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.names", description=__doc__)
    parser.add_argument("--culvert", default=f"{Path(sys.executable).parent / 'culvert'} CONFIG")
    parser.add_argument("--strict", action="store_true", help="end with 3 above 5 s or 20 KiB a service")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        make_identities(Path(folder), max(COUNTS))
        costs = [measure(Path(folder), count, options.culvert) for count in COUNTS]
    each = (costs[1].kibibytes - costs[0].kibibytes) / (costs[1].services - costs[0].services)
    for cost in costs:
        print(
            f"{cost.services:6} services: start {cost.seconds:.2f} s ({cost.cpu:.2f} s of CPU), "
            f"{cost.kibibytes / 1024:.1f} MiB in all, look-up {cost.look_up * 1e6:.2f} us"
        )
    print(f"a further service: {each:.1f} KiB, {(costs[1].cpu - costs[0].cpu) / COUNTS[1] * 1e6:.0f} us")
    kept = costs[1].seconds < 5 and each < 20
    return 0 if kept or not options.strict else 3


def measure(folder: Path, count: int, program: str) -> Cost:
    """Start Culvert with so many named services.  Raises BenchError when it does not start."""
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    path = folder / f"{count}.conf"
    path.write_text(configuration(folder, count, port))
    begin = time.perf_counter()
    with Child("culvert", shlex.split(program.replace("CONFIG", str(path))), folder, None) as child:
        child.wait_until_said("Accepting new connections", LONGEST)
        seconds = time.perf_counter() - begin
        kibibytes = proportional_set(child.pid) / 1024
        return Cost(count, seconds, quiet_usage(child.pid).clock, kibibytes, look_up_seconds(count))


def look_up_seconds(count: int) -> float:
    """How long one name takes among so many exact ones and as many endings, on the average."""
    table: NameTable[int] = NameTable()
    for number in range(count):
        table.add(f"host{number}.example.com", number)
        table.add(f"*.site{number}.example.com", number)
    names = [f"{way}{number % count}.example.com".encode() for number in range(50) for way in WAYS]
    begin = time.perf_counter()
    for _ in range(LOOK_UPS // len(names)):
        for name in names:
            table.find(name)
    return (time.perf_counter() - begin) / (LOOK_UPS // len(names) * len(names))


def configuration(folder: Path, count: int, port: int) -> str:
    """A section that accepts, and so many that it hands connections to."""
    lines = [
        "foreground = yes\nsyslog = no\ndebug = info\nworkers = 2\n[main]",
        f"accept = 127.0.0.1:{port}\nconnect = 127.0.0.1:9\ncert = {folder}/0.pem",
    ]
    for number in range(count):
        lines.append(f"[host{number}]\nsni = main:host{number}.example.com")
        lines.append(f"connect = 127.0.0.1:9\ncert = {folder}/{number}.pem")
    return "\n".join(lines) + "\n"


def make_identities(folder: Path, count: int) -> None:
    """`NUMBER.pem`: a key of P-256, and a certificate for hostNUMBER.example.com."""
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    for number in range(count):
        name, key = f"host{number}.example.com", ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateBuilder(issuer, serial_number=number + 1)
        builder = builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        builder = builder.public_key(key.public_key()).not_valid_before(now - day)
        builder = builder.not_valid_after(now + 365 * day)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        certificate = builder.sign(authority, hashes.SHA256())
        path = folder / f"{number}.pem"
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
