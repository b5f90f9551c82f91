"""Real servers, and real clients of other projects, around Culvert in both modes of every text protocol."""

from __future__ import annotations

import ftplib
import imaplib
import poplib
import smtplib
import socket
import ssl
import subprocess

import pytest

from tests.pki import Pki
from tests.protocols.conftest import STUNNEL_CLIENT, STUNNEL_SERVER, Field
from tests.protocols.dialogues import DIALOGUE, SECONDS, heard, hold
from tests.protocols.instances import PASSWORD, USER
from tests.proxies import need_program

# One worker of pytest-xdist starts the servers, and holds all of these tests.
pytestmark = [pytest.mark.interop, pytest.mark.integration, pytest.mark.xdist_group("protocols")]

PROTOCOLS = tuple(DIALOGUE)
MAIL = "From: a@example.org\r\nTo: b@example.org\r\nSubject: hello\r\n\r\nhello\r\n"


def trusting(pki: Pki) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pki.ca))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_openssl_upgrades_to_a_server_of_ours(field: Field, pki: Pki, protocol: str) -> None:
    field.need(protocol)
    command = [
        need_program("openssl"), "s_client", "-quiet", "-verify_return_error",
        "-CAfile", str(pki.ca), "-verify_hostname", "localhost", "-name", "example.org",
        "-connect", f"127.0.0.1:{field.server[protocol]}", "-starttls", protocol,
    ]  # fmt: skip
    ours, theirs = socket.socketpair()
    end, quiet = theirs.fileno(), subprocess.DEVNULL
    with ours, subprocess.Popen(command, stdin=end, stdout=end, stderr=quiet) as process:
        theirs.close()
        try:
            for sent, expected in DIALOGUE[protocol]:
                ours.sendall(sent)
                heard(ours, expected)
        finally:
            process.kill()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_of_ours_upgrades_at_a_real_server(field: Field, protocol: str) -> None:
    field.need(protocol)
    hold(field.client[protocol], protocol)


@pytest.mark.parametrize("protocol", STUNNEL_CLIENT)
def test_a_stunnel_client_upgrades_to_a_server_of_ours(field: Field, protocol: str) -> None:
    field.need(protocol, stunnel=True)
    hold(field.from_stunnel[protocol], protocol)


@pytest.mark.parametrize("protocol", STUNNEL_SERVER)
def test_a_client_of_ours_upgrades_at_a_stunnel_server(field: Field, protocol: str) -> None:
    field.need(protocol, stunnel=True)
    hold(field.to_stunnel[protocol], protocol)


def test_mail_is_handed_over_after_starttls(field: Field, pki: Pki) -> None:
    field.need("smtp")
    with smtplib.SMTP("localhost", field.server["smtp"], timeout=SECONDS) as mail:
        mail.starttls(context=trusting(pki))
        mail.login(USER, PASSWORD)
        mail.sendmail("a@example.org", ["b@example.org"], MAIL)


@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_a_client_of_ours_logs_in_for_who_cannot(field: Field, mechanism: str) -> None:
    field.need("smtp")
    with smtplib.SMTP("127.0.0.1", field.logins[mechanism], timeout=SECONDS) as mail:
        assert mail.ehlo()[0] == 250
        mail.sendmail("a@example.org", ["b@example.org"], MAIL)  # only who has logged in may


def test_lmtp_delivers_after_starttls(field: Field, pki: Pki) -> None:
    field.need("lmtp")
    with smtplib.LMTP("localhost", field.server["lmtp"]) as mail:
        mail.starttls(context=trusting(pki))
        mail.sendmail("a@example.org", ["user"], MAIL)


def test_imap_logs_in_after_starttls(field: Field, pki: Pki) -> None:
    field.need("imap")
    with imaplib.IMAP4("localhost", field.server["imap"], timeout=SECONDS) as mail:
        assert "LOGINDISABLED" in mail.capabilities
        mail.starttls(trusting(pki))
        mail.login(USER, PASSWORD)
        assert mail.select()[0] == "OK"


