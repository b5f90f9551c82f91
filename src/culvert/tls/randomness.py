"""OpenSSL's random numbers, for those rings that leave OpenSSL to this one."""

from __future__ import annotations

from culvert.openssl.library import is_seeded, random_bytes, stir

__all__ = ["is_seeded", "random_bytes", "stir"]
