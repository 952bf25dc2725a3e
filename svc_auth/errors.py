"""Every refusal of the auth domain; the reasons are those of `titan.auth.v1.ErrorReason`."""

from __future__ import annotations

import grpc

from mesh.refusals import Refusal


class CredentialsInvalid(Refusal):
    """Address and password do not belong together; which of the two is wrong is not told."""

    code = grpc.StatusCode.UNAUTHENTICATED


class SignInThrottled(Refusal):
    """Too many wrong passwords for this address; the delay is in the details."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class RefreshTokenInvalid(Refusal):
    """The refresh token is unknown, spent, expired or revoked."""

    code = grpc.StatusCode.UNAUTHENTICATED


class UserNotFound(Refusal):
    """No such user, or none that the caller may act for."""

    code = grpc.StatusCode.NOT_FOUND


class EmailTaken(Refusal):
    """Another user has this e-mail address."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PasswordTooWeak(Refusal):
    """The password is among the first that an attacker tries: common, published, or a part of what is known."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class AlreadyRegistered(Refusal):
    """The caller has credentials already."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class UserChanged(Refusal):
    """The user was changed since the caller's etag (AIP-154)."""

    code = grpc.StatusCode.ABORTED


class TooManyAddresses(Refusal):
    """The user keeps as many addresses as they may."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class SessionNotFound(Refusal):
    """The caller has no such session."""

    code = grpc.StatusCode.NOT_FOUND


class ChallengeInvalid(Refusal):
    """The challenge of the sign-in, or of the passkey, is unknown, answered or expired."""

    code = grpc.StatusCode.UNAUTHENTICATED


class CodeInvalid(Refusal):
    """The code is wrong, or was used before; which of the two is not told."""

    code = grpc.StatusCode.UNAUTHENTICATED


class SecondFactorNotFound(Refusal):
    """The caller has no second factor, or none that waits to be confirmed."""

    code = grpc.StatusCode.NOT_FOUND


class SecondFactorActive(Refusal):
    """The caller's second factor is in force already."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class NotRegistered(Refusal):
    """The caller is a guest."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class LinkInvalid(Refusal):
    """The one-time link is unknown, used, replaced by a newer one, or expired."""

    code = grpc.StatusCode.UNAUTHENTICATED


class EmailVerified(Refusal):
    """The caller's e-mail address is verified already."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class IdentityProviderUnknown(Refusal):
    """There is no identity provider of this name."""

    code = grpc.StatusCode.NOT_FOUND


class IdentityProviderUnavailable(Refusal):
    """The identity provider does not answer, or not as it should."""

    code = grpc.StatusCode.UNAVAILABLE


class RedirectUriUnknown(Refusal):
    """The address is not one of those that the provider may send a browser back to."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class SignInFlowInvalid(Refusal):
    """The flow is unknown, finished or expired, or the answer belongs to another one; which of them is not told."""

    code = grpc.StatusCode.UNAUTHENTICATED


class IdentityNotProven(Refusal):
    """What the provider answered proves no identity."""

    code = grpc.StatusCode.UNAUTHENTICATED


class IdentityEmailUnverified(Refusal):
    """The provider does not vouch for the e-mail address."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class IdentityNotLinked(Refusal):
    """A user with this e-mail address exists, and has not linked the identity."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class IdentityTaken(Refusal):
    """Another user signs in with this identity."""

    code = grpc.StatusCode.ALREADY_EXISTS


class IdentityNotFound(Refusal):
    """The caller has no such identity."""

    code = grpc.StatusCode.NOT_FOUND


class RecentSignInRequired(Refusal):
    """The caller signed in too long ago for this."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class PasskeyInvalid(Refusal):
    """The passkey is unknown, or was not made or shown as it has to be; which of them is not told."""

    code = grpc.StatusCode.UNAUTHENTICATED


class PasskeyNotFound(Refusal):
    """The caller has no such passkey."""

    code = grpc.StatusCode.NOT_FOUND


class TooManyPasskeys(Refusal):
    """The caller has as many passkeys as they may."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class WalletNotEmpty(Refusal):
    """Money is in the user's wallet, or on its way there; the metadata says how much."""


class UserHasRoles(Refusal):
    """The user works here."""


class ErasureNotFound(Refusal):
    """Nobody has asked to erase this user, or there is none."""

    code = grpc.StatusCode.NOT_FOUND
