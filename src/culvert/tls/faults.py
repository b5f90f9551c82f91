"""What is wrong with the TLS part of a service, collected, so that the operator sees all of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from culvert.config.model import SERVICE, Service
from culvert.errors import ConfigError, ConfigErrors, ConfigWarning, TlsError

SPELLING = {option.attribute: option.name for option in SERVICE}


class Faults:
    """Errors and warnings of one service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigWarning] = []
        self.lines: list[tuple[int, str]] = []

    def tell(self, level: int, text: str) -> None:
        """Note a line for the log of a start that succeeds."""
        self.lines.append((level, text))

    def refuse(self, attribute: str, reason: str, near: str | None = None, *, number: int = -1) -> None:
        """Note an error at the line of an option; ``number``: of one of its values, counted from 0."""
        at = self.service.where_value(attribute, number) if number >= 0 else self.service.where(attribute)
        self.errors.append(ConfigError(at, SPELLING[attribute], reason, near))

    def warn(self, attribute: str, reason: str) -> None:
        """Note something that works, but perhaps not as the operator thinks."""
        self.warnings.append(ConfigWarning(self.service.where(attribute), SPELLING[attribute], reason))

    @contextmanager
    def about(self, attribute: str, what: str) -> Iterator[None]:
        """Turn a refusal by OpenSSL or the system into an error that says ``what`` could not be done."""
        try:
            yield
        except TlsError as error:
            self.refuse(attribute, f"{what}: {error.reason or error.doing}")
        except OSError as error:
            self.refuse(attribute, f"{what}: {error.strerror or error}")

    def settle(self) -> tuple[ConfigWarning, ...]:
        """The warnings.  Raises ConfigErrors when there is an error."""
        if self.errors:
            raise ConfigErrors(self.errors, self.warnings)
        return tuple(self.warnings)
