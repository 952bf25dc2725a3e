"""WarehouseService: the places that hold stock."""
