"""Reading a configuration costs a start next to nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

# What takes milliseconds to import, or what the ring of the configuration must not know.
HEAVY = (
    "socket ssl asyncio selectors difflib ipaddress json logging cffi cryptography subprocess culvert._native"
)
SCRIPT = """
import sys
from culvert.config import load_text
load_text("cert = a\\n[web]\\naccept = 443\\nconnect = 80\\nTIMEOUTidle = 5\\nsocket = l:TCP_NODELAY=1\\n")
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def modules() -> set[str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", HEAVY.split())
def test_reading_a_sound_file_does_not_import(modules: set[str], name: str) -> None:
    assert name not in modules
