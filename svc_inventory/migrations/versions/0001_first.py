"""The first schema: warehouses, stock with its journal, reservations, restocks.

The constraints stand behind the rules of `inventory/rules.py`: if a rule is ever wrong, the transaction fails instead
of selling what is not there. Rows of `stock` and `skus` are updated for every order, so their pages keep room for it.
"""

from alembic import op

from mesh import schema

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE warehouses (
        warehouse_id text PRIMARY KEY CHECK (warehouse_id ~ '^[a-z0-9][a-z0-9-]{0,31}$'),
        title        text NOT NULL,
        priority     integer NOT NULL CHECK (priority BETWEEN 0 AND 1000),
        created_at   timestamptz NOT NULL DEFAULT now()
    )
    """,
    "INSERT INTO warehouses (warehouse_id, title, priority) VALUES ('main', 'Main warehouse', 100)",
    """
    CREATE TABLE skus (
        sku     text COLLATE "C" PRIMARY KEY,
        version bigint NOT NULL DEFAULT 0 CHECK (version >= 0)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE stock (
        sku          text COLLATE "C" NOT NULL REFERENCES skus,
        warehouse_id text NOT NULL REFERENCES warehouses,
        on_hand      integer NOT NULL DEFAULT 0,
        reserved     integer NOT NULL DEFAULT 0,
        PRIMARY KEY (sku, warehouse_id),
        CONSTRAINT stock_on_hand_not_negative CHECK (on_hand >= 0),
        CONSTRAINT stock_reserved_not_negative CHECK (reserved >= 0),
        CONSTRAINT stock_reserved_is_on_hand CHECK (reserved <= on_hand),
        CONSTRAINT stock_on_hand_countable CHECK (on_hand <= 2000000000)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE stock_movements (
        sku            text COLLATE "C" NOT NULL,
        version        bigint NOT NULL CHECK (version > 0),
        kind           smallint NOT NULL CHECK (kind BETWEEN 1 AND 5),
        warehouse_id   text NOT NULL,
        on_hand_delta  integer NOT NULL,
        reserved_delta integer NOT NULL,
        order_id       uuid,
        reason         text NOT NULL DEFAULT '',
        recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (sku, version)
    )
    """,
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END
    $$
    """,
    """
    CREATE TRIGGER stock_movements_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON stock_movements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """,
    # state: 1 reserved, 2 released, 3 shipped, 4 refused. A released order that never came has no fingerprint.
    """
    CREATE TABLE reservations (
        order_id    uuid PRIMARY KEY,
        state       smallint NOT NULL CHECK (state BETWEEN 1 AND 4),
        fingerprint bytea,
        refusal     bytea,
        created_at  timestamptz NOT NULL DEFAULT now(),
        updated_at  timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT reservations_refusal_is_kept CHECK ((state = 4) = (refusal IS NOT NULL)),
        CONSTRAINT reservations_content_is_known CHECK (state = 2 OR fingerprint IS NOT NULL)
    ) WITH (fillfactor = 80)
    """,
    """
    CREATE TABLE reservation_lines (
        order_id     uuid NOT NULL REFERENCES reservations,
        place        integer NOT NULL,
        line_number  integer NOT NULL,
        sku          text COLLATE "C" NOT NULL,
        warehouse_id text NOT NULL,
        quantity     integer NOT NULL CHECK (quantity > 0),
        restocked    integer NOT NULL DEFAULT 0,
        PRIMARY KEY (order_id, place),
        CONSTRAINT reservation_lines_never_more_back_than_out CHECK (restocked BETWEEN 0 AND quantity)
    )
    """,
    """
    CREATE TABLE restocks (
        restock_id  uuid PRIMARY KEY,
        order_id    uuid NOT NULL,
        fingerprint bytea NOT NULL,
        refusal     bytea,
        created_at  timestamptz NOT NULL DEFAULT now()
    )
    """,
)


def upgrade() -> None:
    """Create the tables, and the warehouse `main` that every shop starts with."""
    for statement in STATEMENTS:
        op.execute(statement)
    schema.create_outbox(op)
    schema.create_idempotency(op)
