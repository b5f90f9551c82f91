"""What is measured: one row of the table each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bench.backend import BLOB_BYTES

CULVERT = "culvert"
FOLDER = "FOLDER"
STUNNEL_ONLY = ("stunnel",)
PSK_SECRET = "5e" * 32


class Kind(Enum):
    """How a measure is taken; ``sampling`` has one function for each."""

    CPU = "CPU time of the proxy's processes per unit of work"
    IDLE_CONNECTION = "memory of the proxy's processes per idle connection"
    IDLE_DAEMON = "memory of the proxy's processes before the first connection"
    START = "time from the start of the program until its port is open"
    CROWD = "CPU time per unit of work, with few and with many idle connections beside it"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One row.  ``limit_*`` bound the ratio of Culvert to a peer; None where no limit was set."""

    key: str
    title: str
    kind: Kind
    unit: str  # of the value that is printed
    scale: float  # printed value per second, or per octet
    mode: str = ""  # of the load generator
    count: int = 1  # units of work in one sample
    threads: int = 1  # of the load generator, each with one connection at a time
    resume: bool = False
    certificate: str = "p256"
    lines: str = ""  # further ones of a service in stunnel's grammar; FOLDER is where certificates are
    rivals: tuple[str, ...] | None = None  # who can do it, None for all
    load: tuple[str, ...] = ()  # further arguments of the load generator; FOLDER as above
    demands: tuple[str, ...] = ()  # the same, for Culvert alone
    backend: str = "nginx"
    limit_stunnel: float | None = None
    limit_best: float | None = None
    limit_crowd: float | None = None

    def arguments(self, share: float = 1.0, *, more: Sequence[str] = ()) -> list[str]:
        """Give the load generator's arguments; ``share`` makes the sample shorter or longer."""
        count = max(self.threads, round(self.count * share))
        resume = ["-r"] if self.resume else []
        length = ["-n", str(count), "-t", str(self.threads), "-b", str(BLOB_BYTES)]
        return [*length, *resume, *more, self.mode]

    def more(self, name: str, folder: Path) -> list[str]:
        """Give what the load generator does beyond the usual, against the proxy of that name."""
        words = (*self.load, *(self.demands if name == CULVERT else ()))
        return [word.replace(FOLDER, str(folder)) for word in words]


MICRO, SECOND, KIB = 1e6, 1.0, 1 / 1024
IDLE_CONNECTIONS = 1000
CROWDS = (100, 10_000)

MEASURES = (
    Measure(
        key="full-rsa",
        title="full handshake RSA-2048, request, close",
        kind=Kind.CPU,
        unit="us",
        scale=MICRO,
        mode="visits",
        count=600,
        threads=8,
        certificate="rsa",
        limit_stunnel=0.80,
        limit_best=1.12,
    ),
    Measure(
        key="full-p256",
        title="full handshake P-256, request, close",
        kind=Kind.CPU,
        unit="us",
        scale=MICRO,
        mode="visits",
        count=1000,
        threads=8,
        limit_stunnel=0.72,
        limit_best=1.15,
    ),
    Measure(
        key="resumed",
        title="resumed handshake P-256, request, close",
        kind=Kind.CPU,
        unit="us",
        scale=MICRO,
        mode="visits",
        count=1000,
        threads=8,
        resume=True,
        limit_stunnel=0.80,
        limit_best=1.15,
    ),
    Measure(
        key="verified",
        title="full handshake P-256, certificate of the client verified",
        kind=Kind.CPU,
        unit="us",
        scale=MICRO,
        mode="visits",
        count=1000,
        threads=8,
        lines="CAfile = FOLDER/authority.crt\nverifyChain = yes\n",
        rivals=STUNNEL_ONLY,
        load=("-k", "FOLDER/client.pem"),
        limit_stunnel=0.75,
    ),
    Measure(
        key="psk",
        title="full handshake with a pre-shared key",
        kind=Kind.CPU,
        unit="us",
        scale=MICRO,
        mode="visits",
        count=1000,
        threads=8,
        lines="PSKsecrets = FOLDER/psk.txt\nciphersuites = TLS_AES_128_GCM_SHA256\n",
        rivals=STUNNEL_ONLY,
        load=("-s", f"bench:{PSK_SECRET}"),
        limit_stunnel=0.75,
    ),
    Measure(
        key="stapled",
        title="full handshake P-256, stapled OCSP response (stunnel before 5.71 staples none)",
        kind=Kind.CPU,
        unit="us",
        scale=MICRO,
        mode="visits",
        count=1000,
        threads=8,
        certificate="stapled",
        lines="CAfile = FOLDER/authority.crt\n",
        rivals=STUNNEL_ONLY,
        load=("-o",),
        demands=("-O",),
        limit_stunnel=0.75,
    ),
    Measure(
        key="kept",
        title="100-byte request and reply, 20 kept connections",
        kind=Kind.CPU,
        unit="us",
        scale=MICRO,
        mode="kept",
        count=20_000,
        threads=20,
        limit_stunnel=0.55,
        limit_best=0.95,
    ),
    Measure(
        key="download",
        title="1 GiB to the client, one connection",
        kind=Kind.CPU,
        unit="s",
        scale=SECOND,
        mode="download",
        limit_stunnel=0.70,
        limit_best=0.80,
    ),
    Measure(
        key="upload",
        title="1 GiB from the client, one connection",
        kind=Kind.CPU,
        unit="s",
        scale=SECOND,
        mode="upload",
        backend="sink",
        limit_stunnel=0.70,
        limit_best=0.80,
    ),
    Measure(
        key="memory",
        title="memory per idle connection (PSS, 1,000 open)",
        kind=Kind.IDLE_CONNECTION,
        unit="KiB",
        scale=KIB,
        mode="idle",
        count=IDLE_CONNECTIONS,
        threads=4,
        limit_stunnel=0.20,
        limit_best=1.00,
    ),
    Measure(
        key="daemon",
        title="memory of the idle daemon (PSS)",
        kind=Kind.IDLE_DAEMON,
        unit="KiB",
        scale=KIB,
    ),
    Measure(
        key="start",
        title="from start to listening",
        kind=Kind.START,
        unit="s",
        scale=SECOND,
    ),
    Measure(
        key="crowd",
        title="request and reply on 20 of 10,000 connections against 20 of 100",
        kind=Kind.CROWD,
        unit="us",
        scale=MICRO,
        mode="kept",
        count=20_000,
        threads=20,
        limit_crowd=1.15,
    ),
)


def measure_named(key: str) -> Measure:
    """Find a measure by its key.  Raises KeyError."""
    return {measure.key: measure for measure in MEASURES}[key]
