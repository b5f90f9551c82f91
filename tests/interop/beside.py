"""Both programs with the same configuration text: what tests of it share."""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.daemon.scene import Echo, echoing
from tests.pki import Pki
from tests.proxies import Kind, Proxy, need, running
from tests.proxies.running import SOURCES, reserved_port

PATIENCE = 20.0
KINDS = (Kind.STUNNEL, Kind.CULVERT)
both = pytest.mark.parametrize("kind", KINDS, ids=[kind.value for kind in KINDS])


def until(true: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Look again and again until something has come true; AssertionError when it does not."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def logged(file: Path, pattern: str, count: int = 1) -> str:
    """Wait until so many lines of a log match; give the last of them."""
    wanted = re.compile(pattern)

    def matching() -> list[str]:
        text = file.read_text(errors="replace") if file.exists() else ""
        return [line for line in text.splitlines() if wanted.search(line)]

    until(lambda: len(matching()) >= count, f"{count} x {pattern!r} is not in {file}")
    return matching()[count - 1]


def spoken(tunnel: ssl.SSLSocket) -> bytes:
    """Everything until the orderly end."""
    data = b""
    while more := tunnel.recv(65536):
        data += more
    return data


@contextmanager
def sections(
    kind: Kind, text: str, folder: Path, names: Sequence[str], prefix: Sequence[str] = ()
) -> Iterator[tuple[Proxy, dict[str, tuple[str, int]]]]:
    """A daemon with a port for each name (`@name@` in the text), all of them accepting."""
    need(kind)
    with ExitStack() as stack:
        ports = {name: stack.enter_context(reserved_port()) for name in names}
        for name, port in ports.items():
            text = text.replace(f"@{name}@", str(port))
        places = {name: ("127.0.0.1", port) for name, port in ports.items()}
        listens = list(places.values())
        yield (
            stack.enter_context(running(kind, text, folder, listens=listens, prefix=prefix)),
            places,
        )


def script(folder: Path, name: str, text: str) -> Path:
    """A program of the shell: stunnel's execArgs know no quotes."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.sh"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def web(pki: Pki, backend: int, top: str, accept: str = "127.0.0.1:@PORT@") -> str:
    """A configuration with one section in server mode; `top` are lines of the global part."""
    section = f"accept = {accept}\nconnect = 127.0.0.1:{backend}\ncert = {pki.server.both}"
    return f"syslog = no\n{top}\n[web]\n{section}\n"


def rewrite(proxy: Proxy, body: str) -> None:
    """Put another configuration in the place of that of a running daemon."""
    (proxy.folder / f"{proxy.kind.value}.conf").write_text(body.replace("@PORT@", str(proxy.port)))


def environment() -> dict[str, str]:
    """Ours, with the sources of this checkout."""
    return {"PYTHONPATH": str(SOURCES), **os.environ}


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as service:
        yield service
