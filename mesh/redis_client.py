"""How a process signs in to Redis: the address from its settings, the password from its file, read for each connection.

It is imported where there is a Redis, and not by every process: the library takes its time and its memory.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

from mesh.secret_files import SecretFile, SecretUnusable

CONNECT_TIMEOUT_SECONDS = 1.0
ANSWER_TIMEOUT_SECONDS = 2.0


def open_redis(url: str, password: SecretFile) -> Redis:
    """Return a client of the Redis at an address without a password; it connects when it is first used.

    A connection that is refused is tried once more: with the next password of the file, which may have been replaced
    just then. A command is never sent twice for that.
    """
    parts = urlsplit(url)
    user = unquote(parts.username or "")

    async def sign_in(connection: AbstractConnection) -> None:
        if connection.credential_provider is None:
            connection.credential_provider = _FromFile(user, password)
        await connection.on_connect()

    return Redis.from_url(
        parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(),
        redis_connect_func=sign_in,
        retry=Retry(NoBackoff(), 1, supported_errors=(AuthenticationError,)),
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        socket_timeout=ANSWER_TIMEOUT_SECONDS,
    )


class _FromFile(CredentialProvider):
    """Says who signs in on one connection; asked by the library for each attempt."""

    def __init__(self, user: str, password: SecretFile) -> None:
        self._user = user
        self._password = password
        self._tried = ""

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        try:
            passwords = self._password.read_all()
        except SecretUnusable as problem:
            # As one that is wrong: the library closes the connection, and its callers know the error.
            raise AuthenticationError(str(problem)) from None
        self._tried = next((each for each in passwords if each != self._tried), passwords[0])
        return (self._user, self._tried) if self._user else (self._tried,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()
