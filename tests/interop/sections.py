"""One Culvert with several services, each on a port of its own."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.proxies import Kind, Proxy, running
from tests.proxies.running import reserved_port

TOP = "foreground = yes\npid =\nsyslog = no\ndebug = debug\n"


class Running(NamedTuple):
    """The daemon, and the port of each of its sections."""

    proxy: Proxy
    port: Mapping[str, int]


@contextmanager
def sections(
    folder: Path, texts: Mapping[str, str], *, kind: Kind = Kind.CULVERT, workers: int = 1
) -> Iterator[Running]:
    """Run services; in a text, ``{name}`` is the port of that section, which need not be in it.

    A section that says nothing of `accept` listens on its port.
    """
    with ExitStack() as stack:
        port = {name: stack.enter_context(reserved_port()) for name in texts}
        lines = []
        for name, text in texts.items():
            own = "" if "accept" in text else f"accept = 127.0.0.1:{port[name]}\n"
            lines.append(f"[{name}]\n{own}{text.format_map(port)}\n")
        first = TOP + (f"workers = {workers}\nTIMEOUTbusy = 10\n" if kind is Kind.CULVERT else "")
        listens = [("127.0.0.1", port[name]) for name, text in texts.items() if "accept" not in text]
        text = first + "".join(lines)
        yield Running(stack.enter_context(running(kind, text, folder, listens=listens)), port)


def as_user(name: str) -> dict[str, int]:
    """What makes subprocess run a program as another user, where this one may: some refuse to be root."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid}
