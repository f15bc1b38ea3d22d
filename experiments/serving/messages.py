"""Messages as openpi's server and client pack them: msgpack, with NumPy arrays as maps.

An array is a map with the keys ``b"__ndarray__"``, ``b"data"``, ``b"dtype"`` and ``b"shape"``, a
NumPy scalar one with ``b"__npgeneric__"``, ``b"data"`` and ``b"dtype"``. Arrays hold numbers alone:
nothing of a message is ever run or unpickled.
"""

from typing import Any

import msgpack
import numpy as np

DTYPES = {
    np.dtype(name).str: np.dtype(name)
    for name in (
        *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
        *("float16", "float32", "float64"),
    )
}
"""The dtypes that an array may have, by how a message spells them."""
ENTRIES = 1024
"""Most entries of a map or list. Long rows of numbers are arrays, whose data are bytes; and msgpack
makes room for as many entries as a header claims."""


def pack(content: Any) -> bytes:
    """A message of plain Python values and arrays of ``DTYPES``."""
    return msgpack.packb(content, default=_as_map)


def unpack(message: bytes) -> Any:
    """What a message holds; arrays are read-only.

    Raises:
        ValueError: it is not msgpack, or an array in it is damaged or of another dtype.
    """
    limits = {"max_array_len": ENTRIES, "max_map_len": ENTRIES, "max_ext_len": 0}
    try:
        return msgpack.unpackb(message, object_hook=_as_array, **limits)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"the message is not msgpack as it should be: {str(error) or type(error).__name__}"
        ) from error


def _as_map(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} cannot be sent")
    return {
        b"__ndarray__": True,
        b"data": value.tobytes(),
        b"dtype": value.dtype.str,
        b"shape": value.shape,
    }


def _as_array(entries: dict) -> Any:
    """The array or scalar that a map stands for, or the map."""
    if b"__ndarray__" in entries:
        shape = entries.get(b"shape")
        if not isinstance(shape, list):
            raise ValueError("an array has no shape")
        return np.frombuffer(entries.get(b"data"), _dtype(entries)).reshape(shape)
    if b"__npgeneric__" in entries:
        return _dtype(entries).type(entries.get(b"data"))
    return entries


def _dtype(entries: dict) -> np.dtype:
    spelled = entries.get(b"dtype")
    if spelled not in DTYPES:
        raise ValueError(f"an array has the dtype {spelled!r}; it may be {', '.join(DTYPES)}")
    return DTYPES[spelled]
