"""Names that a person may have misspelt."""

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str:
    """The known name nearest to an unknown one, as a clause that ends an error message.

    Args:
        name: what was given.
        known: what would have been right.

    Returns:
        ``; did you mean 'x'?``, or nothing when no name is near.
    """
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
