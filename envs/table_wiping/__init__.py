"""robosuite's Wipe with two cameras."""
