"""nnrpd, the part of INN that readers talk to."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.pki import Identity
from tests.protocols.instances import ports, root_only, serving
from tests.proxies.running import need_missing

# NNTP

_INN = """
pathhost: news.example.org
domain: example.org
mta: "/bin/true"
organization: "Test"
runasuser: news
runasgroup: news
hismethod: hisv6
enableoverview: true
ovmethod: tradindexed
readerswhenstopped: true
pathnews: {programs}
pathbin: {programs}/bin
pathetc: {folder}/etc
pathdb: {folder}/db
pathrun: {folder}/run
pathlog: {folder}/log
pathtmp: {folder}/tmp
pathspool: {folder}/spool
patharticles: {folder}/spool/articles
pathoverview: {folder}/spool/overview
pathfilter: {folder}/filter
pathhttp: {folder}/http
tlscertfile: {folder}/etc/chain.pem
tlskeyfile: {folder}/etc/key.pem
tlscapath: {folder}/etc
"""
_READERS = """
auth "all" { hosts: "*" default: "<user>" }
access "all" { users: "<user>" newsgroups: "*" access: R }
"""
_FOLDERS = ("etc", "db", "run", "log", "tmp", "filter", "http", "spool/articles", "spool/overview")
UNPACKED = Path(__file__).resolve().parents[2] / "build" / "peers"


@contextmanager
def nnrpd(folder: Path, identity: Identity) -> Iterator[dict[str, int]]:
    """nntp, with an empty group local.test; INN's reader without its innd."""
    root_only()
    unpacked = [UNPACKED / name / "usr" / "lib" / "news" for name in ("inn2", "inn2-inews")]
    if not all(each.exists() for each in unpacked):
        need_missing("inn2 (scripts/unpack)")
    programs = folder / "programs"  # where the user `news` can read them
    for each in unpacked:
        shutil.copytree(each, programs, symlinks=True, dirs_exist_ok=True)
    for each in (programs / "bin").rglob("*"):
        each.chmod(0o755)  # a copy does not keep the group that may run innbind
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True)
    (folder / "etc" / "chain.pem").write_bytes(identity.chain.read_bytes())
    (folder / "etc" / "key.pem").write_bytes(identity.key.read_bytes())
    (folder / "etc" / "key.pem").chmod(0o640)
    (folder / "etc" / "inn.conf").write_text(_INN.format(folder=folder, programs=programs))
    (folder / "etc" / "readers.conf").write_text(_READERS)
    (folder / "etc" / "storage.conf").write_text("method tradspool {\nnewsgroups: *\nclass: 0\n}\n")
    (folder / "db" / "active").write_text("local.test 0000000000 0000000001 y\n")
    (folder / "db" / "newsgroups").write_text("")
    (folder / "db" / "active.times").write_text("")
    for name in _FOLDERS:
        for part in (folder / name, *(folder / name).iterdir()):
            shutil.chown(part, "news", "news")
    shutil.chown(folder / "spool", "news", "news")
    env = {"INNCONF": str(folder / "etc" / "inn.conf"), "LD_LIBRARY_PATH": str(programs)}
    as_news = ["setpriv", "--reuid=news", "--regid=news", "--clear-groups"]
    for options in (["-O", "-x", "-F"], ["-O"]):  # an empty history, and an overview
        command = [*as_news, str(programs / "bin" / "makehistory"), *options]
        subprocess.run(command, env={**os.environ, **env}, capture_output=True, timeout=20, check=False)
    with ports("nntp") as wanted:
        command = [*as_news, str(programs / "bin" / "nnrpd"), "-D", "-f", "-b", "127.0.0.1"]
        with serving([*command, "-p", str(wanted["nntp"])], folder, wanted, env=env) as found:
            yield found
