"""What Linux tells about processes and listening sockets, read from /proc without disturbing either."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

Place = tuple[str, int] | str
"""Where a socket listens or connects: (IPv4 address, port) or the path of a Unix socket."""

LISTEN = "0A"  # the state of a TCP socket in /proc/net/tcp
ACCEPTING = "00010000"  # __SO_ACCEPTCON in /proc/net/unix


def is_listening(place: Place) -> bool:
    """Tell whether some socket accepts connections at ``place``; no connection is made for it."""
    if isinstance(place, str):
        return _unix_listening(place)
    octets = struct.unpack("=I", socket.inet_aton(place[0]))[0]
    wanted = {f"{octets:08X}:{place[1]:04X}", f"00000000:{place[1]:04X}"}
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(row[1] in wanted and row[3] == LISTEN for row in map(str.split, rows))


def _unix_listening(path: str) -> bool:
    rows = Path("/proc/net/unix").read_text().splitlines()[1:]
    bound = [row[-1] for row in map(str.split, rows) if row[3] == ACCEPTING]
    # haproxy binds under another name and renames the file; the kernel goes on showing the first name.
    renamed = Path(path).exists() and any(name.startswith(f"{path}.") for name in bound)
    return path in bound or renamed


def tree(pid: int) -> list[int]:
    """Return ``pid`` and all its descendants; those that ended meanwhile are left out."""
    found = [pid]
    for parent in found:  # grows while it is walked
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found.extend(map(int, (task / "children").read_text().split()))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu_seconds(pid: int) -> float:
    """Return how long ``pid`` and its descendants have run, in seconds; the scheduler counts nanoseconds."""
    total = 0
    for process in tree(pid):
        try:
            for task in Path(f"/proc/{process}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / 1e9


def open_descriptors(pid: int) -> int:
    """Return how many descriptors ``pid`` and its descendants hold together."""
    total = 0
    for process in tree(pid):
        try:
            total += len(os.listdir(f"/proc/{process}/fd"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total
