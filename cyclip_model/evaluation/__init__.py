"""What stage evaluate asks of a model: features, protocols, the suite of them."""
