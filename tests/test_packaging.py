"""packaging/: what is built elsewhere is at least well-formed, and says what the program really takes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import culvert
from culvert.config import load_text
from tests.proxies.running import need_program

PACKAGING = Path(__file__).resolve().parent.parent / "packaging"
INSTRUCTIONS = {
    *("FROM", "RUN", "COPY", "USER", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD", "ENV", "WORKDIR"),
    *("EXPOSE", "LABEL", "VOLUME", "ARG"),
}
UNITS = sorted((PACKAGING / "systemd").iterdir())


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with their arguments, lines joined."""
    text = re.sub(r"\\\n", " ", (PACKAGING / "docker" / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_dockerfile_has_known_instructions_and_a_program_in_exec_form() -> None:
    found = instructions()
    assert {word for word, _ in found} <= INSTRUCTIONS
    assert found[0][0] == "FROM"
    assert dict(found)["ENTRYPOINT"] == '["/opt/culvert/bin/culvert"]'


def test_the_image_is_of_named_versions_leaves_no_lists_and_does_not_run_as_root() -> None:
    found = instructions()
    assert all(re.fullmatch(r"[a-z]+:[\w.-]+( AS \w+)?", rest) for word, rest in found if word == "FROM")
    assert all("rm -rf /var/lib/apt/lists" in rest for word, rest in found if "apt-get" in rest)
    last_stage = found[max(n for n, (word, _) in enumerate(found) if word == "FROM") :]
    assert dict(last_stage)["USER"] == "65534:65534"


@pytest.mark.interop
def test_the_manifest_is_good_yaml() -> None:
    rules = "{extends: default, rules: {braces: disable, octal-values: disable}}"
    subprocess.run(
        [need_program("yamllint"), "--strict", "-d", rules, str(PACKAGING / "kubernetes")],
        check=True,
        timeout=60,
    )


def test_the_configuration_of_the_manifest_is_accepted() -> None:
    text = (PACKAGING / "kubernetes" / "sidecar.yaml").read_text()
    found = re.search(r"culvert\.conf: \|\n((?:    .*\n)+)", text)
    assert found is not None
    configuration = load_text(re.sub("^ +", "", found[1], flags=re.MULTILINE))
    assert [service.name for service in configuration.services] == ["redis"]
    assert configuration.options.watch
    assert text.count(str(configuration.options.ready_file)) == 2  # the probe looks for the same file


@pytest.mark.interop
@pytest.mark.parametrize("unit", UNITS, ids=[unit.name for unit in UNITS])
def test_systemd_takes_the_units(unit: Path, tmp_path: Path) -> None:
    """With a program that is there in the place of ours."""
    for each in UNITS:
        name = each.name.replace("@.", "@mail.")
        text = each.read_text().replace("/usr/bin/culvert", "/bin/true")
        (tmp_path / name).write_text(text.replace("\n[Socket]\n", "\n[Socket]\nListenStream=993\n"))
    shown = subprocess.run(
        [need_program("systemd-analyze"), "verify", str(tmp_path / unit.name.replace("@.", "@mail."))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in (shown.stdout + shown.stderr).splitlines() if str(tmp_path) in line]
    assert ours == []


def test_the_debian_package_is_of_this_version() -> None:
    first = (PACKAGING / "debian" / "changelog").read_text().splitlines()[0]
    assert first.startswith(f"culvert ({culvert.__version__}) ")
