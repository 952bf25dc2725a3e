"""The language of the search: of each product the one that its search data was made in, and which are in use.

Search data can be made anew, in another language or by newer dictionaries, while searches go on: a row is always whole
in its own language, and a search asks in each that is in use. The foreign key keeps a language in use while any row is
in it, also one that another transaction is about to insert. There is no index on a row's language: searches have the
one on the data, and a language that goes out of use is looked for once.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE search_languages (
        language   text COLLATE "C" PRIMARY KEY CHECK (language ~ '^[a-z]+$'),
        is_current boolean NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX search_languages_one_is_current ON search_languages (is_current) WHERE is_current",
    "INSERT INTO search_languages (language, is_current) VALUES ('english', true)",
    # Immutable but for its dictionaries: what one makes of a word changes with a new Postgres at most, and then the
    # data is made again.
    """
    CREATE FUNCTION search_document(language text, title text, description text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
        SELECT setweight(to_tsvector(('pg_catalog.' || language)::regconfig, title), 'A')
            || setweight(to_tsvector(('pg_catalog.' || language)::regconfig, description), 'B')
    $$
    """,
    # The data stays as it is, with its index: it was made in English, by the same words. Now a trigger makes it:
    # another expression of the column would have every product written anew, and none read meanwhile. Nor is any
    # looked at for the foreign key: all are in the language of the default.
    """
    ALTER TABLE products
        ADD COLUMN search_language text COLLATE "C" NOT NULL DEFAULT 'english',
        ADD CONSTRAINT products_search_language_fkey
            FOREIGN KEY (search_language) REFERENCES search_languages NOT VALID
    """,
    "ALTER TABLE products ALTER COLUMN search DROP EXPRESSION",
    """
    CREATE FUNCTION make_search_data() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.search := search_document(NEW.search_language, NEW.title, NEW.description);
        RETURN NEW;
    END
    $$
    """,
    """
    CREATE TRIGGER products_search_data BEFORE INSERT OR UPDATE OF search_language, title, description ON products
        FOR EACH ROW EXECUTE FUNCTION make_search_data()
    """,
)


def upgrade() -> None:
    """Create the languages, and give each product its own."""
    for statement in STATEMENTS:
        op.execute(statement)
