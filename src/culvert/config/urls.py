"""URLs of OCSP responders: plain HTTP, as the manual says, and nothing that two readers could read in two
ways.

The same check stands before the URLs that certificates name.  It takes time in proportion to their length.
"""

from __future__ import annotations

import re
from typing import Final

from culvert.config.values import BadValue

LONGEST: Final = 2048
"""Octets; longer ones are refused."""

NO_TLS = "TLS not supported for OCSP - an additional service needs to be defined"
"""In stunnel's words; such a service is a client section that leads to the responder."""

_RESPONDER = re.compile(
    r"http://(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?(?:[/?][\x21\x22\x24-\x7e]*)?",
    re.IGNORECASE,
)


def responder_url(text: str) -> str:
    """The URL, when it is one that can be asked.  Raises BadValue."""
    if text[:8].lower() == "https://":
        raise BadValue(NO_TLS)
    found = _RESPONDER.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        raise BadValue("Failed to parse the OCSP URL: http://HOST[:PORT][/PATH] is needed")
    port = found[1]
    if port is not None and not 0 < int(port) < 65536:
        raise BadValue(f"Failed to parse the OCSP URL: there is no port {port}")
    return text
