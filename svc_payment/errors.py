"""Every refusal of the payment domain. The class name gives the reason of the contract."""

import grpc

from mesh.refusals import Refusal


class PaymentDeclined(Refusal):
    """The provider refused the card."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class InsufficientFunds(Refusal):
    """The wallet does not hold enough."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class PaymentVoided(Refusal):
    """The payment was voided, and stays so."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class PaymentConflict(Refusal):
    """The order asked before for another amount, another way or another customer."""

    code = grpc.StatusCode.ALREADY_EXISTS


class ProviderUnknown(Refusal):
    """No such provider."""

    code = grpc.StatusCode.NOT_FOUND


class CurrencyNotSupported(Refusal):
    """The shop does not take this currency."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class PaymentNotFound(Refusal):
    """No such payment, or not the caller's."""

    code = grpc.StatusCode.NOT_FOUND


class PaymentNotAuthorized(Refusal):
    """No money is held for the order."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class PaymentCaptured(Refusal):
    """The money was taken already; refund it instead."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class PaymentNotCaptured(Refusal):
    """No money was taken for the order."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class RefundTooLarge(Refusal):
    """More would go back than was taken."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class RefundConflict(Refusal):
    """The refund was asked for before with another amount, order or sellers."""

    code = grpc.StatusCode.ALREADY_EXISTS


class WebhookSignatureInvalid(Refusal):
    """The notice does not carry a signature that counts."""

    code = grpc.StatusCode.UNAUTHENTICATED


class WebhookInvalid(Refusal):
    """The notice can't be read."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class ProviderUnavailable(Refusal):
    """The provider can't be reached; ask again."""

    code = grpc.StatusCode.UNAVAILABLE


class TopUpInProgress(Refusal):
    """The provider has not answered yet; ask again with the same key."""

    code = grpc.StatusCode.UNAVAILABLE


class AccountNotFound(Refusal):
    """No such account."""

    code = grpc.StatusCode.NOT_FOUND


class SettlementNotFound(Refusal):
    """The day was not settled with this provider."""

    code = grpc.StatusCode.NOT_FOUND


class SettlementDayOpen(Refusal):
    """The day is not over."""


class SharesConflict(Refusal):
    """The order was split before in another way, or more would be split than was paid."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PayoutNotFound(Refusal):
    """No such payout, or somebody else's."""

    code = grpc.StatusCode.NOT_FOUND


class PayoutSettled(Refusal):
    """The payout was paid, or failed, and stays so."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class NothingPayable(Refusal):
    """The seller is owed nothing that could be paid out."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class PayoutNotSent(Refusal):
    """No bank was told of the payout, so none can have paid it."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class NoPayoutPending(Refusal):
    """No payout of the period waits for a bank."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class PayoutBatchNotFound(Refusal):
    """No such batch of payouts."""

    code = grpc.StatusCode.NOT_FOUND
