"""What learning from demonstrations is made of: its data and its stages."""
