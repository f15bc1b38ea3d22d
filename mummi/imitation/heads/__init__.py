"""Action heads: their interface, and the small ones."""
