"""What users are found by: equal for what is the same, and for nothing else, and of no use without the key."""

from __future__ import annotations

import hashlib
from uuid import UUID

from svc_auth.blind_index import IndexKey

KEY, OTHER = b"k" * 32, b"o" * 32
INDEX = IndexKey(KEY)
IMPORTER = UUID(int=1)


def test_an_address_is_found_however_it_is_typed():
    """As everywhere: without spaces, in lower case, composed."""
    found = INDEX.email("ad\u00e9@example.com")

    assert 32 == len(found)
    assert found == INDEX.email("  Ade\u0301@Example.COM ") == IndexKey(KEY).email("ad\u00e9@example.com")


def test_a_copy_of_the_database_tries_no_addresses():
    """Neither a hash without the key nor one with another key is the one that is stored."""
    email = "ada@example.com"

    assert INDEX.email(email) != IndexKey(OTHER).email(email)
    assert INDEX.email(email) not in (hashlib.sha256(text).digest() for text in (email.encode(), KEY + email.encode()))
    assert INDEX.check != IndexKey(OTHER).check


def test_no_two_things_are_found_by_the_same():
    """Not one kind of it and another, and not one that ends where the other begins."""
    found = [
        INDEX.email("a"),
        INDEX.email("ab"),
        INDEX.identity("a", "b"),
        INDEX.identity("ab", ""),
        INDEX.identity("", "ab"),
        INDEX.customer(IMPORTER, "a"),
        INDEX.customer(UUID(int=2), "a"),
        INDEX.check,
    ]
    assert len(found) == len(set(found))
