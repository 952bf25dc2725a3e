"""How a process signs in to Redis: the address from its settings, the password from its file, read for each connection.

It is imported where there is a Redis, and not by every process: the library takes its time and its memory.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

from mesh.secret_files import SecretFile, SecretUnusable

CONNECT_TIMEOUT_SECONDS = 1.0
ANSWER_TIMEOUT_SECONDS = 2.0


def open_redis(url: str, password: SecretFile) -> Redis:
    """Return a client of the Redis at an address without a password; it connects when it is first used.

    A connection that is refused is tried once more, as the file may have been replaced just then. A command is never
    sent twice for that.
    """
    parts = urlsplit(url)
    return Redis.from_url(
        parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(),
        credential_provider=_FromFile(unquote(parts.username or ""), password),
        retry=Retry(NoBackoff(), 1, supported_errors=(AuthenticationError,)),
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        socket_timeout=ANSWER_TIMEOUT_SECONDS,
    )


class _FromFile(CredentialProvider):
    """Says who signs in; asked by the library for each connection."""

    def __init__(self, user: str, password: SecretFile) -> None:
        self._user = user
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        try:
            password = self._password.read()
        except SecretUnusable as problem:
            # As one that is wrong: the library closes the connection, and its callers know the error.
            raise AuthenticationError(str(problem)) from None
        return (self._user, password) if self._user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()
