"""What Culvert shows of itself: log lines."""

from __future__ import annotations
