"""All SQL of the inventory: set-based, on raw asyncpg, in the one lock order of Titan: claims by id, then SKUs by key.

Each operation is one transaction over many orders: claim them, lock their SKUs (one row each, however many orders want
it), let `rules` decide, and write one statement per table. What was answered is kept, so asking again gives the same
answer. This package never decides by itself whether an order gets its units.
"""

from svc_inventory.inventory.store.adjustments import Adjustment, save_adjusted
from svc_inventory.inventory.store.journal import StoredMovement, list_movements
from svc_inventory.inventory.store.reservations import Reserved, save_released, save_reservations, save_shipped
from svc_inventory.inventory.store.restocks import RestockWanted, save_restocked
from svc_inventory.inventory.store.shelves import find_shelf, list_warehouse_ids

__all__ = [
    "Adjustment",
    "Reserved",
    "RestockWanted",
    "StoredMovement",
    "find_shelf",
    "list_movements",
    "list_warehouse_ids",
    "save_adjusted",
    "save_released",
    "save_reservations",
    "save_restocked",
    "save_shipped",
]
