"""PostgreSQL, MariaDB and OpenLDAP with their own clients, on both sides of Culvert."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.interop.conftest import SECONDS, run
from tests.interop.sections import Running, as_user, sections
from tests.pki import Pki
from tests.proxies import need_program
from tests.proxies.procfs import is_listening
from tests.proxies.running import reserved_port

pytestmark = [pytest.mark.interop, pytest.mark.integration]


class Server(NamedTuple):
    """Where a server listens."""

    port: int
    folder: Path


@contextmanager
def served(command: Sequence[str | Path], port: int, user: str | None = None) -> Iterator[None]:
    """A server, from when it accepts until the block ends."""
    process = subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        **(as_user(user) if user else {}),  # type: ignore[call-overload]
    )
    assert process.stderr is not None
    try:
        while not is_listening(("127.0.0.1", port)):
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.05)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


@pytest.fixture(scope="module")
def short() -> Iterator[Path]:
    """A folder whose path leaves room for the names of Unix sockets, and that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="culvert-db-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def checked(command: Sequence[str | Path], user: str | None = None) -> None:
    done = subprocess.run(
        list(map(str, command)),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        **(as_user(user) if user else {}),  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")


def copied(pki: Pki, folder: Path, user: str) -> tuple[Path, Path]:
    """Certificate and key where the server of another user may read them."""
    cert, key = folder / "server.crt", folder / "server.key"
    shutil.copy(pki.server.chain, cert)
    shutil.copy(pki.server.key, key)
    key.chmod(0o600)
    for each in (cert, key):
        if os.geteuid() == 0:
            shutil.chown(each, user, user)
    return cert, key


def both_ways(pki: Pki, protocol: str, backend: str, secure: str) -> dict[str, str]:
    """Sections: TLS for a plain backend, plain for a TLS server, and one for the other."""
    believes = (
        f"client = yes\nprotocol = {protocol}\nverifyChain = yes\nCAfile = {pki.ca}\ncheckHost = localhost\n"
    )
    return {
        "server": f"protocol = {protocol}\ncert = {pki.server.both}\nconnect = {backend}",
        "client": f"{believes}connect = {secure}",
        "chain": f"{believes}connect = 127.0.0.1:{{server}}",
    }


# PostgreSQL -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres(pki: Pki, short: Path) -> Iterator[Server]:
    folder = short / "postgres"
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    checked(
        [need_program("initdb"), "-D", data, "-A", "scram-sha-256", "-U", "me", "-N",
         f"--pwfile={_password(folder)}", "--no-locale"], "postgres",
    )  # fmt: skip
    cert, key = copied(pki, folder, "postgres")
    with reserved_port() as port:
        options = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder), "fsync": "off",
            "ssl": "on", "ssl_cert_file": str(cert), "ssl_key_file": str(key),
        }  # fmt: skip
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with served([need_program("postgres"), "-D", data, "-p", str(port), *words], port, "postgres"):
            yield Server(port, folder)


def _password(folder: Path) -> Path:
    file = folder / "password"
    file.write_text("secret\n")
    file.chmod(0o644)
    return file


@pytest.fixture(scope="module")
def pgsql(pki: Pki, postgres: Server, short: Path) -> Iterator[Running]:
    texts = both_ways(pki, "pgsql", f"127.0.0.1:{postgres.port}", f"127.0.0.1:{postgres.port}")
    with sections(short / "pgsql", texts) as culvert:
        yield culvert


def psql(port: int, query: str, **options: str) -> subprocess.CompletedProcess[bytes]:
    facts = {"host": "127.0.0.1", "port": str(port), "user": "me", "password": "secret", "dbname": "postgres"}
    words = " ".join(f"{name}={value}" for name, value in (facts | options).items())
    return run("psql", "-X", "-A", "-t", words, "-c", query)


ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


@pytest.mark.parametrize("gssencmode", ["disable", "prefer"])
def test_psql_with_tls_reaches_a_backend_in_clear(pgsql: Running, pki: Pki, gssencmode: str) -> None:
    more = {"sslmode": "verify-full", "sslrootcert": str(pki.ca), "gssencmode": gssencmode}
    found = psql(pgsql.port["server"], ENCRYPTED, host="localhost", hostaddr="127.0.0.1", **more)
    assert (found.stdout, found.stderr) == (b"f\n", b"")


@pytest.mark.parametrize(("section", "encrypted"), [("client", b"t\n"), ("chain", b"f\n")])
def test_psql_without_tls_reaches_a_server_with_it(pgsql: Running, section: str, encrypted: bytes) -> None:
    for modes in ({"sslmode": "disable", "gssencmode": "disable"}, {}):
        found = psql(pgsql.port[section], ENCRYPTED, **modes)
        assert (found.stdout, found.stderr) == (encrypted, b"")


