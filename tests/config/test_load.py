"""What becomes of lines: inheritance, repetition, order, positions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from culvert.config import Configuration, Service, load_descriptor, load_file, load_text
from culvert.config.draft import Draft
from culvert.config.model import SERVICE, SERVICE_NAMES
from culvert.config.options import Merge
from culvert.errors import ConfigErrors, Where

SERVER = "accept = 127.0.0.1:443\nconnect = 127.0.0.1:80\n"


def _service(section: str = "", defaults: str = "", ends: str = SERVER) -> Service:
    (service,) = load_text(f"cert = web.pem\n{defaults}[web]\n{ends}{section}", "conf").services
    return service


def _errors(text: str) -> str:
    with pytest.raises(ConfigErrors) as refused:
        load_text(text, "conf")
    return str(refused.value)


def test_the_kernels_tls_is_refused_at_its_own_line() -> None:
    text = f"cert = web.pem\n[web]\n{SERVER}options = NO_TICKET\noptions = ENABLE_KTLS\noptions = NO_TLSv1\n"
    assert _errors(text).startswith(
        "conf:6: options: ENABLE_KTLS is not available in this version of Culvert: "
    )


# Lists: which lines count when both parts of the file have some


@pytest.mark.parametrize(
    ("option", "attribute", "first", "second"),
    [
        ("accept", "accept", "127.0.0.1:1", "127.0.0.1:2"),
        ("connect", "connect", "127.0.0.1:1", "127.0.0.1:2"),
        ("cert", "cert", "one.pem", "two.pem"),
        ("checkHost", "check_host", "one.example", "two.example"),
        ("checkEmail", "check_email", "one@example.org", "two@example.org"),
        ("checkIP", "check_ip", "192.0.2.1", "192.0.2.2"),
    ],
)
def test_the_first_line_of_a_section_discards_the_global_list(
    option: str, attribute: str, first: str, second: str
) -> None:
    rest = "".join(line for line in SERVER.splitlines(keepends=True) if not line.startswith(option))
    verify = "verifyChain = yes\nCAfile = ca.pem\n"

    def effective(defaults: tuple[str, ...], section: tuple[str, ...]) -> list[str]:
        lines = ["".join(f"{option} = {value}\n" for value in values) for values in (defaults, section)]
        cert = "" if option == "cert" else "cert = web.pem\n"
        (service,) = load_text(f"{cert}{verify}{lines[0]}[web]\n{rest}{lines[1]}").services
        return [str(value) for value in getattr(service, attribute)]

    assert effective((first, second), ()) == [first, second]
    assert effective((), (first, second)) == [first, second]
    assert effective((first,), (second,)) == [second]
    assert effective((first, first), (second, second)) == [second, second]


@pytest.mark.parametrize(
    ("option", "attribute", "first", "second"),
    [("options", "options", "NO_TICKET", "-NO_SSLv3")],
)
def test_bit_sets_of_both_parts_add_up(option: str, attribute: str, first: str, second: str) -> None:
    assert getattr(_service("", f"{option} = {first}\n"), attribute) == (first,)
    assert getattr(_service(f"{option} = {second}\n"), attribute) == (second,)
    assert getattr(_service(f"{option} = {second}\n", f"{option} = {first}\n"), attribute) == (first, second)
    assert getattr(_service(f"{option} = {first}\n", f"{option} = {first}\n"), attribute) == (first,)


def test_every_repeatable_option_of_services_has_its_rule() -> None:
    rules = {each.name: each.merge for each in SERVICE if each.repeatable and each.name != "include"}
    assert {name for name, merge in rules.items() if merge is Merge.JOIN} == {
        "CAengine",
        "OCSPflag",
        "options",
        "socket",
    }
    lists = "accept connect redirect cert config checkHost checkEmail checkIP pin protocolHeader"
    lists += " allow deny allowUid allowGid proxyFrom socksAllow socksDeny sni"
    assert {name for name, merge in rules.items() if merge is Merge.LIST} == set(lists.split())


@pytest.mark.parametrize(
    ("option", "values", "expected"),
    [
        ("config", ("A:1", "B:2"), "second"),
        ("protocolHeader", ("A: 1", "B: 2"), "second"),
        ("CAengine", ("one", "two"), "both"),
        ("OCSPflag", ("NOCERTS", "NOSIGS"), "both"),
    ],
)
def test_options_that_are_not_available_are_inherited_by_the_same_rules(
    option: str, values: tuple[str, str], expected: str
) -> None:
    described = SERVICE_NAMES[option.lower()]
    parsed = [described.kind.parse(value) for value in values]
    defaults = Draft("", None)
    defaults.set(described, parsed[0], Where("conf", 1))
    section = Draft("web", None, defaults)
    section.set(described, parsed[1], Where("conf", 2))
    effective = section.values()[described.attribute]
    assert effective == (tuple(parsed) if expected == "both" else (parsed[1],))
    assert defaults.values()[described.attribute] == (parsed[0],)


def test_a_section_does_not_change_the_defaults_of_the_next() -> None:
    text = (
        f"cert = web.pem\noptions = NO_TICKET\n[one]\n{SERVER}cert = one.pem\noptions = ALL\n[two]\n{SERVER}"
    )
    one, two = load_text(text).services
    assert (one.cert, one.options) == (("one.pem",), ("NO_TICKET", "ALL"))
    assert (two.cert, two.options) == (("web.pem",), ("NO_TICKET",))


def test_a_scalar_of_a_section_replaces_the_default_and_the_last_line_wins() -> None:
    assert _service("", "TIMEOUTidle = 5\n").timeout_idle == 5.0
    assert _service("TIMEOUTidle = 6\nTIMEOUTidle = 7\n", "TIMEOUTidle = 5\n").timeout_idle == 7.0


def test_defaults_may_stand_only_before_the_first_section_and_hold_for_all() -> None:
    text = f"cert = web.pem\ndelay = yes\n[one]\n{SERVER}[two]\n{SERVER}delay = no\n"
    assert [each.delay for each in load_text(text).services] == [True, False]


# Tables: socket


def _value(service: Service, slot: str, name: str) -> object:
    return next((each.value for each in service.socket if (each.slot, each.name) == (slot, name)), None)


def test_socket_options_are_merged_by_slot_and_name() -> None:
    service = _service(
        "socket = r:TCP_NODELAY=no\n", "socket = l:TCP_NODELAY=no\nsocket = r:SO_RCVBUF=4096\n"
    )
    assert _value(service, "r", "TCP_NODELAY") == 0
    assert _value(service, "l", "TCP_NODELAY") == 0
    assert _value(service, "r", "SO_RCVBUF") == 4096
    assert _value(service, "a", "SO_REUSEADDR") == 1


def test_a_section_overrides_a_socket_option_of_the_global_part_only_where_it_names_it() -> None:
    text = (
        "cert = web.pem\nsocket = l:SO_RCVBUF=1000\n"
        f"[one]\n{SERVER}socket = l:SO_RCVBUF=2000\nsocket = l:SO_RCVBUF=3000\n[two]\n{SERVER}"
    )
    one, two = load_text(text).services
    assert _value(one, "l", "SO_RCVBUF") == 3000
    assert _value(two, "l", "SO_RCVBUF") == 1000


# Verification: four options, one state, order matters


@pytest.mark.parametrize(
    ("lines", "ask", "require", "chain", "peer"),
    [
        ("", False, False, False, False),
        ("verify = 0", True, False, False, False),
        ("verify = 1", True, False, True, False),
        ("verify = 2", True, True, True, False),
        ("verify = 3", True, True, True, True),
        ("verify = 4", True, True, False, True),
        ("verifyChain = yes", True, True, True, False),
        ("verifyPeer = yes", True, True, False, True),
        ("verifyChain = yes\nverifyPeer = yes", True, True, True, True),
        ("requireCert = yes", True, True, False, False),
        ("requireCert = no", False, False, False, False),
        ("verifyChain = yes\nrequireCert = no", True, False, True, False),
        ("requireCert = no\nverifyChain = yes", True, True, True, False),
        ("verify = 3\nverifyChain = no", True, True, False, True),
        ("verifyPeer = yes\nverify = 1", True, False, True, False),
        ("verify = 1\nverifyPeer = yes", True, True, True, True),
        ("verifyChain = yes\nverifyChain = no", True, True, False, False),
    ],
)
@pytest.mark.parametrize("split", [0, 1])
def test_the_last_of_the_verification_switches_wins(
    lines: str, ask: bool, require: bool, chain: bool, peer: bool, split: int
) -> None:
    each = [f"{line}\n" for line in lines.splitlines()]
    service = _service("".join(each[split:]), "CAfile = ca.pem\n" + "".join(each[:split]))
    flags = (service.request_cert, service.require_cert, service.verify_chain, service.verify_peer)
    assert flags == (ask, require, chain, peer)


# Protocol versions


@pytest.mark.parametrize(
    ("lines", "oldest", "newest"),
    [
        ("", "TLSv1.2", None),
        ("sslVersion = TLSv1.3", "TLSv1.3", "TLSv1.3"),
        ("sslVersion = all", None, None),
        ("sslVersionMin = TLSv1.3", "TLSv1.3", None),
        ("sslVersionMin = all", None, None),
        ("sslVersionMax = TLSv1.2", "TLSv1.2", "TLSv1.2"),
        ("sslVersionMax = TLSv1.1", "TLSv1.1", "TLSv1.1"),
        ("sslVersionMax = TLSv1.1\nsslVersionMin = TLSv1", "TLSv1", "TLSv1.1"),
        ("sslVersion = TLSv1.3\nsslVersionMin = TLSv1.2", "TLSv1.2", "TLSv1.3"),
        ("sslVersionMin = TLSv1.2\nsslVersion = TLSv1.3", "TLSv1.3", "TLSv1.3"),
    ],
)
def test_protocol_versions(lines: str, oldest: str | None, newest: str | None) -> None:
    service = _service(f"{lines}\n")
    assert (service.ssl_version_min, service.ssl_version_max) == (oldest, newest)


# The global part


def test_debug_of_the_global_part_serves_the_daemon_and_the_sections() -> None:
    configuration = load_text(
        f"cert = web.pem\ndebug = local3.info\n[web]\n{SERVER}[loud]\n{SERVER}debug = 7\n"
    )
    assert (configuration.options.debug, configuration.options.facility) == (6, "local3")
    assert [each.debug for each in configuration.services] == [6, 7]


def test_a_level_without_a_facility_leaves_the_facility_as_it_was() -> None:
    options = load_text(f"cert = web.pem\ndebug = local3.info\ndebug = 7\n[web]\n{SERVER}").options
    assert (options.debug, options.facility) == (7, "local3")


def test_service_of_the_global_part_names_the_daemon_and_of_a_section_the_section() -> None:
    configuration = load_text(
        f"cert = web.pem\nservice = front\n[one]\n{SERVER}[two]\n{SERVER}service = deux\n"
    )
    assert configuration.options.service == "front"
    assert [each.name for each in configuration.services] == ["one", "deux"]


def test_workers() -> None:
    assert load_text(f"cert = a\n[web]\n{SERVER}").options.workers is None
    assert load_text(f"workers = AUTO\ncert = a\n[web]\n{SERVER}").options.workers is None
    assert load_text(f"workers = 3\ncert = a\n[web]\n{SERVER}").options.workers == 3


def test_a_file_without_a_section_is_inetd_mode() -> None:
    found = load_text("cert = web.pem\nconnect = 127.0.0.1:80\n")
    assert found.inetd
    assert [each.name for each in found.services] == ["stunnel"]
    named = load_text("service = mine\ncert = web.pem\nconnect = 127.0.0.1:80\n")
    assert [each.name for each in named.services] == ["mine"]
    assert not load_text(f"cert = a\n[web]\n{SERVER}").inetd


# Values


def test_a_negative_time_is_for_ever() -> None:
    service = _service("TIMEOUTidle = -1\nTIMEOUTclose = 0\n")
    assert (service.timeout_idle, service.timeout_close) == (None, 0.0)


def test_delay_forces_the_order_of_priorities() -> None:
    assert _service("failover = rr\n").failover == "rr"
    assert _service("failover = rr\ndelay = yes\n").failover == "prio"


def test_an_empty_value_unsets_the_trusted_certificates() -> None:
    service = _service("CAfile =\nCApath =\n", "CAfile = ca.pem\nCApath = certs\n")
    assert (service.ca_file, service.ca_path) == (None, None)


def test_an_empty_server_name_of_a_client_is_not_the_same_as_none() -> None:
    assert _service("client = yes\n").sni == ()
    assert _service("client = yes\nsni =\n").sni == ("",)


def test_names_of_options_match_in_any_case() -> None:
    service = _service("tImEoUtIdLe = 5\ncafile = ca.pem\nVERIFYCHAIN = YES\n")
    assert (service.timeout_idle, service.ca_file, service.verify_chain) == (5.0, "ca.pem", True)


def test_old_names_mean_the_same() -> None:
    service = _service("session = 60\ncurve = P-256\n")
    assert (service.session_cache_timeout, service.curves) == (60.0, "P-256")


def test_secrets_are_not_shown() -> None:
    key = "00112233445566778899aabbccddeeff"
    service = _service(f"ticketKeySecret = {key}\nticketMacSecret = {key}\n")
    assert service.ticket_key_secret == bytes.fromhex(key)
    assert "ticket_key_secret" not in repr(service)


@pytest.mark.parametrize("position", range(16))
def test_secrets_may_contain_zeros(position: int) -> None:
    key = bytes(0 if each == position else 0x41 for each in range(16))
    lines = f"ticketKeySecret = {key.hex(':')}\nticketMacSecret = {key.hex()}\n"
    assert _service("", lines).ticket_key_secret == key
    assert _service(lines).ticket_mac_secret == key


# Positions


def test_every_value_knows_its_line() -> None:
    service = _service("TIMEOUTidle = 5\n", "delay = yes\n")
    assert service.at == Where("conf", 3)
    assert service.where("timeout_idle") == Where("conf", 6)
    assert service.where("delay") == Where("conf", 2)
    assert service.where("key") == Where("conf", 3)


def test_errors_come_in_the_order_of_the_lines() -> None:
    told = _errors("wrong = 1\n[web]\ncert = a\nconnect = 80\nwrong = 2\n").splitlines()
    assert [line.split(":")[1] for line in told] == ["1", "2", "5"]


def test_a_wrong_default_is_told_once_for_all_sections() -> None:
    sections = "".join(f"[s{number}]\naccept = {number}\nconnect = 80\n" for number in range(1, 9))
    assert len(_errors(f"transport = udp\ncert = a\n{sections}").splitlines()) == 1


def test_warnings_are_told_besides_errors() -> None:
    with pytest.raises(ConfigErrors) as refused:
        load_text("wrong = 1\n[web]\nclient = yes\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\n", "conf")
    assert [str(each) for each in refused.value.warnings] == [
        "conf:2: Service [web] needs authentication to prevent MITM attacks"
    ]


# Sources


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "culvert.conf"
    path.write_text(f"cert = web.pem\n[web]\n{SERVER}")
    configuration = load_file(path)
    assert configuration.source == str(path)
    assert configuration.services[0].at == Where(str(path), 2)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as refused:
        load_file(tmp_path / "none.conf")
    (error, *_rest) = refused.value.errors
    assert "Cannot open configuration file" in error.reason


def test_a_descriptor_is_read_and_closed() -> None:
    reading, writing = os.pipe()
    os.write(writing, f"cert = web.pem\n[web]\n{SERVER}".encode())
    os.close(writing)
    configuration = load_descriptor(reading)
    assert configuration.source == f"descriptor {reading}"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(reading)


@pytest.mark.parametrize("descriptor", [-1, 987_654, 1 << 70])
def test_a_descriptor_that_is_not_open(descriptor: int) -> None:
    with pytest.raises(ConfigErrors, match="Cannot read the configuration"):
        load_descriptor(descriptor)


def test_ten_thousand_sections_are_read_whole() -> None:
    sections = (
        f"[s{n}]\naccept = 127.0.0.1:{n + 1}\nconnect = 80\nTIMEOUTclose = {n}\n" for n in range(10_000)
    )
    configuration: Configuration = load_text("cert = web.pem\n" + "".join(sections))
    assert [each.timeout_close for each in configuration.services] == [float(n) for n in range(10_000)]
