"""Settings that are read only where another has certain values, and what refuses the others."""

import dataclasses
from collections.abc import Collection
from typing import Any


def only(setting: str, *values: str, default: Any) -> Any:
    """A dataclass field that is read only where the field ``setting`` has one of ``values``."""
    return dataclasses.field(default=default, metadata={"only": (setting, values)})


def require_read(settings: Any, given: Collection[str]) -> None:
    """Makes sure that what was asked for is read.

    Args:
        settings: a dataclass, of whose fields some are ``only``.
        given: names of the fields that somebody gave.

    Raises:
        ValueError: one of them is not read, by its name.
    """
    for field in dataclasses.fields(settings):
        if field.name not in given or "only" not in field.metadata:
            continue
        setting, values = field.metadata["only"]
        value = getattr(settings, setting)
        if value not in values:
            raise ValueError(
                f"{field.name} is read where {setting} is {' or '.join(values)}, and here it is "
                f"{value}: leave {field.name} out, or change {setting}"
            )
