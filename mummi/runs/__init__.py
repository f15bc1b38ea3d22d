"""What a run leaves behind: its record, checkpoints, metrics; and the devices it uses."""
