"""The package as pip builds it: binding compiled, everything inside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from culvert import __version__

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("src", "native", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what a wheel of these sources installs."""
    place = tmp_path_factory.mktemp("package")
    (place / "sources").mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, place / "sources" / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, place / "sources" / name)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(place)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(place / "sources")]
    subprocess.run(command, check=True, timeout=110, env={**os.environ, "CULVERT_NATIVE": "yes"})
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "installed")
    return place / "installed"


@pytest.mark.slow
def test_the_binding_belongs_to_the_package_beside_it(installed: Path) -> None:
    program = "from culvert.openssl import _lib; import culvert; print(_lib.__file__, culvert.__version__)"
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    assert answer == f"{installed}/culvert/openssl/_lib.py {__version__}\n"


@pytest.mark.slow
def test_every_module_and_the_mark_of_typing_are_shipped(installed: Path) -> None:
    wanted = {path.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*.py")}
    shipped = {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()}
    assert wanted | {Path("culvert/py.typed")} <= shipped
