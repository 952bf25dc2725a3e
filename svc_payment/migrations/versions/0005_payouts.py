"""Payouts to sellers, and the entries of their accounts that each is made of."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE payouts (
        payout_id      uuid PRIMARY KEY,
        seller_id      text COLLATE "C" NOT NULL CHECK (seller_id NOT IN ('', 'house')),
        currency       text NOT NULL,
        period         text NOT NULL,
        amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
        line_count     integer NOT NULL CHECK (line_count > 0),
        status         text NOT NULL CHECK (status IN ('PENDING', 'PAID', 'FAILED')),
        bank_reference text NOT NULL,
        created_at     timestamptz NOT NULL,
        settled_at     timestamptz,
        CONSTRAINT payouts_end_has_its_time CHECK ((status = 'PENDING') = (settled_at IS NULL))
    ) WITH (fillfactor = 80)
    """,
    "CREATE UNIQUE INDEX payouts_once_a_period ON payouts (seller_id, currency, period) WHERE status <> 'FAILED'",
    "CREATE INDEX payouts_of_seller ON payouts (seller_id, payout_id)",
    "CREATE INDEX payouts_pending ON payouts (period, payout_id) WHERE status = 'PENDING'",
    # An entry is in one payout that did not fail: the database pays nothing twice.
    """
    CREATE TABLE payout_lines (
        payout_id    uuid NOT NULL REFERENCES payouts,
        transfer_id  uuid NOT NULL REFERENCES transfers (transfer_id),
        amount_minor bigint NOT NULL CHECK (amount_minor <> 0),
        live         boolean NOT NULL DEFAULT true,
        PRIMARY KEY (payout_id, transfer_id)
    )
    """,
    "CREATE UNIQUE INDEX payout_lines_once ON payout_lines (transfer_id) WHERE live",
    # Wider than before, as is that of the balances below: nothing that is there need ever be looked at, least of all
    # under a lock that nobody could read beside.
    """
    ALTER TABLE transfers
        DROP CONSTRAINT transfers_kind_check,
        ADD CONSTRAINT transfers_kind_check CHECK (kind IN (
            'payment', 'refund', 'top_up', 'credit', 'hold', 'release', 'fee', 'take_back', 'payout')) NOT VALID
    """,
    # What was paid out may have to come back: a seller who was paid out may owe something until the next release.
    """
    ALTER TABLE balances
        ADD COLUMN may_owe boolean NOT NULL DEFAULT false,
        ADD CONSTRAINT balances_house_owes_nobody CHECK (NOT (house AND may_owe)) NOT VALID,
        DROP CONSTRAINT balances_no_overdraft,
        ADD CONSTRAINT balances_no_overdraft
            CHECK (house OR may_owe OR posted_credits - posted_debits - pending_debits >= 0) NOT VALID
    """,
)


def upgrade() -> None:
    """Create the payouts, and widen the transfers and the balances. What is owed already is paid out like the rest."""
    for statement in _STATEMENTS:
        op.execute(statement)
