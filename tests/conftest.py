"""Fixtures that every folder of tests may use."""

from __future__ import annotations

from tests.pki import pki

__all__ = ["pki"]
