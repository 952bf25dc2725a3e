"""The first schema: categories, products with their variants, and the shelves that lead from one to the other."""

from alembic import op

from mesh import schema

revision = "0001"
down_revision = None

STATEMENTS = (
    # `titles` and `ancestor_ids` run from the root to the category itself: the one is the order of the tree and what
    # makes a title unique below its parent, the other finds the shelves that a product of the category stands on.
    """
    CREATE TABLE categories (
        category_id        uuid PRIMARY KEY,
        parent_category_id uuid REFERENCES categories,
        titles             text[] COLLATE "C" NOT NULL CHECK (cardinality(titles) BETWEEN 1 AND 8),
        ancestor_ids       uuid[] NOT NULL CHECK (cardinality(ancestor_ids) = cardinality(titles)),
        CONSTRAINT categories_one_title_per_parent UNIQUE (titles)
    )
    """,
    # `seq` is the order in which products were made. The search column is the database's own: no write forgets it.
    """
    CREATE TABLE products (
        product_id   uuid PRIMARY KEY,
        seq          bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
        version      bigint NOT NULL CHECK (version > 0),
        title        text NOT NULL CHECK (title <> ''),
        description  text NOT NULL,
        category_ids uuid[] NOT NULL,
        seller_id    text NOT NULL CHECK (seller_id <> ''),
        created_at   timestamptz NOT NULL,
        updated_at   timestamptz NOT NULL,
        search       tsvector GENERATED ALWAYS AS (
            setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', description), 'B')
        ) STORED
    )
    """,
    "CREATE INDEX products_search ON products USING gin (search)",
    """
    CREATE TABLE variants (
        sku                   text COLLATE "C" PRIMARY KEY,
        product_id            uuid NOT NULL REFERENCES products,
        place                 smallint NOT NULL,
        currency_code         text NOT NULL,
        price_minor           bigint NOT NULL CHECK (price_minor >= 0),
        tax_rate_basis_points integer NOT NULL CHECK (tax_rate_basis_points BETWEEN 0 AND 10000),
        attributes            jsonb NOT NULL
    )
    """,
    "CREATE INDEX variants_product_id ON variants (product_id)",
    # One row for each category of a product and for each category above it, so that a page of a shelf is a range.
    """
    CREATE TABLE category_products (
        category_id uuid NOT NULL REFERENCES categories,
        seq         bigint NOT NULL REFERENCES products (seq),
        PRIMARY KEY (category_id, seq)
    )
    """,
    "CREATE INDEX category_products_seq ON category_products (seq)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)
    schema.create_outbox(op)
