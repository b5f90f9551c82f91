"""What in the two files cannot be obeyed, and how their lines are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from culvert.net.wrappers.tables import Tables, Unsupported, find_impossible, read

REASON = "is not supported: Culvert runs no commands"


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(str(tmp_path / "allow"), str(tmp_path / "deny"))


@pytest.mark.parametrize(
    ("rule", "impossible"),
    [
        ("web : ALL : spawn (echo %h)", f'"spawn" {REASON}'),
        ("ALL : 10. : severity info : twist /bin/echo no", f'"twist" {REASON}'),
        ("w* : ALL : aclexec checkdnsbl %a", f'"aclexec" {REASON}'),
        ("443 : ALL : banners /etc/banners", f'"banners" {REASON}'),
        ("web@10. : ALL : user nobody", f'"user" {REASON}'),
        ("other, web : ALL : GROUP = kmem", f'"group" {REASON}'),
        ("web : @trusted", "netgroups are not supported"),
        ("other : ALL : spawn (echo)", None),
        ("ALL EXCEPT other : @trusted EXCEPT 10.", "netgroups are not supported"),
        ("web : ALL : severity info : allow", None),
        ("web : ALL : spawn", None),  # without its command it is a mistake, which denies
        ("web : joe@host", None),
    ],
)
def test_a_rule_for_the_service_that_needs_a_program_is_found(
    tables: Tables, rule: str, impossible: str | None
) -> None:
    Path(tables.deny).write_text(f"# a comment\nnobody : ALL\n{rule}\n")
    found = find_impossible(tables, "web")
    assert (found is None) is (impossible is None)
    if impossible:
        assert isinstance(found, Unsupported)
        assert str(found).startswith(f"{tables.deny}:3: {impossible}")


def test_no_file_has_no_rules(tables: Tables) -> None:
    assert read(tables.allow) == ()
    assert find_impossible(tables, "web") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_file_that_cannot_be_read_is_an_error(tables: Tables) -> None:
    Path(tables.allow).touch(mode=0)
    with pytest.raises(PermissionError):
        read(tables.allow)
