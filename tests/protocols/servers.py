"""Real servers of the protocols that have a STARTTLS.

Every one of them offers STARTTLS and also goes on without it, so the same instance is the plain far end of
a tunnel in server mode and the TLS server of a tunnel in client mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.pki import Identity
from tests.protocols.instances import ports, root_only, serving
from tests.protocols.mail import dovecot, postfix
from tests.protocols.news import nnrpd
from tests.proxies import need_program

# XMPP

_PROSODY = """
daemonize = false
run_as_root = true
pidfile = "{folder}/pid"
data_path = "{folder}/data"
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {xmpp} }}
s2s_ports = {{ {xmpp_server} }}
c2s_direct_tls_ports = {{}}
s2s_direct_tls_ports = {{}}
http_ports = {{}}
https_ports = {{}}
component_ports = {{}}
c2s_require_encryption = false
s2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
modules_enabled = {{ "roster", "saslauth", "tls", "dialback", "disco", "ping" }}
modules_disabled = {{ "http", "posix" }}
log = {{ info = "*console" }}
ssl = {{ certificate = "{chain}", key = "{key}" }}
VirtualHost "example.org"
"""


@contextmanager
def prosody(folder: Path, identity: Identity) -> Iterator[dict[str, int]]:
    """xmpp and xmpp-server, for the domain example.org."""
    program = need_program("prosody")
    (folder / "data").mkdir()
    with ports("xmpp", "xmpp-server") as wanted:
        file = folder / "prosody.cfg.lua"
        facts = {"chain": identity.chain, "key": identity.key, "xmpp_server": wanted["xmpp-server"]}
        file.write_text(_PROSODY.format(folder=folder, xmpp=wanted["xmpp"], **facts))
        with serving([program, "--config", file, "-F"], folder, wanted) as found:
            yield found


# FTP

_VSFTPD = """
listen=YES
listen_address=127.0.0.1
listen_port={ftp}
background=NO
anonymous_enable=YES
no_anon_password=NO
local_enable=NO
anon_root={folder}/pub
secure_chroot_dir={folder}/empty
xferlog_enable=NO
seccomp_sandbox=NO
ssl_enable=YES
allow_anon_ssl=YES
force_anon_data_ssl=NO
force_anon_logins_ssl=NO
force_local_data_ssl=NO
force_local_logins_ssl=NO
require_ssl_reuse=NO
rsa_cert_file={chain}
rsa_private_key_file={key}
ssl_ciphers=HIGH
"""


@contextmanager
def vsftpd(folder: Path, identity: Identity) -> Iterator[dict[str, int]]:
    """ftp, for anonymous users, with a file `greeting`."""
    root_only()
    program = need_program("vsftpd")
    (folder / "empty").mkdir()
    (folder / "pub").mkdir()
    (folder / "pub" / "greeting").write_text("hello\n")
    with ports("ftp") as wanted:
        file = folder / "vsftpd.conf"
        file.write_text(_VSFTPD.format(folder=folder, chain=identity.chain, key=identity.key, **wanted))
        with serving([program, file], folder, wanted) as found:
            yield found


# IRC

_INSPIRCD = """
<server name="irc.example.org" description="test" network="Test">
<admin name="a" nick="a" email="a@example.org">
<path configdir="{folder}" datadir="{folder}" logdir="{folder}" runtimedir="{folder}">
<bind address="127.0.0.1" port="{irc}" type="clients">
<module name="ssl_gnutls">
<module name="starttls">
<sslprofile name="own" provider="gnutls" certfile="{chain}" keyfile="{key}" hash="sha256">
<starttls sslprofile="own">
<connect name="main" allow="*" timeout="30" resolvehostnames="no" useident="no">
<dns server="127.0.0.1" timeout="1">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="{folder}/log">
<options prefixquit="Quit: ">
<security announceinvites="dynamic">
"""


@contextmanager
def inspircd(folder: Path, identity: Identity) -> Iterator[dict[str, int]]:
    """irc"""
    program = need_program("inspircd")
    with ports("irc") as wanted:
        file = folder / "inspircd.conf"
        file.write_text(_INSPIRCD.format(folder=folder, chain=identity.chain, key=identity.key, **wanted))
        command = [program, "--nofork", "--runasroot", f"--config={file}"]
        with serving(command, folder, wanted) as found:
            yield found


@contextmanager
def all_of_them(folder: Path, identity: Identity) -> Iterator[dict[str, int]]:
    """Every server: protocol -> port.  Without a program its protocols are left out."""
    with ExitStack() as stack:
        found: dict[str, int] = {}

        def start(server: Server, name: str, *more: int) -> None:
            (folder / name).mkdir()
            with suppress(pytest.skip.Exception):  # the tests that need it tell
                found.update(stack.enter_context(server(folder / name, identity, *more)))

        start(dovecot, "dovecot")
        if "auth" in found:
            start(postfix, "postfix", found["auth"])
        for server in (prosody, vsftpd, inspircd, nnrpd):
            start(server, server.__name__)
        yield found


Server = Callable[..., AbstractContextManager[dict[str, int]]]
