"""The four programs under measure: how each is configured and started.

All get the same certificate, one frontend and one backend, every core, errors only in the log, and else their
defaults.  What could be argued about is decided in the peer's favour.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import BenchError
from bench.measures import CULVERT, FOLDER
from bench.processes import Child, free_port

ROOT = Path(__file__).resolve().parent.parent
STARTS = 3  # a port that was free a moment ago may be taken
PLACEHOLDER = "CONFIG"
DEFAULT_CULVERT = f"{shlex.quote(sys.executable)} -m culvert {PLACEHOLDER}"


@dataclass(frozen=True)
class Site:
    """Where one instance stands; ports are of the loopback."""

    port: int
    backend: int
    certificate: Path
    lines: str = ""  # further ones of the service, in stunnel's grammar

    @property
    def more(self) -> str:
        """The lines with the folder of the certificates in them."""
        return self.lines.replace(FOLDER, str(self.certificate.parent))


@dataclass(frozen=True)
class Peer:
    """One program: ``command`` with PLACEHOLDER for the configuration file that ``configure`` writes."""

    name: str
    command: tuple[str, ...]
    configure: Callable[[Site], str]
    package: str

    def require(self) -> None:
        """Raise BenchError if the program is not installed."""
        if shutil.which(self.command[0]) is None:
            raise BenchError(f"{self.command[0]} is not installed (Debian: apt-get install {self.package})")


@dataclass(frozen=True)
class Instance:
    """A running proxy."""

    peer: Peer
    process: Child
    site: Site

    @property
    def trusted(self) -> Path:
        """The certificate that a client must be shown."""
        return self.site.certificate.with_suffix(".crt")


def stunnel_text(site: Site) -> str:
    """Compose stunnel.conf for stunnel itself; its tcp wrappers are off because no other peer has them."""
    return "syslog = no\nlibwrap = no\n" + culvert_text(site)


def culvert_text(site: Site) -> str:
    """Compose stunnel.conf with what any stunnel-like program understands."""
    return f"""\
foreground = yes
debug = err
pid =
[bench]
accept = 127.0.0.1:{site.port}
connect = 127.0.0.1:{site.backend}
cert = {site.certificate}
{site.more}"""


def haproxy_text(site: Site) -> str:
    """Compose haproxy.cfg; ``dontlog-normal`` keeps it from formatting lines that nobody would see."""
    return f"""\
global
    log stderr format raw local0 err
defaults
    mode tcp
    log global
    option dontlog-normal
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen bench
    bind 127.0.0.1:{site.port} ssl crt {site.certificate}
    server backend 127.0.0.1:{site.backend}
"""


def hitch_text(site: Site) -> str:
    """Compose hitch.conf; it has no "auto" for the number of workers, and refuses to run them as root."""
    user = 'user = "nobody"\n' if os.geteuid() == 0 else ""
    return f"""\
{user}\
frontend = "[127.0.0.1]:{site.port}"
backend = "[127.0.0.1]:{site.backend}"
pem-file = "{site.certificate}"
workers = {cores()}
daemon = off
syslog = off
log-level = 1
"""


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def culvert_peer(command: str) -> Peer:
    """Describe Culvert, started by ``command``; the file's path replaces CONFIG in it, or is appended."""
    words = shlex.split(command)
    if not words:
        raise BenchError("--culvert: the command is empty")
    if PLACEHOLDER not in words:
        words.append(PLACEHOLDER)
    return Peer(CULVERT, tuple(words), culvert_text, "make build")


RIVALS = (
    Peer("stunnel", ("stunnel4", PLACEHOLDER), stunnel_text, "stunnel4"),
    Peer("haproxy", ("haproxy", "-db", "-f", PLACEHOLDER), haproxy_text, "haproxy"),
    Peer("hitch", ("hitch", f"--config={PLACEHOLDER}"), hitch_text, "hitch"),
)


@contextlib.contextmanager
def running(peer: Peer, backend: int, certificate: Path, folder: Path, lines: str = "") -> Iterator[Instance]:
    """Keep one instance of ``peer`` running.  Raises BenchError if it does not come up."""
    instance = _start(peer, Site(0, backend, certificate, lines), folder)
    with instance.process:
        yield instance


def _start(peer: Peer, wanted: Site, folder: Path) -> Instance:
    peer.require()
    for attempt in range(1, STARTS + 1):
        site = replace(wanted, port=free_port())
        process = _launch(peer, site, folder)
        try:
            process.wait_until_listening(site.port)
        except BenchError:
            process.stop()
            if attempt == STARTS:
                raise
        except BaseException:
            process.stop()
            raise
        else:
            return Instance(peer, process, site)
    raise AssertionError("unreachable")


def _launch(peer: Peer, site: Site, folder: Path) -> Child:
    name = f"{peer.name}-{site.port}"
    path = folder / f"{name}.conf"
    path.write_text(peer.configure(site))
    command = [word.replace(PLACEHOLDER, str(path)) for word in peer.command]
    return Child(name, command, folder, _environment())


def _environment() -> dict[str, str]:
    """Let ``python -m culvert`` work from a checkout that is not installed."""
    sources = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sources))}
