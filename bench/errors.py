"""What can go wrong in a measurement."""

from __future__ import annotations


class BenchError(Exception):
    """A measurement could not be taken; the text says why.  Other peers and measures go on."""
