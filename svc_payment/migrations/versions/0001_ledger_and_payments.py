"""The ledger, payments, refunds, top-ups, the work that providers owe an answer to, and the outbox."""

from alembic import op

from mesh.schema import create_outbox

revision = "0001"
down_revision = None

_STATEMENTS = (
    """
    CREATE TABLE accounts (
        account_id uuid PRIMARY KEY,
        owner_kind text NOT NULL CHECK (owner_kind IN ('user', 'house')),
        user_id    uuid,
        code       text NOT NULL,
        currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
        created_at timestamptz NOT NULL,
        CONSTRAINT accounts_owner CHECK ((owner_kind = 'user') = (user_id IS NOT NULL)),
        CONSTRAINT accounts_once UNIQUE NULLS NOT DISTINCT (code, user_id, currency),
        CONSTRAINT accounts_currency UNIQUE (account_id, currency)
    )
    """,
    # Locked and changed by every transaction that moves money; `events` numbers the events of a wallet.
    """
    CREATE TABLE balances (
        account_id      uuid PRIMARY KEY,
        currency        text NOT NULL,
        house           boolean NOT NULL,
        posted_debits   bigint NOT NULL DEFAULT 0 CHECK (posted_debits >= 0),
        posted_credits  bigint NOT NULL DEFAULT 0 CHECK (posted_credits >= 0),
        pending_debits  bigint NOT NULL DEFAULT 0 CHECK (pending_debits >= 0),
        pending_credits bigint NOT NULL DEFAULT 0 CHECK (pending_credits >= 0),
        events          bigint NOT NULL DEFAULT 0 CHECK (events >= 0),
        FOREIGN KEY (account_id, currency) REFERENCES accounts (account_id, currency),
        CONSTRAINT balances_no_overdraft CHECK (house OR posted_credits - posted_debits - pending_debits >= 0)
    ) WITH (fillfactor = 70)
    """,
    # One row is one movement between two accounts of one currency, so an imbalance cannot be written.
    # `xid` tells the sealer which rows can no longer be joined by a late commit.
    """
    CREATE TABLE transfers (
        transfer_id    uuid PRIMARY KEY,
        seq            bigint GENERATED ALWAYS AS IDENTITY,
        group_id       uuid NOT NULL,
        kind           text NOT NULL CHECK (kind IN ('payment', 'refund', 'top_up', 'credit')),
        pending        boolean NOT NULL,
        debit_account  uuid NOT NULL,
        credit_account uuid NOT NULL,
        amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
        currency       text NOT NULL,
        order_id       uuid,
        recorded_at    timestamptz NOT NULL,
        xid            xid8 NOT NULL DEFAULT pg_current_xact_id(),
        FOREIGN KEY (debit_account, currency) REFERENCES accounts (account_id, currency),
        FOREIGN KEY (credit_account, currency) REFERENCES accounts (account_id, currency),
        CONSTRAINT transfers_two_accounts CHECK (debit_account <> credit_account),
        CONSTRAINT transfers_phase UNIQUE (transfer_id, pending)
    )
    """,
    "CREATE INDEX transfers_by_debit ON transfers (debit_account, seq)",
    "CREATE INDEX transfers_by_credit ON transfers (credit_account, seq)",
    "CREATE INDEX transfers_by_xid ON transfers (xid)",
    # How a pending transfer ended: once, and for its whole amount.
    """
    CREATE TABLE resolutions (
        transfer_id uuid PRIMARY KEY,
        pending     boolean NOT NULL DEFAULT true CHECK (pending),
        outcome     text NOT NULL CHECK (outcome IN ('posted', 'voided')),
        recorded_at timestamptz NOT NULL,
        xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
        FOREIGN KEY (transfer_id, pending) REFERENCES transfers (transfer_id, pending)
    )
    """,
    "CREATE INDEX resolutions_by_xid ON resolutions (xid)",
    # A block holds every ledger row of the transactions from `from_xid` up to, not including, `to_xid`.
    """
    CREATE TABLE blocks (
        height        bigint PRIMARY KEY CHECK (height >= 0),
        from_xid      xid8 NOT NULL,
        to_xid        xid8 NOT NULL,
        row_count     bigint NOT NULL,
        rows_hash     bytea NOT NULL,
        previous_hash bytea NOT NULL,
        hash          bytea NOT NULL,
        sealed_at     timestamptz NOT NULL,
        CONSTRAINT blocks_ascend CHECK (from_xid <= to_xid)
    )
    """,
    """
    INSERT INTO blocks (height, from_xid, to_xid, row_count, rows_hash, previous_hash, hash, sealed_at)
    VALUES (0, '0', '0', 0, '', '', sha256('titan ledger'), now())
    """,
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END
    $$
    """,
    *(
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in ("accounts", "transfers", "resolutions", "blocks")
    ),
    # The payment of one order. A row without an amount is the tombstone of an order that was voided before it came.
    """
    CREATE TABLE payments (
        order_id           uuid PRIMARY KEY,
        payment_id         uuid NOT NULL UNIQUE,
        status             text NOT NULL CHECK (status IN (
            'IN_PROGRESS', 'ACTION_REQUIRED', 'AUTHORIZED', 'CAPTURING', 'CAPTURED', 'REFUSED', 'VOIDING', 'VOIDED')),
        user_id            uuid,
        provider           text,
        amount_minor       bigint CHECK (amount_minor >= 0),
        currency           text,
        fingerprint        bytea,
        captured_minor     bigint NOT NULL DEFAULT 0,
        refunding_minor    bigint NOT NULL DEFAULT 0 CHECK (refunding_minor >= 0),
        refunded_minor     bigint NOT NULL DEFAULT 0 CHECK (refunded_minor >= 0),
        provider_reference text,
        refusal_reason     text,
        decline_code       text,
        action_url         text,
        action_expires_at  timestamptz,
        version            bigint NOT NULL DEFAULT 0,
        created_at         timestamptz NOT NULL,
        changed_at         timestamptz NOT NULL,
        CONSTRAINT payments_tombstone CHECK (status = 'VOIDED' OR (
            user_id IS NOT NULL AND provider IS NOT NULL AND amount_minor IS NOT NULL
            AND currency IS NOT NULL AND fingerprint IS NOT NULL)),
        CONSTRAINT payments_refusal CHECK (status <> 'REFUSED' OR refusal_reason IS NOT NULL),
        CONSTRAINT payments_action CHECK (status <> 'ACTION_REQUIRED' OR action_url IS NOT NULL),
        CONSTRAINT payments_captured CHECK (captured_minor = CASE status WHEN 'CAPTURED' THEN amount_minor ELSE 0 END),
        CONSTRAINT payments_refund_needs_capture CHECK (
            refunded_minor + refunding_minor = 0 OR status IN ('CAPTURING', 'CAPTURED')),
        CONSTRAINT payments_refund_within_capture CHECK (
            refunded_minor <= captured_minor AND refunded_minor + refunding_minor <= amount_minor)
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE refunds (
        refund_id    uuid PRIMARY KEY,
        order_id     uuid NOT NULL REFERENCES payments (order_id),
        asked_minor  bigint CHECK (asked_minor > 0),
        amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
        currency     text NOT NULL,
        status       text NOT NULL CHECK (status IN ('IN_PROGRESS', 'DONE')),
        created_at   timestamptz NOT NULL,
        done_at      timestamptz,
        CONSTRAINT refunds_done CHECK ((status = 'DONE') = (done_at IS NOT NULL))
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX refunds_by_order ON refunds (order_id)",
    """
    CREATE TABLE top_ups (
        top_up_id          uuid PRIMARY KEY,
        user_id            uuid NOT NULL,
        request_id         text NOT NULL,
        fingerprint        bytea NOT NULL,
        provider           text NOT NULL,
        amount_minor       bigint NOT NULL CHECK (amount_minor > 0),
        currency           text NOT NULL,
        status             text NOT NULL CHECK (status IN (
            'AUTHORIZING', 'CAPTURING', 'CREDITED', 'VOIDING', 'DECLINED')),
        decline_code       text,
        provider_reference text,
        response           bytea,
        created_at         timestamptz NOT NULL,
        changed_at         timestamptz NOT NULL,
        CONSTRAINT top_ups_once UNIQUE (user_id, request_id),
        CONSTRAINT top_ups_answered CHECK ((status = 'CREDITED') = (response IS NOT NULL))
    ) WITH (fillfactor = 80)
    """,
    # What an importer credited: one answer per request id and user.
    """
    CREATE TABLE wallet_credits (
        user_id       uuid NOT NULL,
        request_id    text NOT NULL,
        amount_minor  bigint NOT NULL CHECK (amount_minor > 0),
        currency      text NOT NULL,
        transfer_id   uuid NOT NULL,
        balance_minor bigint NOT NULL,
        pending_minor bigint NOT NULL,
        created_at    timestamptz NOT NULL,
        PRIMARY KEY (user_id, request_id)
    )
    """,
    # Calls to providers that have no answer yet. `due_at` is both the schedule and the lease: whoever takes the work
    # moves it ahead. The card token lives here, and goes with the row when the authorization is settled.
    """
    CREATE TABLE provider_work (
        subject_id   uuid PRIMARY KEY,
        subject_kind text NOT NULL CHECK (subject_kind IN ('payment', 'refund', 'top_up')),
        provider     text NOT NULL,
        card_token   text,
        attempts     integer NOT NULL DEFAULT 0,
        due_at       timestamptz NOT NULL,
        problem      text
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX provider_work_due ON provider_work (provider, due_at)",
    """
    CREATE TABLE webhook_events (
        provider    text NOT NULL,
        event_id    text NOT NULL,
        payment_id  uuid NOT NULL,
        type        text NOT NULL,
        received_at timestamptz NOT NULL,
        PRIMARY KEY (provider, event_id)
    )
    """,
    "CREATE INDEX webhook_events_received ON webhook_events (received_at)",
)


def upgrade() -> None:
    """Create everything."""
    for statement in _STATEMENTS:
        op.execute(statement)
    create_outbox(op)
