"""How fast the panel models are, beside lavaan."""
