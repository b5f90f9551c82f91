"""One good conversation for every protocol and mode: what each peer says, and what it has to hear.

The tests of hostile peers and the fuzzer start from the same lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from culvert.negotiate.mysql_packets import Packet
from culvert.negotiate.proxy_header import SIGNATURE
from culvert.negotiate.registry import Terms
from culvert.negotiate.steps import Fact
from tests.negotiate.conversing import FACTS

HELLO = b"\x16\x03\x01"  # how a ClientHello begins
TERMS = Terms(host="example.org", username="user", password="secret")


@dataclass(frozen=True)
class Good:
    """A script that goes well.

    near, far: what the peers say.  heard_near, heard_far: what they have to hear, a regular expression.
    facts: what the script may learn.  waits: it does not go on to TLS while there are octets in clear.
    ends: the tunnel is over then.
    """

    protocol: str
    client: bool
    hook: str
    near: bytes = b""
    far: bytes = b""
    heard_near: bytes = b""
    heard_far: bytes = b""
    terms: Terms = TERMS
    facts: Mapping[Fact, object] = field(default_factory=lambda: FACTS)
    waits: bool = True
    ends: bool = False

    @property
    def name(self) -> str:
        return f"{self.protocol} {'client' if self.client else 'server'} {self.hook}"


XMPP_TLS = b"urn:ietf:params:xml:ns:xmpp-tls"
XMPP_OPEN = (
    b"<?xml version='1.0'?>\n<stream:stream xmlns='jabber:client' to=\"example.org\" version='1.0'\n"
    b" xmlns:stream='http://etherx.jabber.org/streams'>"
)
XMPP_SERVER = (
    XMPP_OPEN
    + b"<stream:features><mechanisms xmlns='a'><mechanism>PLAIN</mechanism></mechanisms>"
    + b"<starttls xmlns='" + XMPP_TLS + b"'><required/></starttls></stream:features>"
    + b"<proceed xmlns='" + XMPP_TLS + b"'/>"
)  # fmt: skip
XMPP_CLIENT = XMPP_OPEN + b"<starttls xmlns='" + XMPP_TLS + b"'/>"
XMPP_HEARD_BY_SERVER = (
    rb"<\?xml version='1\.0'\?><stream:stream xmlns='jabber:%s' .*to='example\.org'.*<starttls .*/>"
)
XMPP_HEARD_BY_CLIENT = (
    rb"<\?xml .*<stream:stream xmlns='jabber:%s' .*from=\"example\.org\" id='[0-9a-f]{16}'.*<proceed .*/>"
)

MYSQL_GREETING = (
    b"\x0a11.4\0" + bytes(4) + b"saltsalt\0" + b"\0%b\x21\x02\0\xff\x81\x15" + bytes(10) + b"saltsaltsalt\0"
)
MYSQL_ABLE = b"\0%b\x08\0" + b"\0\0\0\x01\x21" + bytes(23)
MYSQL_SHORT = b"\x07\0\0%b\0\0\0\2\0\0\0"  # OK


def packet(number: int, contents: bytes) -> bytes:
    return len(contents).to_bytes(3, "little") + bytes((number,)) + contents


def mysql_answer(number: int, tls: bool) -> bytes:
    return packet(number, MYSQL_ABLE % (b"\x0a" if tls else b"\x02") + b"me\0\0")


LDAP_NAME = b"1.3.6.1.4.1.1466.20037"
PGSQL_SSL = b"\0\0\0\x08\x04\xd2\x16\x2f"
PGSQL_START = b"\0\0\0\x11\0\3\0\0user\0me\0\0"
PGSQL_TRUSTED = b"R\0\0\0\x08\0\0\0\0"

CREDENTIALS = b"AUTH\x1fuser\x1fpass\x1fctrl\x1c"
SHOWN = b"\x1fuser\x1fpass\x1f\x1c"
SOCKS_ADDRESS = b"\0\1\xc0\0\2\7\0\x50"

BINARY = (
    Good(
        "capwin", True, "late",
        far=b"BINGO", heard_far=re.escape(SHOWN), facts={Fact.CREDENTIALS: CREDENTIALS},
    ),
    Good("capwin", False, "middle", near=SHOWN, waits=False),
    Good("capwin", False, "late", heard_near=b"BINGO"),
    Good("capwinctrl", True, "early", near=CREDENTIALS, waits=False, ends=True),
    Good(
        "connect", True, "middle",
        far=b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n",
        heard_far=rb"CONNECT far:443 HTTP/1\.1\r\nHost: far:443\r\n"
        rb"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\nX: y\r\n\r\n",
        terms=Terms(host="far:443", username="user", password="secret", headers=("X: y",)),
    ),
    Good(
        "connect", False, "early",
        near=b"CONNECT 192.0.2.7:80 HTTP/1.1\r\nHost: x\r\n\r\n", heard_near=rb"HTTP/1\.0 200 OK\r\n\r\n",
    ),
    Good(
        "proxy", False, "late",
        heard_far=rb"PROXY TCP4 192\.0\.2\.1 192\.0\.2\.2 1234 25\r\n",
    ),
    Good(
        "socks", True, "late",
        far=b"\5\0\5\0" + SOCKS_ADDRESS,
        heard_far=re.escape(b"\5\1\0\5\1" + SOCKS_ADDRESS),
        terms=Terms(host="192.0.2.7:80"),
    ),
    Good(
        "socks", False, "middle",
        near=b"\5\2\1\0\5\1" + SOCKS_ADDRESS, heard_near=re.escape(b"\5\0"), waits=False,
    ),
    Good(
        "socks", False, "late",
        heard_near=re.escape(b"\5\0" + SOCKS_ADDRESS), facts={Fact.MEMORY: b"\5\0" + SOCKS_ADDRESS},
    ),
    Good(
        "cifs", True, "middle",
        far=b"\x83\0\0\1\x8e", heard_far=re.escape(b"\x81\0\0\0"),
    ),
    Good(
        "cifs", False, "early",
        near=b"\x81\0\0\x04name", heard_near=re.escape(b"\x83\0\0\1\x8e"),
    ),
    Good(
        "ldap", True, "middle",
        far=b"\x30\x0c\2\1\1\x78\7\x0a\1\0\4\0\4\0",
        heard_far=re.escape(b"\x30\x1d\2\1\1\x77\x18\x80\x16" + LDAP_NAME),
    ),
    Good(
        "ldap", False, "early",
        near=b"\x30\x0c\2\1\2\x60\7\2\1\3\4\0\x80\0\x30\x1d\2\1\3\x77\x18\x80\x16" + LDAP_NAME,
        heard_near=rb".*\x02\x01\x02\x61.\x0a\x01\x0d.*\x02\x01\x03\x78.\x0a\x01\x00.*",
    ),
    Good(
        "mysql", True, "middle",
        near=mysql_answer(1, False),
        far=packet(0, MYSQL_GREETING % b"\x0a"),
        heard_near=re.escape(packet(0, MYSQL_GREETING % b"\x02")),
        heard_far=re.escape(packet(1, MYSQL_ABLE % b"\x0a")),
    ),
    Good(
        "mysql", True, "late",
        near=packet(3, b"hash"),
        far=packet(3, b"\xfemethod\0salt\0") + MYSQL_SHORT % b"\5",
        heard_near=re.escape(packet(2, b"\xfemethod\0salt\0") + MYSQL_SHORT % b"\4"),
        heard_far=re.escape(mysql_answer(2, True) + packet(4, b"hash")),
        facts={Fact.MEMORY: Packet(1, mysql_answer(1, False)[4:])},
    ),
    Good(
        "mysql", False, "middle",
        near=packet(1, MYSQL_ABLE % b"\x0a"),
        far=packet(0, MYSQL_GREETING % b"\x02"),
        heard_near=re.escape(packet(0, MYSQL_GREETING % b"\x0a")),
        waits=False,
    ),
    Good(
        "mysql", False, "late",
        near=mysql_answer(2, True),
        far=MYSQL_SHORT % b"\2",
        heard_near=re.escape(MYSQL_SHORT % b"\3"),
        heard_far=re.escape(mysql_answer(1, False)),
    ),
    Good("pgsql", True, "middle", far=b"S", heard_far=re.escape(PGSQL_SSL)),
    Good(
        "pgsql", True, "late",
        near=PGSQL_SSL + PGSQL_START,
        far=PGSQL_TRUSTED,
        heard_near=re.escape(b"N" + PGSQL_TRUSTED),
        heard_far=re.escape(PGSQL_START),
    ),
    Good("pgsql", False, "early", near=PGSQL_SSL, heard_near=b"S"),
)  # fmt: skip

GOOD = (
    *BINARY,
    Good(
        "smtp", True, "middle",
        far=b"220-one\r\n220 two\r\n250-mx\r\n250-SIZE\r\n250 STARTTLS\r\n220 go\r\n",
        heard_near=rb"220-one\r\n220 two\r\n",
        heard_far=rb"EHLO example\.org\r\nSTARTTLS\r\n",
    ),
    Good(
        "smtp", True, "late",
        far=b"250-mx\r\n250 AUTH PLAIN\r\n235 2.7.0 in\r\n",
        heard_far=rb"EHLO example\.org\r\nAUTH PLAIN AHVzZXIAc2VjcmV0\r\n",
    ),
    Good(
        "smtp", True, "late",
        far=b"250 mx\r\n334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 in\r\n",
        heard_far=rb"EHLO localhost\r\nAUTH LOGIN\r\ndXNlcg==\r\nc2VjcmV0\r\n",
        terms=Terms(username="user", password="secret", authentication="login"),
    ),
    Good("smtp", True, "late", terms=Terms(username="user")),
    Good(
        "smtp", False, "middle",
        near=b"EHLO me\r\nSTARTTLS\r\n",
        far=b"220-mx.example.org ESMTP\r\n220-more\r\n220 last\r\n",
        heard_near=rb"220-mx\.example\.org culvert for ESMTP\r\n220-more\r\n220 last\r\n"
        rb"250-mx\.example\.org\r\n250 STARTTLS\r\n220 Go ahead\r\n",
    ),
    Good(
        "lmtp", True, "middle",
        far=b"220 lmtp\r\n250-lmtp\r\n250 STARTTLS\r\n220 go\r\n",
        heard_near=rb"220 lmtp\r\n",
        heard_far=rb"LHLO example\.org\r\nSTARTTLS\r\n",
    ),
    Good(
        "lmtp", False, "middle",
        near=b"lhlo me\r\nstarttls\r\n",
        far=b"220 mx\r\n",
        heard_near=rb"220 mx culvert\r\n250-mx\r\n250 STARTTLS\r\n220 Go ahead\r\n",
    ),
    Good(
        "pop3", True, "middle",
        far=b"+OK hi\r\n+OK go\r\n", heard_near=rb"\+OK hi\r\n", heard_far=rb"STLS\r\n",
    ),
    Good(
        "pop3", False, "middle",
        near=b"CAPA\r\nSTLS\r\n",
        far=b"+OK hi <1@mx>\r\n",
        heard_near=rb"\+OK hi <1@mx> \+ culvert\r\n\+OK .*\r\nSTLS\r\n\.\r\n\+OK .*\r\n",
    ),
    Good(
        "imap", True, "middle",
        far=b"* OK [CAPABILITY IMAP4rev1] hi\r\n* CAPABILITY IMAP4rev1\r\nculvert OK go\r\n",
        heard_near=rb"\* OK Connected\.\r\n",
        heard_far=rb"culvert STARTTLS\r\n",
    ),
    Good(
        "imap", False, "middle",
        near=b"1 capability\r\na.2 STARTTLS\r\n",
        far=b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n* CAPABILITY IMAP4rev1\r\n1 OK done\r\n",
        heard_near=rb"\* OK \[KAPABILITY IMAP4rev1 AUTH=PLAIN\] hi \(culvert\)\r\n"
        rb"\* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n1 OK done\r\n"
        rb"a\.2 OK Begin TLS negotiation now\r\n",
        heard_far=rb"1 CAPABILITY\r\n",
    ),
    Good(
        "nntp", True, "middle",
        far=b"201 hi\r\n382 go\r\n", heard_near=rb"201 hi\r\n", heard_far=rb"STARTTLS\r\n",
    ),
    Good(
        "nntp", False, "middle",
        near=b"CAPABILITIES\r\nMODE READER\r\nSTARTTLS\r\n",
        far=b"200 hi\r\n",
        heard_near=rb"200 hi\r\n101 .*\r\nVERSION 2\r\nSTARTTLS\r\n\.\r\n483 .*\r\n382 .*\r\n",
    ),
    Good(
        "ftp", True, "middle",
        far=b"220-hi\r\n all\r\n220 ready\r\n234 go\r\n",
        heard_near=rb"220-hi\r\n all\r\n220 ready\r\n",
        heard_far=rb"AUTH TLS\r\n",
    ),
    Good(
        "ftp", False, "middle",
        near=b"FEAT\r\nUSER me\r\nAUTH tls\r\n",
        far=b"220 ready\r\n",
        heard_near=rb"220 ready\r\n211-.*\r\n AUTH TLS\r\n211 End\r\n530 .*\r\n234 .*\r\n",
    ),
    Good(
        "irc", True, "middle",
        far=b":irc NOTICE AUTH :hi\r\nPING :42\r\n:irc 670 * :go\r\n",
        heard_far=rb"STARTTLS\r\nPONG :42\r\n",
    ),
    Good(
        "irc", False, "early",
        near=b"CAP LS 302\r\nCAP REQ :sasl\r\nCAP REQ :tls\r\nPING x\r\nSTARTTLS\r\n",
        heard_near=rb":culvert CAP \* LS :tls\r\n:culvert CAP \* NAK :sasl\r\n:culvert CAP \* ACK :tls\r\n"
        rb":culvert PONG culvert x\r\n:culvert 670 \* :.*\r\n",
    ),
    Good(
        "sieve", True, "middle",
        far=b'"IMPLEMENTATION" {7}\r\nCyrus\r\n\r\n"SASL" ""\r\n"STARTTLS"\r\nOK\r\nOK "go"\r\n',
        heard_far=rb"STARTTLS\r\n",
    ),
    Good(
        "sieve", False, "early",
        near=b"CAPABILITY\r\nNOOP\r\nSTARTTLS\r\n",
        heard_near=rb'"IMPLEMENTATION" "Culvert"\r\n.*"STARTTLS"\r\n.*OK "Begin TLS negotiation now\."\r\n',
    ),
    Good("xmpp", True, "middle", far=XMPP_SERVER, heard_far=XMPP_HEARD_BY_SERVER % b"client"),
    Good("xmpp", False, "early", near=XMPP_CLIENT, heard_near=XMPP_HEARD_BY_CLIENT % b"client"),
    Good("xmpp-server", True, "middle", far=XMPP_SERVER, heard_far=XMPP_HEARD_BY_SERVER % b"server"),
    Good("xmpp-server", False, "early", near=XMPP_CLIENT, heard_near=XMPP_HEARD_BY_CLIENT % b"server"),
)  # fmt: skip

HEADERS = tuple(
    Good("proxyfrom", False, "header", near=near + HELLO)
    for near in (
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n",
        b"PROXY UNKNOWN\r\n",
        SIGNATURE + bytes.fromhex("2111 0013 c0000201 c0000202 03e8 01bb 01 0004 68747470"),
        SIGNATURE
        + bytes.fromhex("2121 0024 20010db8000000000000000000000001 20010db8000000000000000000000002")
        + bytes.fromhex("03e8 01bb"),
        SIGNATURE + bytes.fromhex("2000 0000"),
    )
)
"""What the trusted peers of a section with `proxyFrom` begin with; no protocol has it."""
