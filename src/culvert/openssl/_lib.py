"""The only importer of the compiled module.  Refuses one that was built for another version of Culvert."""

from __future__ import annotations

from typing import Any

from culvert import __version__

try:
    from culvert._native import ffi as _ffi
    from culvert._native import lib as _lib
except ImportError as missing:
    raise ImportError("culvert's compiled part is missing: run `make build`") from missing

ffi: Any = _ffi
lib: Any = _lib

_built_for = ffi.string(lib.culvert_version()).decode()
if _built_for != __version__:
    raise ImportError(f"culvert's compiled part is of version {_built_for}, not {__version__}: `make build`")


def _options() -> dict[str, int]:
    found: dict[str, int] = {}
    position = 0
    while (entry := lib.culvert_options[position]).name != ffi.NULL:
        found[ffi.string(entry.name).decode()] = entry.bits
        position += 1
    return found


VERSION: str = ffi.string(lib.OpenSSL_version(lib.OPENSSL_VERSION)).decode()
"""The library that runs, as `openssl version` says it: "OpenSSL 3.0.19 27 Jan 2026"."""

VERSION_NUMBER: int = lib.OpenSSL_version_num()
"""The same as a number, 0xMNN00PP0L: 0x30000130 is 3.0.19."""

COMPILED_NUMBER: int = lib.OPENSSL_VERSION_NUMBER
"""The library whose headers the binding was compiled with."""

OPTIONS = _options()
"""Option name without SSL_OP_ -> its bits; only what the headers know."""
