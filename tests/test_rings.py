"""What the import contracts of pyproject.toml (``make rings``) take for granted."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "culvert"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported_by(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides where it goes"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_folder_is_a_package_that_the_contracts_see() -> None:
    assert [path.parent for path in SOURCES if not (path.parent / "__init__.py").exists()] == []


def test_one_module_alone_imports_the_compiled_one() -> None:
    importers = {
        path for path in SOURCES if any(name.startswith("culvert._native") for name in imported_by(path))
    }
    assert importers == {PACKAGE / "openssl" / "_lib.py"}


def test_no_openssl_but_the_systems_carries_bytes() -> None:
    for path in SOURCES:
        brought = {name.split(".")[0] for name in imported_by(path)} & {"ssl", "OpenSSL", "cryptography"}
        assert not brought or path.is_relative_to(PACKAGE / "cli"), f"{path} imports {brought}"
