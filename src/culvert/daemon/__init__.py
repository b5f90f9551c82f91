"""The processes: a supervisor that may fork at any time, and workers that carry the tunnels."""

from __future__ import annotations
