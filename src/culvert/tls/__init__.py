"""Policy: from a service of the configuration to sessions that are ready for their handshake.

``build(service)`` does everything that can fail, once, before the workers are forked; what it returns makes
sessions and tells about them, and never fails for a reason that the configuration could have shown.
"""

from __future__ import annotations

from culvert.tls.assembly import build
from culvert.tls.lines import failure_line, failure_lines
from culvert.tls.policy import TlsPolicy

__all__ = ["TlsPolicy", "build", "failure_line", "failure_lines"]
