"""Sellers' accounts, and what of each order is whose: held in escrow until its parcel has arrived."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATEMENTS = (
    'ALTER TABLE accounts ADD COLUMN seller_id text COLLATE "C"',
    """
    ALTER TABLE accounts
        DROP CONSTRAINT accounts_owner_kind_check,
        DROP CONSTRAINT accounts_owner,
        DROP CONSTRAINT accounts_once,
        ADD CONSTRAINT accounts_owner CHECK (CASE owner_kind
            WHEN 'user' THEN user_id IS NOT NULL AND seller_id IS NULL
            WHEN 'seller' THEN user_id IS NULL AND seller_id IS NOT NULL
            WHEN 'house' THEN user_id IS NULL AND seller_id IS NULL
            ELSE false END),
        ADD CONSTRAINT accounts_once UNIQUE NULLS NOT DISTINCT (code, user_id, seller_id, currency)
    """,
    "CREATE INDEX accounts_of_seller ON accounts (seller_id) WHERE seller_id IS NOT NULL",
    # Wider than before, so what is there need not be looked at, under a lock that nobody could read beside; and as it
    # can't be otherwise, nothing ever needs to be validated.
    """
    ALTER TABLE transfers
        DROP CONSTRAINT transfers_kind_check,
        ADD CONSTRAINT transfers_kind_check CHECK (kind IN (
            'payment', 'refund', 'top_up', 'credit', 'hold', 'release', 'fee', 'take_back')) NOT VALID
    """,
    # Changed only by who holds the lock of its order's payment.
    """
    CREATE TABLE seller_shares (
        order_id         uuid NOT NULL REFERENCES payments (order_id),
        seller_id        text COLLATE "C" NOT NULL CHECK (seller_id NOT IN ('', 'house')),
        currency         text NOT NULL,
        sold_minor       bigint NOT NULL CHECK (sold_minor >= 0),
        refunded_minor   bigint NOT NULL CHECK (refunded_minor BETWEEN 0 AND sold_minor),
        fee_basis_points integer NOT NULL CHECK (fee_basis_points BETWEEN 0 AND 10000),
        held_at          timestamptz NOT NULL,
        released_at      timestamptz,
        PRIMARY KEY (order_id, seller_id)
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX seller_shares_of_seller ON seller_shares (seller_id, order_id)",
)


def upgrade() -> None:
    """Widen the accounts and the kinds of transfers, and create the shares.

    Orders of before get theirs when their parcel arrives; those that had arrived have none.
    """
    for statement in _STATEMENTS:
        op.execute(statement)
