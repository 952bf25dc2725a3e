"""What of an order is which seller's, and who bears what of a refund; the money itself is svc_payment's."""
