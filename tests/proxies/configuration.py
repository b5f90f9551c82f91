"""The same tunnel in the language of each proxy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.proxies.procfs import Place
from tests.proxies.running import Kind

Mode = Literal["server", "client"]

TIMERS: Mapping[str, str] = {"TIMEOUTclose": "10", "TIMEOUTbusy": "20", "TIMEOUTidle": "60"}
CLIENT_CAPABLE = (Kind.CULVERT, Kind.STUNNEL, Kind.HAPROXY)


@dataclass(frozen=True, kw_only=True)
class TunnelText:
    """What a tunnel needs to know; ``text(kind)`` writes it down."""

    mode: Mode
    accept: str = "127.0.0.1:@PORT@"
    connect: tuple[str, ...]
    certificate: Path
    """PEM file with key and chain."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further options of the service in stunnel's names; only Culvert and stunnel can have any."""
    top: Mapping[str, str] = field(default_factory=dict)
    """Further global options in stunnel's names."""

    def text(self, kind: Kind) -> str:
        """The configuration file.  ValueError when this proxy cannot be such a tunnel."""
        if kind in (Kind.CULVERT, Kind.STUNNEL):
            return self._stunnel()
        if self.options or self.top or len(self.connect) != 1:
            raise ValueError(f"{kind.value} has no such options")
        if kind is Kind.HAPROXY:
            return self._haproxy()
        if self.mode == "client" or self.accept.startswith("/"):
            raise ValueError("hitch is a server, on TCP")
        return self._hitch()

    def _stunnel(self) -> str:
        top = {"foreground": "yes", "pid": "", "syslog": "no", "debug": "info", **self.top}
        own = {"client": "yes" if self.mode == "client" else "no", "accept": self.accept, **TIMERS}
        if self.mode == "server":
            own["cert"] = str(self.certificate)
        lines = [f"{name} = {value}" for name, value in top.items()]
        lines += ["[tunnel]", *(f"{name} = {value}" for name, value in {**own, **self.options}.items())]
        lines += [f"connect = {place}" for place in self.connect]
        return "\n".join(lines) + "\n"

    def _haproxy(self) -> str:
        def place(text: str) -> str:
            return f"unix@{text}" if text.startswith("/") else text

        server = self.mode == "server"
        tls_in = f" ssl crt {self.certificate}" if server else ""
        tls_out = "" if server else " ssl verify none"
        return (
            "global\n    log stderr local0 err\n"
            "defaults\n    mode tcp\n"
            "    timeout connect 10s\n    timeout client 10s\n    timeout server 10s\n"
            f"frontend tunnel\n    bind {place(self.accept)}{tls_in}\n    default_backend far\n"
            f"backend far\n    server far {place(self.connect[0])}{tls_out}\n"
        )

    def _hitch(self) -> str:
        host, port = self.accept.rsplit(":", 1)
        far = self.connect[0]
        backend = far if far.startswith("/") else "[{}]:{}".format(*far.rsplit(":", 1))
        user = 'user = "nobody"\ngroup = "nogroup"\n' if os.geteuid() == 0 else ""
        return (
            f'frontend = "[{host}]:{port}"\nbackend = "{backend}"\npem-file = "{self.certificate}"\n'
            f"workers = 1\ndaemon = off\nsyslog = off\nquiet = on\n{user}"
        )


def place_text(place: Place) -> str:
    """``place`` as stunnel's accept and connect write it."""
    return place if isinstance(place, str) else f"{place[0]}:{place[1]}"
