"""What one must know of the machine to judge the figures; nothing that names it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.measures import CULVERT
from bench.peers import Peer, cores

# How to ask each program for its version, and where in the answer it stands.
VERSIONS = {
    "stunnel": (("stunnel4", "-version"), r"stunnel (\S+)"),
    "haproxy": (("haproxy", "-v"), r"HAProxy version (\S+)"),
    "hitch": (("hitch", "--version"), r"hitch (\S+)"),
    "nginx": (("nginx", "-v"), r"nginx/(\S+)"),
    "openssl": (("openssl", "version"), r"OpenSSL (\S+)"),
}


def facts(peers: Sequence[Peer]) -> dict[str, str]:
    """Describe cores, memory, kernel, interpreter and the versions of all programs that take part."""
    names = [*(peer.name for peer in peers if peer.name != CULVERT), "nginx", "openssl"]
    return {
        "cores": f"{cores()} ({_processor()})",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {_release()} {platform.machine()}",
        "load average before": f"{os.getloadavg()[0]:.1f}",  # of others; above zero, figures are less sure
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


def version(name: str) -> str:
    """Ask a program for its version.  Raises BenchError if it is not installed."""
    command, pattern = VERSIONS[name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise BenchError(f"{command[0]} is not installed: {error}") from error
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else "unknown"


def _release() -> str:
    """The kernel's version without local suffixes, which may name a site."""
    found = re.match(r"[0-9.]+", platform.release())
    return found.group(0).rstrip(".") if found else "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return "unknown processor"
