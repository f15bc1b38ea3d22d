"""robosuite's Lift, PickPlaceCan and NutAssemblySquare with robomimic's observations."""
