"""OpenSSL as a whole: providers, FIPS, what it was built with, and its pool of random numbers."""

from __future__ import annotations

import os
from typing import Any

from culvert.openssl._errors import begin, check, check_pointer
from culvert.openssl._lib import ffi, lib

HAS_ENGINES = bool(lib.culvert_has_engines)
"""False for an OpenSSL without engines (4.0, or built with no-engine)."""

HAS_PROVIDER_PARAMETERS = bool(lib.culvert_has_provider_parameters)
"""OpenSSL 3.5 and later."""

_loaded: dict[str, Any] = {}


def load_provider(name: str) -> None:
    """Load a provider beside those that are loaded anyway; once, and for ever.  Raises TlsError."""
    if name not in _loaded:
        begin()
        raw = ffi.new("char[]", name.encode("utf-8", "surrogateescape"))
        provider = lib.OSSL_PROVIDER_try_load(ffi.NULL, raw, 1)
        _loaded[name] = check_pointer(provider, f"load the provider {name}")


def provider_is_loaded(name: str) -> bool:
    """Whether load_provider() has loaded it."""
    return name in _loaded


def set_provider_parameter(provider: str, name: str, value: str) -> None:
    """A configuration parameter of a loaded provider.  Raises TlsError, always where OpenSSL has none."""
    begin()
    texts = [ffi.new("char[]", each.encode("utf-8", "surrogateescape")) for each in (name, value)]
    check(lib.culvert_provider_parameter(_loaded[provider], *texts), "set a parameter of a provider")


def modules_folder() -> str:
    """Where OpenSSL looks for providers, unless OPENSSL_MODULES says otherwise."""
    return _information(lib.OPENSSL_INFO_MODULES_DIR)


def engines_folder() -> str:
    """Where OpenSSL looks for engines, unless OPENSSL_ENGINES says otherwise."""
    return _information(lib.OPENSSL_INFO_ENGINES_DIR)


def _information(which: int) -> str:
    text = lib.OPENSSL_info(which)
    return "" if text == ffi.NULL else str(ffi.string(text).decode("utf-8", "surrogateescape"))


def has_fips() -> bool:
    """Whether there is a FIPS provider that could be loaded; its configuration is not looked at."""
    folder = os.environ.get("OPENSSL_MODULES") or modules_folder()
    return os.path.exists(os.path.join(folder, "fips.so"))


def fips_is_on() -> bool:
    """Whether algorithms are fetched from FIPS providers only, unless somebody asks otherwise."""
    return bool(lib.EVP_default_properties_is_fips_enabled(ffi.NULL))


def switch_fips(on: bool) -> None:
    """Fetch algorithms from FIPS providers only, or from all, for what is made then.  Raises TlsError."""
    begin()
    check(lib.EVP_default_properties_enable_fips(ffi.NULL, int(on)), "switch FIPS")


def compressions() -> tuple[tuple[int, str], ...]:
    """The methods that OpenSSL was built with: number in the protocol (RFC 3749) and name."""
    found = []
    for position in range(lib.culvert_compressions()):
        name = lib.culvert_compression_name(position)
        text = ffi.string(name).decode() if name != ffi.NULL else ""
        found.append((int(lib.culvert_compression_id(position)), text))
    return tuple(found)


def stir(data: bytes) -> None:
    """Mix ``data`` into the pool.  It counts for nothing: the kernel's entropy is what the pool rests on."""
    lib.RAND_add(data, len(data), 0.0)


def random_bytes(count: int) -> bytes:
    """``count`` octets that nobody can guess.  Raises TlsError."""
    begin()
    buffer = ffi.new("unsigned char[]", count)
    check(lib.RAND_bytes(buffer, count), "make random numbers")
    return bytes(ffi.buffer(buffer))


def is_seeded() -> bool:
    """Whether the pool has what it needs."""
    return bool(lib.RAND_status() == 1)
