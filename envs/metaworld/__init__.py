"""MetaWorld's fifty tasks of a Sawyer arm."""