def test_psql_without_tls_is_told_that_it_is_required(pgsql: Running) -> None:
    found = psql(pgsql.port["server"], ENCRYPTED, sslmode="disable", gssencmode="disable")
    assert b"FATAL:  TLS is required" in found.stderr


@pytest.mark.parametrize("query", ["select 1", "select repeat('x', 3000000)"])
def test_what_is_asked_is_answered_whole(pgsql: Running, query: str) -> None:
    found = psql(pgsql.port["chain"], query, sslmode="disable", gssencmode="disable")
    assert len(found.stdout.strip()) == (1 if query == "select 1" else 3_000_000)


def test_a_client_that_begins_with_tls_is_served(pgsql: Running, pki: Pki) -> None:
    """`sslnegotiation = direct` of libpq 17; ALPN as the service has it, which is none here."""
    context = ssl.create_default_context(cafile=str(pki.ca))
    start = b"\0\3\0\0user\0me\0database\0postgres\0\0"
    with (
        socket.create_connection(("127.0.0.1", pgsql.port["server"]), SECONDS) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        tls.sendall((len(start) + 4).to_bytes(4, "big") + start)
        assert tls.recv(1) == b"R"
        assert b"SCRAM-SHA-256" in tls.recv(100)


# MariaDB --------------------------------------------------------------------------------------------------


def _install(data: Path, own: str) -> None:
    """Make the tables of a new server; Debian's script for that has been seen to fail once under load."""
    command = [need_program("mariadb-install-db"), "--no-defaults", f"--datadir={data}", own]
    command += ["--skip-test-db", "--auth-root-authentication-method=normal"]
    try:
        checked(command)
    except AssertionError:
        shutil.rmtree(data, ignore_errors=True)
        checked(command)


@pytest.fixture(scope="module")
def mariadb(pki: Pki, short: Path) -> Iterator[Server]:
    folder = short / "mariadb"
    folder.mkdir()
    data = folder / "data"
    own = "--user=root" if os.geteuid() == 0 else "--user=" + os.environ.get("USER", "")
    _install(data, own)
    grants = folder / "grants.sql"
    grants.write_text(
        "INSTALL SONAME 'auth_ed25519';\n"
        "FLUSH PRIVILEGES;\n"
        "CREATE USER native@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('secret');\n"
        "CREATE USER modern@'%' IDENTIFIED VIA ed25519 USING PASSWORD('secret');\n"
        "CREATE USER strict@'%' IDENTIFIED VIA ed25519 USING PASSWORD('secret') REQUIRE SSL;\n"
    )
    with reserved_port() as port:
        command = [
            need_program("mariadbd"), "--no-defaults", own, f"--datadir={data}", f"--port={port}",
            "--bind-address=127.0.0.1", f"--socket={folder}/sock", f"--pid-file={folder}/pid",
            f"--init-file={grants}", f"--ssl-cert={pki.server.chain}", f"--ssl-key={pki.server.key}",
            "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0",
        ]  # fmt: skip
        with served(command, port):
            yield Server(port, folder)


@pytest.fixture(scope="module")
def mysql(pki: Pki, mariadb: Server, short: Path) -> Iterator[Running]:
    texts = both_ways(pki, "mysql", str(mariadb.folder / "sock"), f"127.0.0.1:{mariadb.port}")
    texts["by-tcp"] = texts["server"].replace(str(mariadb.folder / "sock"), f"127.0.0.1:{mariadb.port}")
    with sections(short / "mysql", texts) as culvert:
        yield culvert


def query(
    port: int, user: str, *options: str | Path, password: str = "secret"
) -> subprocess.CompletedProcess[bytes]:
    return run(
        "mariadb", "--no-defaults", "--protocol=tcp", "-h127.0.0.1", f"-P{port}", f"-u{user}",
        f"-p{password}", *options, "-NBe", "select current_user(); show status like 'Ssl_version'",
    )  # fmt: skip


@pytest.mark.parametrize("user", ["native", "modern"])
@pytest.mark.parametrize("section", ["server", "by-tcp"])
def test_a_mysql_client_with_tls_reaches_a_backend_in_clear(
    mysql: Running, pki: Pki, section: str, user: str
) -> None:
    found = query(mysql.port[section], user, f"--ssl-ca={pki.ca}", "--ssl-verify-server-cert", "-hlocalhost")
    assert (found.stdout, found.stderr) == (f"{user}@%\nSsl_version\t\n".encode(), b"")


@pytest.mark.parametrize("user", ["native", "modern", "strict"])
def test_a_mysql_client_without_tls_reaches_a_server_with_it(mysql: Running, user: str) -> None:
    found = query(mysql.port["client"], user, "--skip-ssl")
    assert found.stderr == b""
    assert found.stdout.startswith(f"{user}@%\nSsl_version\tTLSv1.".encode())


@pytest.mark.parametrize("user", ["native", "modern"])
def test_the_numbers_are_right_through_both(mysql: Running, user: str) -> None:
    found = query(mysql.port["chain"], user, "--skip-ssl")
    assert (found.stdout, found.stderr) == (f"{user}@%\nSsl_version\t\n".encode(), b"")


@pytest.mark.parametrize("section", ["server", "client", "chain"])
def test_a_wrong_password_is_told_by_the_server(mysql: Running, pki: Pki, section: str) -> None:
    options = [f"--ssl-ca={pki.ca}"] if section == "server" else ["--skip-ssl"]
    found = query(mysql.port[section], "modern", *options, password="wrong")
    assert b"ERROR 1045 (28000): Access denied for user 'modern'" in found.stderr


def test_a_mysql_client_without_tls_is_told_that_it_is_required(mysql: Running) -> None:
    found = query(mysql.port["server"], "native", "--skip-ssl")
    assert b"ERROR 3159" in found.stderr
    assert b"insecure transport" in found.stderr


# OpenLDAP -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slapd(pki: Pki, short: Path) -> Iterator[Server]:
    folder = short / "ldap"
    (folder / "data").mkdir(parents=True)
    file = folder / "slapd.conf"
    file.write_text(
        "include /etc/ldap/schema/core.schema\n"
        f"TLSCertificateFile {pki.server.chain}\nTLSCertificateKeyFile {pki.server.key}\n"
        "modulepath /usr/lib/ldap\nmoduleload back_mdb\n"
        f"database mdb\nsuffix dc=x\nrootdn cn=me,dc=x\nrootpw secret\ndirectory {folder}/data\n"
    )
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port())
        command: list[str | Path] = [
            need_program("slapd"),
            "-d0",
            "-f",
            file,
            "-h",
            f"ldap://127.0.0.1:{port}",
        ]
        stack.enter_context(served(command, port))
        yield Server(port, folder)


