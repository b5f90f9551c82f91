"""Compile native/ into culvert/_native: only when something changed, one at a time, replaced in one step.

Programs that run keep the module that they have mapped; those that start later get the old or the new one,
never half of one.  Usage: ``compile_native.py [FOLDER]``; FOLDER is the package that gets the module.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cffi

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
# A module for one interpreter is of no use to another; what decides beside the sources stands here.
CIRCUMSTANCES = (
    sys.version,
    cffi.__version__,
    os.environ.get("CULVERT_SANITIZE", ""),
    os.environ.get("CFLAGS", ""),
)


def digest() -> str:
    """Return what the module is made from, as one hexadecimal word."""
    seen = hashlib.sha256(repr(CIRCUMSTANCES).encode())
    sources = [path for path in (ROOT / "native").rglob("*") if path.suffix in {".c", ".h", ".py"}]
    for path in [*sorted(sources), ROOT / "src" / "culvert" / "__init__.py", ROOT / "setup.py"]:
        seen.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return seen.hexdigest()


def compile_into(package: Path) -> None:
    """Build in a temporary folder of the same file system, then rename over the old module."""
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="native-") as scratch:
        command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", f"{scratch}/lib"]
        command += ["--build-temp", f"{scratch}/objects"]
        environment = {**os.environ, "CULVERT_NATIVE": "yes"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{done.stdout}{done.stderr}\nthe binding could not be compiled")
        sys.stderr.write("".join(line for line in done.stderr.splitlines(True) if "warning:" in line))
        (module,) = Path(scratch, "lib", "culvert").glob("_native.*.so")
        for stale in set(package.glob("_native.*.so")) - {package / module.name}:
            stale.unlink()
        module.replace(package / module.name)


def main() -> None:
    """Compile unless the module that is there was made from these very sources."""
    package = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "src" / "culvert"
    BUILD.mkdir(exist_ok=True)
    stamp = BUILD / f"native-{hashlib.sha256(bytes(package)).hexdigest()[:12]}.stamp"
    with (BUILD / "native.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = digest()
        made = any(package.glob("_native.*.so")) and stamp.exists() and stamp.read_text() == wanted
        if not made:
            compile_into(package)
            stamp.write_text(wanted)


if __name__ == "__main__":
    main()
