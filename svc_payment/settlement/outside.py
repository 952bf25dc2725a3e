"""The line that every call to a provider crosses: never inside a database transaction."""

from __future__ import annotations

from mesh.database import in_transaction
from svc_payment.providers.interface import Authorization, AuthorizationRequest, Outcome, Provider, ProviderRefused


def refuse_inside_transaction() -> None:
    """Hold the calling task against the rule; a provider may take seconds, and locks would be held as long.

    Raises:
        RuntimeError: The task stands inside a transaction, which is a defect.
    """
    if in_transaction():
        raise RuntimeError("a provider is never called inside a transaction")


async def authorize(provider: Provider, asked: AuthorizationRequest) -> Authorization:
    """Ask for an authorization; a card that the provider cannot read is refused like any other.

    Raises:
        ProviderRefused: For another reason than a card that cannot be read.
        ProviderUnavailable, ProviderMismatch: As the provider raises them.
    """
    try:
        return await provider.authorize(asked)
    except ProviderRefused as refusal:
        if refusal.code != "malformed":
            raise
        return Authorization(Outcome.REFUSED, None, refusal_code=refusal.code)