@pytest.fixture(scope="module")
def ldap(pki: Pki, slapd: Server, short: Path) -> Iterator[Running]:
    texts = both_ways(pki, "ldap", f"127.0.0.1:{slapd.port}", f"127.0.0.1:{slapd.port}")
    with sections(short / "ldap-culvert", texts) as culvert:
        yield culvert


def whoami(port: int, *options: str, ca: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """By its number: libldap takes `localhost` for the name of the machine."""
    environment = {**os.environ, "LDAPTLS_CACERT": str(ca), "LDAPTLS_REQCERT": "demand"}
    command = [
        need_program("ldapwhoami"),
        "-x",
        "-H",
        f"ldap://127.0.0.1:{port}",
        "-D",
        "cn=me,dc=x",
        "-w",
        "secret",
    ]
    return subprocess.run(
        [*command, *options], env=environment, capture_output=True, timeout=SECONDS, check=False
    )


@pytest.mark.parametrize(("section", "option"), [("server", "-ZZ"), ("client", ""), ("chain", "")])
def test_openldap_binds_through(ldap: Running, pki: Pki, section: str, option: str) -> None:
    found = whoami(ldap.port[section], *([option] if option else []), ca=pki.ca)
    assert (found.stdout, found.stderr) == (b"dn:cn=me,dc=x\n", b"")


def test_a_bind_before_start_tls_is_refused_with_the_right_code(ldap: Running) -> None:
    found = whoami(ldap.port["server"])
    assert found.returncode == 13
    assert b"Confidentiality required (13)" in found.stderr


# OpenSSL --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "fixture"), [("postgres", "pgsql"), ("mysql", "mysql"), ("ldap", "ldap")]
)
def test_s_client_starts_tls(protocol: str, fixture: str, request: pytest.FixtureRequest, pki: Pki) -> None:
    culvert: Running = request.getfixturevalue(fixture)
    found = run(
        "openssl", "s_client", "-starttls", protocol, "-connect", f"127.0.0.1:{culvert.port['server']}",
        "-CAfile", pki.ca, "-verify_return_error", "-verify_hostname", "localhost",
    )  # fmt: skip
    assert b"Verify return code: 0 (ok)" in found.stdout