def test_pop3_logs_in_after_stls(field: Field, pki: Pki) -> None:
    field.need("pop3")
    mail = poplib.POP3("localhost", field.server["pop3"], timeout=SECONDS)
    mail.stls(trusting(pki))
    mail.user(USER)
    mail.pass_(PASSWORD)
    assert mail.quit().startswith(b"+OK")


def test_ftp_fetches_a_file_with_tls_on_its_control_connection(field: Field, pki: Pki) -> None:
    field.need("ftp")
    with ftplib.FTP_TLS(context=trusting(pki), timeout=SECONDS) as ftp:
        ftp.connect("localhost", field.server["ftp"])
        ftp.login()
        lines: list[str] = []
        ftp.retrlines("RETR greeting", lines.append)
        assert lines == ["hello"]


def test_ftp_fetches_a_file_through_a_client_of_ours(field: Field) -> None:
    field.need("ftp")
    with ftplib.FTP(timeout=SECONDS) as ftp:
        ftp.connect("127.0.0.1", field.client["ftp"])
        ftp.login()
        lines: list[str] = []
        ftp.retrlines("RETR greeting", lines.append)
        assert lines == ["hello"]


@pytest.mark.parametrize(
    ("protocol", "url", "more"),
    [
        ("smtp", "smtp://localhost:{}", ["--ssl-reqd", "-X", "NOOP"]),
        ("imap", "imap://localhost:{}/", ["--ssl-reqd", "-u", f"{USER}:{PASSWORD}"]),
        ("pop3", "pop3://localhost:{}/", ["--ssl-reqd", "-u", f"{USER}:{PASSWORD}"]),
        ("ftp", "ftp://localhost:{}/greeting", ["--ftp-ssl-control"]),
    ],
)
def test_curl_demands_tls_and_gets_it(
    field: Field, pki: Pki, protocol: str, url: str, more: list[str]
) -> None:
    field.need(protocol)
    command = [need_program("curl"), "-sS", "--noproxy", "*", "--cacert", str(pki.ca), *more]
    done = subprocess.run(
        [*command, url.format(field.server[protocol])],
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("protocol", ["smtp", "imap"])
def test_a_client_may_speak_tls_at_once(field: Field, pki: Pki, protocol: str) -> None:
    field.need(protocol)
    with (
        socket.create_connection(("localhost", field.server[protocol]), SECONDS) as raw,
        trusting(pki).wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        heard(tls, rb"\r\n")


# Hostile peers over real sockets; tests/negotiate has all of them without sockets.


@pytest.mark.parametrize(
    ("protocol", "hello"), [("smtp", b"EHLO x\r\n"), ("imap", b""), ("pop3", b""), ("xmpp", b"")]
)
def test_commands_behind_starttls_are_not_obeyed(field: Field, protocol: str, hello: bytes) -> None:
    field.need(protocol)
    before = field.culvert.output.count("Plaintext behind the go-ahead of TLS")
    last = {
        "smtp": b"STARTTLS\r\nMAIL FROM:<x@example.org>\r\n",
        "imap": b"a STARTTLS\r\nb LOGIN user secret-word\r\n",
        "pop3": b"STLS\r\nUSER user\r\n",
        "xmpp": b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><iq/>",
    }[protocol]
    with socket.create_connection(("127.0.0.1", field.server[protocol]), SECONDS) as sock:
        sock.settimeout(SECONDS)
        if protocol == "xmpp":
            sock.sendall(DIALOGUE["xmpp"][0][0])
            heard(sock, rb"</stream:features>")
        else:
            heard(sock, rb"\r\n")
        if hello:
            sock.sendall(hello)
            heard(sock, rb"STARTTLS\r\n")
        sock.sendall(last)
        with pytest.raises(AssertionError, match="reset by peer"):
            heard(sock, b"go ahead|Begin TLS|starts TLS|proceed")
    field.culvert.wait_line("Plaintext behind the go-ahead of TLS", count=before + 1)


def test_the_log_has_no_password(field: Field) -> None:
    assert field.culvert.output.count(" -> AUTH PLAIN *****") == field.culvert.output.count(" -> AUTH PLAIN")
    assert PASSWORD not in field.culvert.output
