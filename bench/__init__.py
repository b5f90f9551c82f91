"""``python -m bench``: the CPU time and memory of Culvert beside stunnel, haproxy and hitch."""

from __future__ import annotations
