"""Every refusal of the bulk domain: of a call, of a whole operation, or of a single row."""

from __future__ import annotations

import grpc

from mesh.refusals import Refusal


class OperationNotFound(Refusal):
    """No such operation, or it is forgotten."""

    code = grpc.StatusCode.NOT_FOUND


class OperationNotRetryable(Refusal):
    """The operation succeeded, or can't be done as it was asked for."""


class TooManyOperations(Refusal):
    """As many operations wait as may."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class FileNotFound(Refusal):
    """No such file, or it is forgotten."""

    code = grpc.StatusCode.NOT_FOUND


class FileOffsetMismatch(Refusal):
    """The part does not begin where the file ends; the metadata says where that is."""


class FileTooLarge(Refusal):
    """The file would have more bytes or rows than a file may have."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class FileSealed(Refusal):
    """An operation reads or wrote the file."""


class FileUnreadable(Refusal):
    """The file as a whole can't be read."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class RowInvalid(Refusal):
    """One row can't be read."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class RowUnreconciled(Refusal):
    """The shop has nothing, or another amount, for what begins with a row; or for a provider's day."""


class FeedNotAllowed(Refusal):
    """The configuration does not allow this feed's address."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class FeedRefused(Refusal):
    """The feed answered something that can't be taken."""


class ReportTooLarge(Refusal):
    """A report has more groups than a report may have."""


class NothingSelected(Refusal):
    """What an operation was to work on names nothing that there is."""


class SearchDiffers(Refusal):
    """The search data is again and again another than it was made to be."""


ENDS_AN_OPERATION = (
    FileNotFound,
    FileUnreadable,
    FileTooLarge,
    FeedNotAllowed,
    FeedRefused,
    ReportTooLarge,
    NothingSelected,
    SearchDiffers,
)
"""What a job finds out about itself: trying again would find the same."""
