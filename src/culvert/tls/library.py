"""What a configuration asks of OpenSSL and the process as a whole: environment, providers, engines, FIPS.

Such lines are acts more than values.  They are carried out in the order of the file, before any context is
made: at the start, and again at each reload.  When the configuration turns out not to be usable, environment
and FIPS go back to what they were.  What cannot be taken back (an engine that has opened its token) is not
begun anew by a reload: engines may be added then, and every other change of them is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from culvert.config.checks import SPELLING
from culvert.config.model import GlobalOptions
from culvert.config.options import Act
from culvert.errors import ConfigError, ConfigErrors, TlsError, Where
from culvert.observe.log import INFO, NOTICE, WARNING
from culvert.openssl._lib import VERSION

if TYPE_CHECKING:
    from culvert.openssl.hardware import TokenEngine

MOST_ENGINES = 256
"""As many as stunnel numbers."""

DEFLATE = 1
"""The number of the one method of RFC 3749."""

FIPS_ADVICE = "install fips.so there, run `openssl fipsinstall`, and include its output in openssl.cnf"

RESTART = "engines are set up at the start; for this change a restart is needed"

Say = Callable[[int, str], None]
Undo = Callable[[], None]


@dataclass(frozen=True, slots=True)
class InForce:
    """What the acts have led to, in this process.

    acts: the lines about engines that were carried out, without their places.
    system_fips: whether FIPS was on before Culvert touched it; None when it never did.
    """

    engines: tuple[TokenEngine, ...] = ()
    acts: tuple[tuple[str, str], ...] = ()
    compression: bool = False
    system_fips: bool | None = None


class _Process:
    """This one."""

    in_force = InForce()


def in_force() -> InForce:
    """What holds now, for contexts that are made now."""
    return _Process.in_force


def take_over(
    options: GlobalOptions,
    say: Say = lambda _level, _text: None,
    *,
    again: bool = False,
    beside: bool = False,
) -> Undo:
    """Carry out what the global part asks for; blocks, for an engine may talk to its token.

    again: this process works already with an earlier configuration, which ends.
    beside: earlier configurations of this process go on, so what they asked for stays in force.
    Returns what puts everything back that can be.  Raises ConfigErrors, and then it has been put back.
    """
    turn = _Turn(options, say, again, beside)
    turn.run()
    if turn.errors:
        turn.undo()
        raise ConfigErrors(turn.errors)
    return turn.undo


class _Turn:
    """One configuration's acts."""

    def __init__(self, options: GlobalOptions, say: Say, again: bool, beside: bool) -> None:
        self.errors: list[ConfigError] = []
        self._options, self._say, self._again, self._beside = options, say, again, beside
        self._before = _Process.in_force
        self._environment: dict[str, str | None] = {}  # what to put back
        self._fips: bool | None = None  # to be put back
        self._engines = list(self._before.engines)
        self._acts: list[tuple[str, str]] = []
        self._current: TokenEngine | None = None

    def run(self) -> None:
        for act in self._options.acts:
            _DEEDS[act.attribute](self, act)
        self._leave_engine()
        left = self._before.acts[len(self._acts) :]
        if self._beside:
            self._acts += left
        elif left:
            self._refuse(None, "engine", RESTART)
        system_fips = self._settle_fips()
        compression = self._settle_compression()
        _Process.in_force = InForce(tuple(self._engines), tuple(self._acts), compression, system_fips)

    def undo(self) -> None:
        _Process.in_force = self._before
        for name, value in self._environment.items():
            _set_variable(name, value)
        if self._fips is not None:
            from culvert.openssl import library

            library.switch_fips(self._fips)

    def _refuse(self, act: Act | None, attribute: str, reason: str) -> None:
        at = act.at if act else self._options.where(attribute)
        self.errors.append(ConfigError(at, SPELLING[attribute], reason))

    # Environment and providers

    def set_env(self, act: Act) -> None:
        name, _, value = act.value.partition("=")
        self._environment.setdefault(name, os.environ.get(name))
        _set_variable(name, value or None)

    def load_provider(self, act: Act) -> None:
        from culvert.openssl import library

        try:
            library.load_provider(act.value)
        except TlsError as error:
            folder = os.environ.get("OPENSSL_MODULES") or library.modules_folder()
            reason = f"Failed to load provider: {_short(error)} (looked for in {folder})"
            self._refuse(act, act.attribute, reason)

    def set_parameter(self, act: Act) -> None:
        from culvert.openssl import library

        provider, _, rest = act.value.partition(":")
        name, _, value = rest.partition("=")
        if not library.HAS_PROVIDER_PARAMETERS:
            reason = f"needs OpenSSL 3.5 (OSSL_PROVIDER_add_conf_parameter); this is {VERSION}"
            self._refuse(act, act.attribute, reason)
        elif not library.provider_is_loaded(provider):
            reason = f"Provider not found: no `provider = {provider}` before this line"
            self._refuse(act, act.attribute, reason)
        else:
            try:
                library.set_provider_parameter(provider, name, value)
            except TlsError as error:
                self._refuse(act, act.attribute, error.reason or error.doing)

    # Engines

    def _done_before(self, act: Act) -> bool:
        """Whether an act has been carried out by an earlier configuration; notes it in any case."""
        position = len(self._acts)
        self._acts.append((act.attribute, act.value))
        if position >= len(self._before.acts):
            return False
        if self._before.acts[position] != self._acts[-1]:
            self._refuse(act, act.attribute, RESTART)
        return True

    def open_engine(self, act: Act) -> None:
        if self._done_before(act):
            return
        self._leave_engine()
        from culvert.openssl import hardware, library

        if not library.HAS_ENGINES:
            reason = f"Failed to open the engine: {VERSION} has no engines; use `provider`"
            self._refuse(act, act.attribute, reason)
        elif act.value.lower() == "auto":
            self._engines += hardware.engines_that_work()
        else:
            self._open(act)
        if len(self._engines) > MOST_ENGINES:
            self._refuse(act, act.attribute, "Too many open engines")

    def _open(self, act: Act) -> None:
        from culvert.openssl import hardware, library

        try:
            self._current = hardware.TokenEngine.open(act.value)
        except TlsError as error:
            folder = os.environ.get("OPENSSL_ENGINES") or library.engines_folder()
            reason = f"Failed to open the engine: {_short(error)} (looked for in {folder})"
            self._refuse(act, act.attribute, reason)
        else:
            _hush(self._current)
            self._engines.append(self._current)
            self._say(INFO, f"Engine #{len(self._engines)} ({self._current.id}) opened")

    def control_engine(self, act: Act) -> None:
        if self._done_before(act):
            return
        command, colon, argument = act.value.partition(":")
        if command.upper() == "PIN" and act.at and readable_by_others(act.at):
            self._say(WARNING, f"Insecure file permissions on {act.at.path}: a PIN is in it")
        if self._current is None:
            self._refuse_act_without_engine(act)
        elif command.upper() == "INIT" and not colon:
            self._start(self._current, act)
        else:
            try:
                self._current.control(command, argument if colon else None)
            except TlsError as error:  # the argument may be a PIN: it is not told
                reason = f"Failed to execute the engine control command {command}: {_short(error)}"
                self._refuse(act, act.attribute, reason)

    def default_engine(self, act: Act) -> None:
        if self._done_before(act):
            return
        if self._current is None:
            self._refuse_act_without_engine(act)
        elif self._again:
            self._refuse(act, act.attribute, RESTART)
        else:
            self._start(self._current, act)
            try:
                self._current.serve_as_default(act.value)
            except TlsError as error:
                self._refuse(act, act.attribute, f"Failed to set engine as default: {_short(error)}")

    def _refuse_act_without_engine(self, act: Act) -> None:
        """Say so, unless the line of the engine itself is at fault."""
        if not any(each.option == "engine" for each in self.errors):
            self._refuse(act, act.attribute, "No engine was defined")

    def _leave_engine(self) -> None:
        """An engine starts to work when its lines are over."""
        if self._current is not None:
            self._start(self._current, None)
        self._current = None

    def _start(self, engine: TokenEngine, act: Act | None) -> None:
        try:
            engine.start()
        except TlsError as error:
            reason = f"Failed to initialize the engine {engine.id}: {_short(error)}"
            self._refuse(act, act.attribute if act else "engine", reason)

    # FIPS and compression

    def _settle_fips(self) -> bool | None:
        options, system = self._options, self._before.system_fips
        said = options.fips or options.where("fips") is not None
        if not said and (system is None or self._beside):
            return system
        from culvert.openssl import library

        now = library.fips_is_on()
        system = now if system is None else system
        wanted = options.fips if said else system
        if self._beside and now and not system and not wanted:
            self._refuse(None, "fips", "another configuration in this process has `fips = yes`")
        elif wanted != now:
            self._switch_fips(wanted)
            self._fips = now
        if not self.errors:
            self._say(NOTICE, f"FIPS mode {'enabled' if wanted else 'disabled'}")
        return system

    def _switch_fips(self, on: bool) -> None:
        from culvert.openssl import library

        try:
            if on:
                library.load_provider("fips")
            library.switch_fips(on)
        except TlsError as error:
            folder = os.environ.get("OPENSSL_MODULES") or library.modules_folder()
            reason = f"Failed to override system-wide FIPS mode: {_short(error)}"
            if on:
                reason = (
                    f"FIPS support is not available: provider fips cannot be loaded from {folder} "
                    f"({_short(error)}); {FIPS_ADVICE}"
                )
            self._refuse(None, "fips", reason)

    def _settle_compression(self) -> bool:
        if self._options.compression is None:
            self._say(INFO, "Compression disabled")
            return False
        from culvert.openssl import library

        methods = library.compressions()
        if self._options.compression in ("deflate", "zlib") and DEFLATE in dict(methods):
            self._say(INFO, f"Compression enabled: {len(methods)} method(s)")
            for number, name in methods:
                self._say(INFO, f"Compression id 0x{number:02X}: {name}")
            return True
        has = "has deflate alone" if methods else "was built without compression (its option `zlib`)"
        reason = f"Specified compression type is not available: {VERSION} {has}"
        self._refuse(None, "compression", reason)
        return False


_DEEDS: dict[str, Callable[[_Turn, Act], None]] = {
    "set_env": _Turn.set_env,
    "provider": _Turn.load_provider,
    "provider_parameter": _Turn.set_parameter,
    "engine": _Turn.open_engine,
    "engine_ctrl": _Turn.control_engine,
    "engine_default": _Turn.default_engine,
}


def _hush(engine: TokenEngine) -> None:
    """Let engine_pkcs11 tell its failures by OpenSSL's queue alone: on standard error it would print PINs."""
    with suppress(TlsError):  # an engine that has no such command
        engine.control("QUIET", None)


def readable_by_others(at: Where | None) -> bool:
    """Whether everybody can read the file of a line."""
    try:
        return at is not None and bool(os.stat(at.path).st_mode & 0o007)
    except OSError:
        return False


def _short(error: TlsError) -> str:
    """The first reason of OpenSSL, which is the cause."""
    return error.reasons[0] if error.reasons else error.doing


def _set_variable(name: str, value: str | None) -> None:
    """Set or remove a variable of the environment, for C libraries and children, too."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
