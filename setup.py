"""The part of the build that pyproject.toml cannot say: which cffi binding belongs to the package."""

from __future__ import annotations

import os

from setuptools import setup

# A development checkout gets its binding from `make build`, which replaces it atomically under running
# programs; an editable install must then not compile a second one.
CFFI_MODULES = [] if os.environ.get("CULVERT_NATIVE") == "no" else ["native/build.py:ffibuilder"]

setup(cffi_modules=CFFI_MODULES)
