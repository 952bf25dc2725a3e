"""Orders, their journal, the checkout saga, and the effects of later decisions."""

from alembic import op

from mesh.schema import create_idempotency, create_outbox

revision = "0001"
down_revision = None

_STATEMENTS = (
    """
    CREATE TABLE user_keys (
        user_id     uuid PRIMARY KEY,
        wrapped_key bytea NOT NULL
    )
    """,
    """
    CREATE TABLE order_events (
        order_id     uuid NOT NULL,
        version      bigint NOT NULL CHECK (version > 0),
        type         text NOT NULL,
        payload      jsonb NOT NULL,
        sealed       bytea,
        recorded_at  timestamptz NOT NULL,
        effective_at timestamptz NOT NULL,
        PRIMARY KEY (order_id, version)
    )
    """,
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END $$
    """,
    """
    CREATE TRIGGER order_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON order_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """,
    """
    CREATE TABLE orders (
        order_id       uuid PRIMARY KEY,
        user_id        uuid NOT NULL,
        status         text NOT NULL
                       CHECK (status IN ('PENDING', 'CONFIRMED', 'SHIPPED', 'DELIVERED', 'CANCELLED', 'REFUNDED')),
        currency       text NOT NULL,
        total_minor    bigint NOT NULL CHECK (total_minor >= 0),
        tax_minor      bigint NOT NULL CHECK (tax_minor BETWEEN 0 AND total_minor),
        shipping_minor bigint NOT NULL CHECK (shipping_minor >= 0),
        refunded_minor bigint NOT NULL DEFAULT 0 CHECK (refunded_minor BETWEEN 0 AND total_minor),
        lines          jsonb NOT NULL,
        allocations    jsonb,
        sealed         bytea NOT NULL,
        cart_id        uuid,
        cancel_reason  text NOT NULL DEFAULT '',
        tracking_code  text NOT NULL DEFAULT '',
        version        bigint NOT NULL,
        created_at     timestamptz NOT NULL,
        effective_at   timestamptz NOT NULL,
        updated_at     timestamptz NOT NULL
    ) WITH (fillfactor = 85)
    """,
    "CREATE UNIQUE INDEX orders_live_cart ON orders (cart_id) WHERE cart_id IS NOT NULL AND status <> 'CANCELLED'",
    "CREATE INDEX orders_of_user ON orders (user_id, order_id DESC)",
    """
    CREATE TABLE checkouts (
        order_id          uuid PRIMARY KEY,
        user_id           uuid NOT NULL,
        request_id        text NOT NULL,
        fingerprint       bytea NOT NULL,
        method            bytea,
        payment_status    smallint NOT NULL DEFAULT 1, -- IN_PROGRESS
        action_url        text,
        action_expires_at timestamptz,
        response          bytea,
        refusal           bytea,
        attempts          integer NOT NULL DEFAULT 0,
        recorded_at       timestamptz NOT NULL DEFAULT now(),
        decided_at        timestamptz,
        finished_at       timestamptz,
        next_run_at       timestamptz NOT NULL,
        CONSTRAINT checkouts_one_per_key UNIQUE (user_id, request_id),
        CONSTRAINT checkouts_one_answer CHECK (response IS NULL OR refusal IS NULL),
        CONSTRAINT checkouts_decided_with_answer CHECK ((decided_at IS NULL) = (response IS NULL AND refusal IS NULL)),
        CONSTRAINT checkouts_finished_after_decided CHECK (finished_at IS NULL OR decided_at IS NOT NULL)
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX checkouts_due ON checkouts (next_run_at) WHERE finished_at IS NULL",
    """
    CREATE TABLE order_effects (
        effect_id    uuid PRIMARY KEY,
        order_id     uuid NOT NULL,
        kind         text NOT NULL CHECK (kind IN ('UNDO', 'REFUND', 'SHIP')),
        amount_minor bigint,
        currency     text,
        release      boolean NOT NULL DEFAULT false,
        attempts     integer NOT NULL DEFAULT 0,
        created_at   timestamptz NOT NULL DEFAULT now(),
        finished_at  timestamptz,
        next_run_at  timestamptz NOT NULL
    )
    """,
    "CREATE INDEX order_effects_due ON order_effects (next_run_at) WHERE finished_at IS NULL",
    "CREATE INDEX order_effects_of_order ON order_effects (order_id)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
    create_outbox(op)
    create_idempotency(op)
