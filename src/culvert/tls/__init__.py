"""Policy: from a service of the configuration to sessions that are ready for their handshake.

``build(service)`` does everything that can fail, once, before the workers are forked, and ``Builder`` does it
for services of which some share an address.  What they return makes sessions and tells about them, and never
fails for a reason that the configuration could have shown.
"""

from __future__ import annotations

from culvert.tls.assembly import build
from culvert.tls.hosting import Builder
from culvert.tls.lines import failure_line, failure_lines
from culvert.tls.nametable import NameTable
from culvert.tls.policy import TlsPolicy

__all__ = ["Builder", "NameTable", "TlsPolicy", "build", "failure_line", "failure_lines"]
