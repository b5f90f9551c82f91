"""Our reader answers as the system's libwrap does: on one table of rules, for clients of every kind."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from culvert.net import addresses
from culvert.net.wrappers.facts import Request
from culvert.net.wrappers.library import NAME, Library
from culvert.net.wrappers.reader import Reader
from culvert.net.wrappers.tables import Tables
from tests.proxies.running import need_program

pytestmark = pytest.mark.interop


def packed(host: str, port: int) -> bytes:
    if ":" in host:
        return addresses.endpoint(socket.AF_INET6, (host, port, 0, 0)).packed
    return addresses.endpoint(socket.AF_INET, (host, port)).packed


IPV4, IPV6 = packed("127.0.0.1", 443), packed("::1", 443)

CLIENTS = (
    Request("web", packed("127.0.0.1", 4000), IPV4, user="unknown"),  # its name is looked up
    Request("web", packed("127.0.0.9", 4000), IPV4, "unknown", "unknown"),
    Request("web", packed("::1", 4000), IPV6, "localhost", "unknown"),
    Request("web", packed("10.0.0.7", 1), IPV4, "host.example.org", "joe"),
    Request("web", packed("10.1.0.7", 1), IPV4, "paranoid", "unknown"),
    Request("web", packed("192.0.2.200", 1), IPV4, "unknown", "root"),
    Request("other", packed("192.0.2.200", 1), IPV4, "short", "root"),
    Request("web", packed("2001:db8::7", 1), IPV6, "six.example.net", "unknown"),
    Request("web", packed("::ffff:10.0.0.7", 1), IPV6, "host.example.org", "joe"),
)

HOSTS = """
ALL | LOCAL | KNOWN | UNKNOWN | PARANOID | localhost | .example.org | .org | example.org | HOST.Example.ORG
10. | 10.0. | 10.0 | 10.0.0.7 | 127.0.0.1 | 10.0.0.7. | 192.0.2.200. | 255.255.255.255 | 10.* | 10.0.?.7
10.0.0.0/255.0.0.0 | 10.0.0.0/8 | 10.0.0.7/8 | 10.0.0.0/33 | 10.0.0.0/0 | 0.0.0.0/0 | 0.0.0.0/0.0.0.0
10.0.0.7/32 | 10.0.0.7/255.255.255.255 | 10.0.0/8 | [::1] | [::1]/128 | ::1 | [2001:db8::]/32 | 2001:
[2001:0db8:0::7] | [2001:db8::7]/x | [2001:db8::]/129 | [2001:db8::]/0 | [::ffff:10.0.0.7] | 2001:db8::7
[::ffff:0:0]/96 | @FOLDER@/list | /no-such-file | *.example.* | ho?t* | six.* | unknown | paranoid | .
joe@ALL | joe@10. | root@LOCAL | UNKNOWN@ALL | KNOWN@ALL | ALL@ALL | ALL@[::1] | j*@ALL | .oe@ALL
ALL EXCEPT 10. | ALL EXCEPT ALL EXCEPT 10. | 10. 127. EXCEPT 127.0.0.9 EXCEPT .9 | EXCEPT ALL | ALL EXCEPT
KNOWN EXCEPT LOCAL | 10.,127. [::1] | ALL except joe@ALL | ALL EXCEPT @FOLDER@/list
"""
DAEMONS = """
ALL | WEB | we | web other | ALL EXCEPT web | 443 | 443@127.0.0.1 | web@127.0.0.1 | web@LOCAL | web@localhost
web@[::1] | ALL@ALL | LOCAL | KNOWN | w* | ?eb | .eb | we. | UNKNOWN | [web] | 4* | 80 | web@10.
"""
OPTIONS = r"""
allow | deny | DENY | allow : deny | severity mail.info : deny | severity bogus | severity = info : allow
severity | linger 5: deny | linger x | linger -1 | keepalive | keepalive x | nice | nice 5 | nice x | nice -5
umask 022 | umask 999 | umask 7777 | umask 8 | rfc931 | rfc931 5 | rfc931 x | rfc931 0 | setenv A b | setenv A
setenv | bogus | : allow | allow : | allow= | linger=5 | nice = 5 : deny | deny x | setenv A b\:c : deny
severity local0.err | severity local9.err | severity mail.bogus | severity bogus.info | severity warn
severity error | severity panic | severity mark.info | severity none | severity security.info
"""
WHOLE = (
    "web\n", "web ALL\n", "# web : ALL\n", " # web : ALL\n", "web :ALL: allow\n", "web : ALL \\\n : deny\n",
    "web : \\\n10. \\\n127.\n", "  web  :  ALL  \n", "web : ALL\nweb : ALL : deny\n", "web : ALL\r\n",
    "web : ALL : deny\nweb : ALL\n", "web :: deny\n", ": ALL\n", "web : ALL # comment\n", "\tweb\t:\tALL\n",
    "web :\n", "web : " + "x " * 1000 + "ALL\n", "web : " + "x " * 1030 + "ALL\n", "web : ALL", "# end", "\n",
)  # fmt: skip


def _cells(table: str) -> list[str]:
    return [cell.strip() for line in table.strip().splitlines() for cell in line.split(" | ")]


def _texts(folder: Path) -> Iterator[str]:
    yield from (f"web : {hosts.replace('@FOLDER@', str(folder))}\n" for hosts in _cells(HOSTS))
    yield from (f"{daemons} : ALL\n" for daemons in _cells(DAEMONS))
    yield from (f"web : ALL : {options}\n" for options in _cells(OPTIONS))
    yield from WHOLE


def test_both_give_the_same_answer_to_every_rule(tmp_path: Path) -> None:
    need_program("tcpdmatch")  # it brings the library
    tables = Tables(str(tmp_path / "allow"), str(tmp_path / "deny"))
    (tmp_path / "list").write_text("10.0.0.\n .example.org\n")
    library, own = Library(tables), Reader(tables)
    differences = []
    for text, (table, other), rest in itertools.product(
        list(_texts(tmp_path)), itertools.permutations(("allow", "deny")), ("", "ALL : ALL\n")
    ):
        (tmp_path / table).write_text(text, newline="")
        (tmp_path / other).write_text(rest)
        for client in CLIENTS:
            answers = own.permits(client), library.permits(client)
            if answers[0] is not answers[1]:
                differences.append((table, text, rest, client, answers))
    assert not differences, f"{NAME} says otherwise"
