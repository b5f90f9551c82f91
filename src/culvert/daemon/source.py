"""Where the configuration comes from, and how it is read again."""

from __future__ import annotations

import os
from dataclasses import dataclass

from culvert.config import load
from culvert.config.model import Configuration
from culvert.errors import ConfigError, ConfigErrors, SystemRefusal


@dataclass(frozen=True)
class FileSource:
    """A file, known by its absolute path: the daemon works in `/`."""

    path: str

    @classmethod
    def named(cls, name: str) -> FileSource:
        """The file with this name.  Raises ConfigErrors when there is none."""
        try:
            return cls(os.path.realpath(name, strict=True))
        except OSError as error:
            reason = f'Invalid configuration file name "{name}": {error.strerror} ({error.errno})'
            raise ConfigErrors([ConfigError(None, "", reason)]) from error

    def __str__(self) -> str:
        return f"file {self.path}"

    def load(self) -> Configuration:
        """Read the file.  Raises ConfigErrors."""
        return load.load_file(self.path)

    def load_again(self) -> Configuration:
        """Read the file as it is now.  Raises ConfigErrors."""
        return self.load()


@dataclass(frozen=True)
class DescriptorSource:
    """An open descriptor (`-fd N`), which can be read once."""

    number: int

    def __str__(self) -> str:
        return f"descriptor {self.number}"

    def load(self) -> Configuration:
        """Read it to its end.  Raises ConfigErrors."""
        return load.load_descriptor(self.number)

    def load_again(self) -> Configuration:
        """Raises SystemRefusal: what came from a descriptor is not there a second time."""
        raise SystemRefusal(
            "Cannot open configuration file", f"it was read from descriptor {self.number}, which has ended"
        )


Source = FileSource | DescriptorSource
