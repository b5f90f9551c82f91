"""Where sessions are shared by machines: a server of stunnel's protocol, or Redis."""

from __future__ import annotations

from dataclasses import dataclass, field

from culvert.config.values import ADDRESS, Address, BadValue, Kind

REDIS_PORT = 6379
_SCHEMES = ("redis", "rediss")
_FORM = "it is written redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER], or rediss:// for TLS"


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """A database of a Redis server.

    secure: over TLS, its certificate checked for `host` with the authorities of `ca_file`, None for the
    system's.
    """

    host: str
    port: int = REDIS_PORT
    database: int = 0
    secure: bool = False
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    @classmethod
    def parse(cls, text: str) -> RedisPlace:
        """`redis://[[USER]:PASSWORD@]HOST[:PORT][/NUMBER]`, `rediss://...[?CAfile=FILE]`.  Raises BadValue,
        which never repeats the text.
        """
        from urllib.parse import parse_qsl, unquote, urlsplit  # only files that use it pay for the import

        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port or REDIS_PORT
            queries = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError:
            raise BadValue(f"not the address of a Redis server: {_FORM}") from None
        ca_file = queries.pop("CAfile", None)
        if not host or queries or parts.fragment or (ca_file is not None and parts.scheme != "rediss"):
            raise BadValue(f"not the address of a Redis server: {_FORM}")
        return cls(
            host=host,
            port=port,
            database=_database(parts.path),
            secure=parts.scheme == "rediss",
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            ca_file=ca_file,
        )

    @property
    def text(self) -> str:
        """For people: without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' if self.secure else ''}://{host}:{self.port}/{self.database}"

    def __str__(self) -> str:
        return self.text


def _database(path: str) -> int:
    number = path.removeprefix("/")
    if not number:
        return 0
    if not (number.isascii() and number.isdigit() and len(number) <= 4):
        raise BadValue("the path of a Redis address is the number of a database")
    return int(number)


def _parse(text: str) -> Address | RedisPlace:
    if text.partition("://")[0].lower() in _SCHEMES:
        scheme, _, rest = text.partition("://")
        return RedisPlace.parse(f"{scheme.lower()}://{rest}")
    address: Address = ADDRESS.parse(text)
    if address.path is not None:
        raise BadValue("sessions are shared over host:port, redis:// or rediss://")
    return address


SESSIOND = Kind(
    "host:port | redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER] | rediss://...[?CAfile=FILE]", _parse
)
