"""Engines, as far as no token is needed: what cannot be opened is left out."""

from __future__ import annotations

from typing import Any

import pytest

from culvert.openssl import hardware
from culvert.openssl._lib import ffi, lib
from culvert.openssl.library import HAS_ENGINES


class OutOfMemory:
    """OpenSSL that opens no engine."""

    def __getattr__(self, name: str) -> Any:
        return getattr(lib, name)

    def culvert_engine_by_id(self, _name: object) -> Any:
        return ffi.NULL


@pytest.mark.skipif(not HAS_ENGINES, reason="this OpenSSL has no engines")
def test_an_engine_that_cannot_be_opened_is_none_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "lib", OutOfMemory())
    assert not list(hardware.engines_that_work())
