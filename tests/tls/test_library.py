"""What the global part does to OpenSSL and the process: in order, refused with reasons, and taken back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from culvert.config import GlobalOptions, load_text
from culvert.errors import ConfigErrors, Where
from culvert.openssl import library as openssl
from culvert.tls import library

SECTION = "[web]\nclient = yes\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\n"
NAME = "CULVERT_TEST_VARIABLE"


def options(text: str) -> GlobalOptions:
    return load_text(text + SECTION, "conf").options


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    os.environ.pop(NAME, None)


def test_a_variable_is_set_for_c_as_well_and_taken_back(capfd: pytest.CaptureFixture[str]) -> None:
    take_back = library.take_over(options(f"setEnv = {NAME}=a=b\n"))
    os.system(f"echo ${NAME}")
    assert capfd.readouterr().out == "a=b\n"
    take_back()
    assert NAME not in os.environ


@pytest.mark.parametrize("line", [f"{NAME}=", NAME])
def test_a_variable_without_a_value_is_removed(line: str) -> None:
    os.environ[NAME] = "before"
    take_back = library.take_over(options(f"setEnv = {line}\n"))
    assert NAME not in os.environ
    take_back()
    assert os.environ[NAME] == "before"


def test_variables_stay_when_a_reload_does_not_name_them() -> None:
    library.take_over(options(f"setEnv = {NAME}=first\nsetEnv = {NAME}=last\n"))
    library.take_over(options(""), again=True)
    assert os.environ[NAME] == "last"


def test_a_refused_configuration_changes_nothing() -> None:
    text = f"setEnv = {NAME}=x\nprovider = no-such-provider\nsetEnv = {NAME}=y\n"
    with pytest.raises(ConfigErrors):
        library.take_over(options(text))
    assert NAME not in os.environ


def test_acts_keep_the_order_of_the_file_and_their_lines() -> None:
    text = "engine = a\nsetEnv = X=1\nengineCtrl = PIN:1\nengine = b\nprovider = c\nengineCtrl = INIT\n"
    acts = options(text).acts
    assert [(each.attribute, each.value) for each in acts] == [
        ("engine", "a"),
        ("set_env", "X=1"),
        ("engine_ctrl", "PIN:1"),
        ("engine", "b"),
        ("provider", "c"),
        ("engine_ctrl", "INIT"),
    ]
    assert [each.at for each in acts] == [Where("conf", n + 1) for n in range(6)]
    assert "PIN" not in repr(options(text))


def test_a_program_has_its_acts_carried_out_option_by_option() -> None:
    library.take_over(GlobalOptions(set_env=(f"{NAME}=program",)))
    assert os.environ[NAME] == "program"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "provider = no-such-provider\n",
            "conf:1: provider: Failed to load provider: could not load the shared",
        ),
        ("provider = default\nproviderParameter = x:a=b\n", "conf:2: providerParameter: "),
        ("engine = no-such-engine\nengineCtrl = PIN:1234\n", "conf:1: engine: Failed to open the engine: "),
        ("compression = rle\n", "conf:1: compression: Specified compression type is not available: OpenSSL"),
        ("compression = brotli\n", "conf:1: compression: Specified compression type is not available: OpenS"),
    ],
)
def test_what_openssl_lacks_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        library.take_over(options(text))
    assert str(caught.value).startswith(reason)
    assert len(caught.value.errors) == 1
    assert "1234" not in str(caught.value)


@pytest.mark.skipif(openssl.HAS_PROVIDER_PARAMETERS, reason="OpenSSL 3.5 has them")
def test_parameters_of_providers_name_the_version_that_has_them() -> None:
    with pytest.raises(
        ConfigErrors, match=r"needs OpenSSL 3.5 \(OSSL_PROVIDER_add_conf_parameter\); this is "
    ):
        library.take_over(options("providerParameter = default:a=b\n"))


@pytest.mark.skipif(bool(openssl.compressions()), reason="this OpenSSL was built with zlib")
def test_compression_without_zlib_names_what_is_missing() -> None:
    with pytest.raises(ConfigErrors, match=r"not available: OpenSSL .* was built without compression"):
        library.take_over(options("compression = deflate\n"))


def test_fips_without_a_provider_says_what_to_do(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENSSL_MODULES", str(tmp_path_factory.mktemp("empty")))
    with pytest.raises(ConfigErrors) as caught:
        library.take_over(options("fips = yes\n"))
    assert str(caught.value).startswith(
        "conf:1: fips: FIPS support is not available: provider fips cannot be"
    )
    assert "run `openssl fipsinstall`" in str(caught.value)
    assert not openssl.fips_is_on()


def test_the_log_says_what_is_off() -> None:
    said: list[tuple[int, str]] = []
    library.take_over(options("fips = no\n"), lambda level, text: said.append((level, text)))
    assert said == [(5, "FIPS mode disabled"), (6, "Compression disabled")]


SCRIPT = """
import sys
from culvert import tls
from culvert.config import load_text
from culvert.tls import library
configuration = load_text(sys.argv[1])
library.take_over(configuration.options)
for each in configuration.services:
    tls.build(each)
print(*sys.modules)
print(open("/proc/self/maps").read())
"""


def test_a_start_without_all_this_loads_none_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, SECTION], capture_output=True, text=True, check=True, timeout=60
    )
    for word in ("hardware", "commands", "sources.store", "openssl.store ", "asking", "net.egd", "engines-3"):
        assert word not in done.stdout
    assert "ossl-modules" not in done.stdout
