"""What the tree of categories may become."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from svc_catalog.errors import CategoryTooDeep

MAX_LEVELS = 8


@dataclass(frozen=True, slots=True)
class Category:
    """A category; `titles` and `ancestor_ids` run from the root to itself."""

    category_id: UUID
    titles: tuple[str, ...]
    ancestor_ids: tuple[UUID, ...]

    @property
    def parent_category_id(self) -> UUID | None:
        """The category above, or None for a root."""
        return self.ancestor_ids[-2] if len(self.ancestor_ids) > 1 else None

    @property
    def path(self) -> str:
        """The titles from the root down, as people read them."""
        return " / ".join(self.titles)


def below(parent: Category | None, *, category_id: UUID, title: str) -> Category:
    """Return a new category below a parent, or a new root.

    Raises:
        CategoryTooDeep: The tree would be deeper than eight levels.
    """
    titles, ancestors = (parent.titles, parent.ancestor_ids) if parent else ((), ())
    if len(titles) >= MAX_LEVELS:
        raise CategoryTooDeep(f"the tree has {MAX_LEVELS} levels at most", depth=len(titles) + 1)
    return Category(category_id, (*titles, title), (*ancestors, category_id))
