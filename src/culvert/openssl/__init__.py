"""OpenSSL as we see it: contexts, sessions, certificates.  No C data in what other packages call.

_lib (the compiled module) < _errors < certificates < _callbacks < session, context.
"""

from __future__ import annotations

from culvert.openssl.certificates import Certificate, PrivateKey
from culvert.openssl.context import Context
from culvert.openssl.session import Session

__all__ = ["Certificate", "Context", "PrivateKey", "Session"]
