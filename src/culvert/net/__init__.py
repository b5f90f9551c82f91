"""Addresses, listening sockets and socket options: what Culvert asks of the operating system's network."""

from __future__ import annotations
