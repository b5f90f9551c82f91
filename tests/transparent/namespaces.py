"""Three hosts in network namespaces: a client, a proxy between two networks, and a backend.

The client routes everything through the proxy, and so does the backend.  What is done `inside()` a host
happens there: sockets belong to the namespace in which they were made.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET, <sched.h>
_libc = ctypes.CDLL(None, use_errno=True)

# Addresses by family: client, proxy towards it, proxy towards the backend, backend.
ADDRESSES = {
    4: ("10.9.1.2", "10.9.1.1", "10.9.2.1", "10.9.2.2"),
    6: ("fd09:1::2", "fd09:1::1", "fd09:2::1", "fd09:2::2"),
}
ELSEWHERE = {4: "198.51.100.7", 6: "2001:db8::7"}
"""An address that no host has; the client meets the proxy on its way."""

_LENGTH = {4: 24, 6: 64}


class Network:
    """The three hosts, by name: client, proxy, backend."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def name(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    def run(self, host: str, command: str) -> None:
        """Run a command in a host."""
        words = ["ip", "netns", "exec", self.name(host), *command.split()]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    @contextmanager
    def inside(self, host: str) -> Iterator[None]:
        """Be in a host for the time of the block."""
        with open("/proc/thread-self/ns/net") as back, open(f"/run/netns/{self.name(host)}") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(back.fileno())

    def build(self) -> None:
        for host in ("client", "proxy", "backend"):
            self.run(host, "ip link set lo up")
        for side, host in (("a", "client"), ("b", "backend")):
            self._link(side, host)
        for file in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            self._write(file, "1")
        self._write("ipv4/conf/lo/rp_filter", "0")

    def _link(self, side: str, host: str) -> None:
        near, far = f"{side}0", f"{side}1"
        self.run("proxy", f"ip link add {near} type veth peer name {far} netns {self.name(host)}")
        self.run("proxy", f"ip link set {near} up")
        self.run(host, f"ip link set {far} up")
        for family, (client, to_client, to_backend, backend) in ADDRESSES.items():
            own, proxy = (client, to_client) if host == "client" else (backend, to_backend)
            no_probe = " nodad" if family == 6 else ""
            self.run("proxy", f"ip addr add {proxy}/{_LENGTH[family]} dev {near}{no_probe}")
            self.run(host, f"ip addr add {own}/{_LENGTH[family]} dev {far}{no_probe}")
            self.run(host, f"ip -{family} route add default via {proxy}")

    def _write(self, file: str, text: str) -> None:
        with self.inside("proxy"):
            Path(f"/proc/sys/net/{file}").write_text(text)


@contextmanager
def network() -> Iterator[Network]:
    """The hosts, for the time of the block; needs root."""
    made = Network(f"culvert{os.getpid()}")
    with ExitStack() as undo:
        for host in ("client", "proxy", "backend"):
            subprocess.run(["ip", "netns", "add", made.name(host)], check=True)
            undo.callback(subprocess.run, ["ip", "netns", "del", made.name(host)], check=True)
        made.build()
        yield made


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "setns")
