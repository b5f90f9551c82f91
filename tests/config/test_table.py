"""The table of options describes everything, and nothing in it is ignored."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import culvert
from culvert.config import Service, load_text
from culvert.config.model import GLOBAL, GLOBAL_NAMES, SERVICE, SERVICE_NAMES, GlobalOptions
from culvert.config.options import Option
from culvert.errors import ConfigErrors

EVERY = {id(each): each for each in (*GLOBAL, *SERVICE)}.values()
ROOT = Path(culvert.__file__).parent

# A value that asks for something, for every option that is not available.
ASKING = {
    "iconActive": "a.ico",
    "iconError": "e.ico",
    "iconIdle": "i.ico",
    "transport": "udp",
}
HARMLESS = {"taskbar"}  # whatever it says, there is no icon

# Options that nothing outside the configuration has to read.
SETTLED = {
    "engine": "one of the acts",
    "engineCtrl": "one of the acts",
    "engineDefault": "one of the acts",
    "include": "obeyed by the reader",
    "stack": "without effect, and said so",
    "taskbar": "a Windows option",
    "verify": "becomes request_cert, require_cert, verify_chain and verify_peer",
    "sslVersion": "becomes ssl_version_min and ssl_version_max",
}


def _named(option: Option) -> str:
    return option.name


@pytest.mark.parametrize("option", EVERY, ids=_named)
def test_every_option_is_described(option: Option) -> None:
    assert option.help.endswith(".")
    assert option.help[0].isupper()
    assert option.kind.shown
    assert option.since == "Culvert" or option.since.split(".")[0] in ("4", "5")
    assert isinstance(option.default_text, str)
    if option.missing:
        assert "not available" in option.missing or "Windows" in option.missing
        assert not option.missing.endswith(".")


@pytest.mark.parametrize(
    "option", [each for each in EVERY if each.default_text and not each.shown], ids=_named
)
def test_a_default_as_it_is_shown_can_be_written_in_the_file(option: Option) -> None:
    values = option.default if option.repeatable else (option.default,)
    assert isinstance(values, tuple)
    for value in values:
        assert option.kind.parse(option.kind.render(value)) == value


def test_the_attribute_of_an_option_is_a_field_of_the_model() -> None:
    for model, table in ((GlobalOptions, GLOBAL), (Service, SERVICE)):
        missing = {each.attribute for each in table} - set(model.__dataclass_fields__)
        assert missing == {"include"}


def test_no_name_means_two_things() -> None:
    for table, names in ((GLOBAL, GLOBAL_NAMES), (SERVICE, SERVICE_NAMES)):
        spellings = [name.lower() for each in table for name in (each.name, *each.aliases)]
        assert len(spellings) == len(set(spellings)) == len(names)


def test_names_that_both_tables_have_are_on_purpose() -> None:
    assert set(GLOBAL_NAMES) & set(SERVICE_NAMES) == {"debug", "include", "service", "setgid", "setuid"}


# Nothing is ignored


def _file(line: str, *, globally: bool) -> str:
    section = "[web]\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\ncert = web.pem\n"
    return f"{line}\n{section}" if globally else f"{section}{line}\n"


UNAVAILABLE = [
    pytest.param(each, globally, id=f"{'global' if globally else 'section'} {each.name}")
    for globally, table in ((True, GLOBAL), (False, SERVICE))
    for each in table
    if each.missing and each.name not in HARMLESS
]


@pytest.mark.parametrize(("option", "globally"), UNAVAILABLE)
def test_what_is_not_available_is_refused_at_its_line(option: Option, globally: bool) -> None:
    text = _file(f"{option.name} = {ASKING[option.name]}", globally=globally)
    with pytest.raises(ConfigErrors) as refused:
        load_text(text, "conf")
    line = 1 if globally else 5
    expected = f"conf:{line}: {option.name}: {option.missing}"
    assert expected in str(refused.value).splitlines()


OF_THE_DAEMON_TOO = {each.name for each in GLOBAL if each.available}


@pytest.mark.parametrize(
    "option", [each for each in SERVICE if each.missing and each.name not in OF_THE_DAEMON_TOO], ids=_named
)
def test_a_default_of_the_global_part_is_refused_as_well(option: Option) -> None:
    with pytest.raises(ConfigErrors) as refused:
        load_text(_file(f"{option.name} = {ASKING[option.name]}", globally=True), "conf")
    assert str(refused.value).count(f"conf:1: {option.name}: is not available") == 1


@pytest.mark.parametrize(("option", "globally"), UNAVAILABLE)
def test_its_neutral_values_are_accepted(option: Option, globally: bool) -> None:
    for value in (option.default, *option.neutral):
        text = option.kind.render(value)
        if text and option.kind.parse(text) == value:
            load_text(_file(f"{option.name} = {text}", globally=globally))


def test_the_list_of_values_that_ask_for_something_is_complete() -> None:
    assert set(ASKING) == {each.name for each in EVERY if each.missing} - HARMLESS


@cache
def _read_attributes() -> frozenset[str]:
    """Every attribute name that the rings around the configuration use, by dot or by text."""
    found: set[str] = set()
    for path in ROOT.rglob("*.py"):
        if "table" in path.parts or path.name in ("advice.py", "page.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return frozenset(found)


@pytest.mark.parametrize("option", [each for each in EVERY if each.available], ids=_named)
def test_what_is_available_is_read_by_somebody(option: Option) -> None:
    assert option.name in SETTLED or option.attribute in _read_attributes()
