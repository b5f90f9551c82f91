"""What stands behind every proxy: nginx for requests and downloads, the generator's own sink for uploads."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.processes import Child, free_port

REPLY = ("culvert-bench-" * 8)[:100]  # the body of every short reply
BLOB_BYTES = 1 << 30

_NGINX = """\
{user}
daemon off;
worker_processes auto;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    default_type text/plain;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /reply {{ return 200 "{reply}"; }}
        location = /blob {{ alias {folder}/blob; }}
    }}
}}
"""


@dataclass(frozen=True)
class Backends:
    """Loopback ports."""

    nginx: int
    sink: int

    def port(self, name: str) -> int:
        """Give the port of the backend called ``name``."""
        return {"nginx": self.nginx, "sink": self.sink}[name]


@contextlib.contextmanager
def running_backends(folder: Path, generator: Path) -> Iterator[Backends]:
    """Keep both backends running; everything they write stays in ``folder``.  Raises BenchError."""
    with _running_nginx(folder) as nginx, running_sink(generator) as sink:
        yield Backends(nginx, sink)


@contextlib.contextmanager
def _running_nginx(folder: Path) -> Iterator[int]:
    port = free_port()
    with (folder / "blob").open("wb") as blob:
        blob.truncate(BLOB_BYTES)  # sparse: costs no disk
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _NGINX.format(
            user="user root;" if os.geteuid() == 0 else "",
            folder=folder,
            files=32768,
            connections=16384,
            port=port,
            reply=REPLY,
        )
    )
    command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(configuration)]
    with Child("nginx", command, folder, None) as nginx:
        nginx.wait_until_listening(port)
        yield port


@contextlib.contextmanager
def running_sink(generator: Path) -> Iterator[int]:
    """Keep the upload sink running and give its port.  Raises BenchError."""
    command = [str(generator), "-c", REPLY, "sink"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sink:
        if sink.stdin is None or sink.stdout is None:
            raise BenchError("the sink has no pipes")
        word, _, port = sink.stdout.readline().partition(" ")
        if word != "port":
            raise BenchError("the sink did not start")
        try:
            yield int(port)
        finally:
            sink.stdin.close()
