"""The first schema: operations, which are the queue too, the rows that they refused, files, and feeds.

`due_at` is when an operation may be taken, and while a worker has it, the end of its lease. `lease` counts how often it
was taken: a worker that lost its lease writes nothing more, for the number is no longer its own. `position` and `place`
say how far the job is; they change in the transaction that writes what came of it. `batch_things` never changes: what
was asked for under a request id is asked for again with the same rows, also by a newer version that takes more at once.
"""

from alembic import op

from mesh import schema

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE operations (
        operation_id   uuid PRIMARY KEY,
        user_id        uuid NOT NULL,
        kind           text NOT NULL,
        job            bytea NOT NULL,
        state          text NOT NULL DEFAULT 'QUEUED'
                       CHECK (state IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'DEAD', 'CANCELLED')),
        due_at         timestamptz NOT NULL DEFAULT now(),
        lease          bigint NOT NULL DEFAULT 0,
        attempts       integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
        waits          integer NOT NULL DEFAULT 0 CHECK (waits >= 0),
        position       bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
        place          text NOT NULL DEFAULT '',
        source_file_id uuid,
        batch_things   integer NOT NULL CHECK (batch_things > 0),
        rows_done      bigint NOT NULL DEFAULT 0,
        rows_total     bigint NOT NULL DEFAULT 0,
        created        bigint NOT NULL DEFAULT 0,
        updated        bigint NOT NULL DEFAULT 0,
        unchanged      bigint NOT NULL DEFAULT 0,
        refused        bigint NOT NULL DEFAULT 0,
        problem        text NOT NULL DEFAULT '',
        error          bytea,
        cancel_at      timestamptz,
        created_at     timestamptz NOT NULL DEFAULT now(),
        started_at     timestamptz,
        ended_at       timestamptz,
        CONSTRAINT operations_end_has_its_time CHECK ((state IN ('QUEUED', 'RUNNING')) = (ended_at IS NULL))
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX operations_due ON operations (due_at) WHERE state IN ('QUEUED', 'RUNNING')",
    "CREATE INDEX operations_ended ON operations (ended_at) WHERE ended_at IS NOT NULL",
    """
    CREATE TABLE row_problems (
        operation_id uuid NOT NULL REFERENCES operations ON DELETE CASCADE,
        row_number   bigint NOT NULL CHECK (row_number > 0),
        reason       text NOT NULL,
        message      text NOT NULL,
        PRIMARY KEY (operation_id, row_number)
    )
    """,
    """
    CREATE TABLE files (
        file_id      uuid PRIMARY KEY,
        name         text NOT NULL,
        format       text NOT NULL CHECK (format IN ('CSV', 'NDJSON', 'PAGE')),
        size_bytes   bigint NOT NULL DEFAULT 0 CHECK (size_bytes BETWEEN 0 AND 67108864),
        sealed       boolean NOT NULL DEFAULT false,
        operation_id uuid REFERENCES operations ON DELETE CASCADE,
        created_at   timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT files_one_name_per_operation UNIQUE (operation_id, name)
    )
    """,
    "CREATE INDEX files_created_at ON files (created_at)",
    """
    CREATE TABLE file_parts (
        file_id    uuid NOT NULL REFERENCES files ON DELETE CASCADE,
        start_byte bigint NOT NULL CHECK (start_byte >= 0),
        content    bytea NOT NULL CHECK (content <> ''),
        PRIMARY KEY (file_id, start_byte)
    )
    """,
    """
    CREATE TABLE feeds (
        url       text PRIMARY KEY,
        etag      text NOT NULL,
        synced_at timestamptz NOT NULL DEFAULT now()
    )
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
    schema.create_idempotency(op)
