"""Culvert puts TLS around any TCP service, on either side, from the ``stunnel.conf`` that is already there."""

from __future__ import annotations

__version__ = "0.1.0"
