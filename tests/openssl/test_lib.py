"""The compiled module: which one is taken, and what it knows."""

from __future__ import annotations

import subprocess
import sys

from culvert.config.tlsnames import KERNEL_TLS, OPTION_NAMES
from culvert.openssl._lib import OPTIONS, VERSION
from native.decl.ssl import OPTIONS as DECLARED


def test_every_option_of_the_configuration_is_declared_to_openssl() -> None:
    assert {*OPTION_NAMES, *KERNEL_TLS} == set(DECLARED)


def test_the_options_found_are_a_part_of_those_declared() -> None:
    assert set(OPTIONS) <= set(DECLARED)
    assert OPTIONS["NO_TICKET"] == 1 << 14


def test_the_running_library_says_its_version() -> None:
    assert VERSION.startswith("OpenSSL 3.")


def test_a_module_of_another_version_is_refused() -> None:
    program = "import culvert; culvert.__version__ = '0'; import culvert.openssl"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "make build" in done.stderr


def test_cryptography_is_not_imported_with_the_policies() -> None:
    program = "import sys, culvert.tls; print('cryptography' in sys.modules, 'ssl' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
