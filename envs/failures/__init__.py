"""Scripts of sensor failure, and the rules they are made of."""
