"""Recording demonstrations."""
