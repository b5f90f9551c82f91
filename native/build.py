"""Assemble and compile the binding ``culvert._native``: our engine and the part of OpenSSL that we call.

Each file of ``native/decl`` is one C header seen through four strings: INCLUDES (``#include`` lines), TYPES
and FUNCTIONS (what Python may use, in cffi's grammar) and CUSTOM (C that goes with them).  The package's
version is compiled in, so that a stale module is noticed when it is imported (``culvert.openssl._lib``).
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

from cffi import FFI

NATIVE = Path(__file__).resolve().parent
# setuptools asks for paths relative to the project; a compile from elsewhere still finds them.
SOURCES = (
    "engine.c",
    "accept.c",
    "route.c",
    "dial.c",
    "adopt.c",
    "pipes.c",
    "outbox.c",
    "secure.c",
    "talk.c",
    "relay.c",
    "settle.c",
    "timers.c",
    "tickets.c",
    "home.c",
    "age.c",
)

# In the order in which their types are needed.
DECLARATIONS = (
    *("atomic", "crypto", "err", "bio", "evp", "x509", "pem", "ssl", "ui", "store", "hardware", "provider"),
    *("commands", "altname", "revocation", "verification", "psk", "alpn", "ocsp", "staple", "switch"),
    *("engine", "tickets", "hello", "sealing", "subject"),
)


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"native_decl_{name}", NATIVE / "decl" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _version() -> str:
    text = (NATIVE.parent / "src" / "culvert" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit("src/culvert/__init__.py does not say __version__")
    return found.group(1)


def _flags() -> tuple[list[str], list[str]]:
    """Compiler and linker flags; CULVERT_SANITIZE=address,undefined builds an instrumented engine."""
    warnings = ["-Wall", "-Wextra", "-Wno-unused-parameter"]
    compile_flags = ["-O2", "-std=gnu11", "-D_GNU_SOURCE", "-fno-strict-aliasing", *warnings]
    sanitize = os.environ.get("CULVERT_SANITIZE")
    if not sanitize:
        return compile_flags, []
    flag = f"-fsanitize={sanitize}"
    return [*compile_flags, "-g", "-O1", "-fno-omit-frame-pointer", flag], [flag]


def _builder() -> FFI:
    modules = [_load(name) for name in DECLARATIONS]
    builder = FFI()
    for module in modules:
        builder.cdef(module.TYPES)
        builder.cdef(module.FUNCTIONS)
    builder.cdef("const char *culvert_version(void);")
    compile_flags, link_flags = _flags()
    preamble = [module.INCLUDES for module in modules]
    version = f'static const char *culvert_version(void) {{ return "{_version()}"; }}'
    custom = [module.CUSTOM for module in modules]
    base = Path(os.path.relpath(NATIVE))
    builder.set_source(
        "culvert._native",
        "\n".join([*preamble, version, *custom]),
        sources=[str(base / name) for name in SOURCES],
        include_dirs=[str(base)],
        depends=[str(base / name) for name in ("engine.h", "tickets.h", "home.h", "age.h")],
        libraries=["ssl", "crypto"],
        extra_compile_args=compile_flags,
        extra_link_args=link_flags,
    )
    return builder


ffibuilder = _builder()

if __name__ == "__main__":  # python native/build.py FOLDER: compile there (FOLDER/culvert/_native...)
    folder = sys.argv[1] if len(sys.argv) > 1 else "build"
    ffibuilder.compile(tmpdir=folder, verbose=bool(os.environ.get("V")))
