"""Text to typed, frozen configuration.

configuration = culvert.config.load_file("/etc/stunnel/stunnel.conf")   # or ConfigErrors with all errors
service = culvert.config.Service(name="web", accept=(Address.parse("443"),), connect=..., cert=("web.pem",))
"""

from __future__ import annotations

from culvert.config.load import load_bytes, load_descriptor, load_file, load_text
from culvert.config.model import Configuration, GlobalOptions, Message, Service
from culvert.config.sockets import SocketOption
from culvert.config.values import Address
from culvert.errors import ConfigWarning

__all__ = (
    "Address",
    "ConfigWarning",
    "Configuration",
    "GlobalOptions",
    "Message",
    "Service",
    "SocketOption",
    "load_bytes",
    "load_descriptor",
    "load_file",
    "load_text",
)
