"""Batches, with which payouts are handed to a bank once; and the lines of a payout as spans of its seller's account."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE payout_batches (
        batch_id   uuid PRIMARY KEY,
        request_id text NOT NULL UNIQUE,
        period     text NOT NULL,
        created_at timestamptz NOT NULL
    )
    """,
    # What was paid before has no batch, and is never looked at again: nothing has to be validated.
    """
    ALTER TABLE payouts
        ADD COLUMN batch_id uuid REFERENCES payout_batches,
        DROP COLUMN line_count,
        DROP CONSTRAINT payouts_status_check,
        ADD CONSTRAINT payouts_status_check CHECK (status IN ('PENDING', 'SENT', 'PAID', 'FAILED')) NOT VALID,
        DROP CONSTRAINT payouts_end_has_its_time,
        ADD CONSTRAINT payouts_end_has_its_time
            CHECK ((status IN ('PENDING', 'SENT')) = (settled_at IS NULL)) NOT VALID,
        ADD CONSTRAINT payouts_paid_by_a_batch CHECK (CASE status
            WHEN 'PENDING' THEN batch_id IS NULL
            WHEN 'FAILED' THEN true
            ELSE batch_id IS NOT NULL END) NOT VALID
    """,
    # The entries of an account from behind one `seq` up to another. A span is in one payout that did not fail.
    """
    CREATE TABLE payout_spans (
        payout_id  uuid NOT NULL REFERENCES payouts,
        account_id uuid NOT NULL REFERENCES accounts,
        after_seq  bigint NOT NULL CHECK (after_seq >= 0),
        last_seq   bigint NOT NULL CHECK (last_seq > after_seq),
        live       boolean NOT NULL DEFAULT true,
        PRIMARY KEY (payout_id, last_seq)
    )
    """,
    """
    INSERT INTO payout_spans (payout_id, account_id, after_seq, last_seq, live)
    SELECT p.payout_id, a.account_id, t.seq - 1, t.seq, l.live
    FROM payout_lines l JOIN payouts p USING (payout_id) JOIN transfers t USING (transfer_id)
    JOIN accounts a ON (a.code, a.seller_id, a.currency) = ('payable', p.seller_id, p.currency)
    """,
    "DROP TABLE payout_lines",
    "CREATE UNIQUE INDEX payout_spans_once ON payout_spans (account_id, last_seq) WHERE live",
    "CREATE UNIQUE INDEX payout_spans_begin_once ON payout_spans (account_id, after_seq) WHERE live",
    "CREATE INDEX payout_spans_of_account ON payout_spans (account_id, last_seq)",
)


def upgrade() -> None:
    """Create the batches, and turn lines into spans.

    A process of before makes no payout and pays none after this: it fails, and nothing was moved. What it wrote into a
    bank's file is PENDING: settle that before.
    """
    for statement in _STATEMENTS:
        op.execute(statement)
