"""InventoryService: stock, its journal, and what orders hold."""
