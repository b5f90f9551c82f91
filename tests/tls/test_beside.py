"""Several configurations in force in one process: what one has asked of OpenSSL, the next does not undo."""

from __future__ import annotations

import subprocess
import sys

import pytest

from culvert.config import load_text
from culvert.errors import ConfigErrors
from culvert.openssl import library as openssl
from culvert.tls import library

SECTION = "[web]\nclient = yes\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\n"

ENGINES = """
from culvert.config import load_text
from culvert.errors import ConfigErrors
from culvert.openssl import library as openssl
from culvert.tls import library

def take(text, **how):
    section = "[web]\\nclient=yes\\naccept=127.0.0.1:1\\nconnect=127.0.0.1:2\\n"
    library.take_over(load_text(text + section).options, **how)
    print([each.id for each in library.in_force().engines], end=" ")

if openssl.HAS_ENGINES:
    take("engine = loader_attic\\n", beside=True)
    take("", beside=True)
    for wrong in (dict(text="", again=True), dict(text="engine = padlock\\n", beside=True)):
        try:
            take(**wrong)
        except ConfigErrors as errors:
            print(errors.errors[0].reason[-25:], end=" ")
    take("", beside=True)
"""


@pytest.mark.skipif(not openssl.HAS_ENGINES, reason="this OpenSSL has no engines")
def test_engines_stay_with_the_configuration_that_opened_them() -> None:
    """In a process of its own: an engine that was opened stays open."""
    done = subprocess.run(
        [sys.executable, "-c", ENGINES], capture_output=True, text=True, check=True, timeout=60
    )
    one, restart = "['loader_attic']", library.RESTART[-25:].strip()
    assert done.stdout.split() == f"{one} {one} {restart} {restart} {one}".split()


@pytest.fixture
def switched(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """OpenSSL's switch of FIPS, played: a real provider would hold for the whole test process."""
    told = [False]
    monkeypatch.setattr(library._Process, "in_force", library.InForce())
    monkeypatch.setattr(openssl, "load_provider", lambda _name: None)
    monkeypatch.setattr(openssl, "fips_is_on", lambda: told[-1])
    monkeypatch.setattr(openssl, "switch_fips", told.append)
    return told


def test_fips_stays_on_when_the_next_configuration_does_not_name_it(switched: list[bool]) -> None:
    library.take_over(load_text(f"fips = yes\n{SECTION}").options, beside=True)
    library.take_over(load_text(SECTION).options, beside=True)
    assert switched == [False, True]


def test_fips_is_not_switched_off_beside_somebody_who_wants_it(switched: list[bool]) -> None:
    library.take_over(load_text(f"fips = yes\n{SECTION}").options, beside=True)
    with pytest.raises(ConfigErrors, match="fips: another configuration in this process has `fips = yes`"):
        library.take_over(load_text(f"fips = no\n{SECTION}").options, beside=True)
    assert switched == [False, True]
