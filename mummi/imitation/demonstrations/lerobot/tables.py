"""Parquet as arrays: columns of numbers and of encoded images."""

import io
import pathlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from mummi.imitation.demonstrations.lerobot.layout import TASKS

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's name of a picture by its channels."""


def read_table(
    path: pathlib.Path, columns: Sequence[str] | None = None, optional: Sequence[str] = ()
) -> pa.Table:
    """Columns of a Parquet file, by default all, and those of the ``optional`` that it has.

    Raises:
        ValueError: the file is missing or damaged, or lacks a column.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            if absent := [name for name in columns or () if name not in names]:
                raise ValueError(
                    f"{path} has no column {absent[0]!r}; it has {', '.join(names)}: write the "
                    "dataset again, or leave that feature out with --obs"
                )
            more = [name for name in optional if name in names]
            table = file.read(columns and [*columns, *more])
            table.validate(full=True)
            return table
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; fetch the dataset again, all of it") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise ValueError(
            f"{path} is no Parquet file, or damaged ({said}); fetch it again"
        ) from error


def numbers(table: pa.Table, key: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """A column of numbers as an array.

    Args:
        table: T rows.
        key: the column.
        shape: of one value; () and (1,) are stored alike.
        where: what an error says it is.

    Returns:
        [T, *shape] of the dtype stored; what is null is NaN, in a floating dtype.

    Raises:
        ValueError: it holds something else.
    """
    steps, size = len(table), int(np.prod(shape))
    values = table[key].combine_chunks()
    there = values.is_valid().to_numpy(zero_copy_only=False)
    rows, lengths = steps, []
    if _is_list(values.type):
        rows = int(there.sum())
        lengths = pc.unique(pc.list_value_length(values.drop_null())).to_pylist()
    while _is_list(values.type):
        values = values.flatten()  # leaves out rows that are null
    if not _is_number(values.type):
        raise ValueError(f"{where}: column {key!r} holds {table[key].type}; it must hold numbers")
    flat = values.to_numpy(zero_copy_only=False)
    flat = flat.astype(np.float64) if flat.dtype == object else flat  # booleans with nulls
    if flat.size != rows * size or lengths not in ([], list(shape[:1])):
        raise ValueError(
            f"{where}: column {key!r} has {flat.size} numbers in {rows} frames; by info.json each "
            f"frame has {size}, of shape {shape}"
        )
    flat = flat.reshape(rows, *shape)
    if rows == steps:
        return flat
    whole = np.full((steps, *shape), np.nan, np.result_type(flat, np.float32))
    whole[there] = flat
    return whole


def pictures(
    table: pa.Table, key: str, shape: tuple[int, int, int], depth: bool, where: str
) -> tuple[np.ndarray, np.ndarray]:
    """A column of encoded images as an array.

    Args:
        table: T rows.
        key: the column, of ``{bytes, path}``.
        shape: H, W, C.
        depth: give the numbers as they are stored, not colours.
        where: what an error says it is.

    Returns:
        [T, H, W, C], uint8 or for depth what is stored; and bool [T], whether there is one. Where
        there is none are zeros.

    Raises:
        ValueError: it holds something else, or a damaged image.
    """
    rows = table[key].to_pylist()
    decoded = [None if row is None else _decode(row, shape, depth, key, where) for row in rows]
    there = np.array([picture is not None for picture in decoded], bool)
    dtype = np.result_type(*(p for p in decoded if p is not None)) if there.any() else np.uint8
    values = np.zeros((len(rows), *shape), dtype)
    for step in np.flatnonzero(there):
        values[step] = decoded[step]
    return values, there


def read_tasks(root: pathlib.Path, total: int = 0) -> dict[int, str]:
    """The sentences of ``meta/tasks.parquet`` by their ``task_index``.

    Args:
        root: folder of the dataset.
        total: how many there are, by ``meta/info.json``; the file may be missing where it is 0.

    Raises:
        ValueError: the file is missing or damaged, or lacks a column, an index or a sentence.
    """
    path = root / TASKS
    if not path.exists() and not total:
        return {}
    table = read_table(path)
    # pandas names the column of an index that has no name itself.
    names = [name for name in ("task", "__index_level_0__") if name in table.column_names]
    if not names or "task_index" not in table.column_names:
        raise ValueError(
            f"{path} has columns {', '.join(table.column_names)}; it needs task and task_index"
        )
    indices, sentences = (table[name].to_pylist() for name in ("task_index", names[0]))
    if not all(isinstance(i, int) for i in indices) or None in sentences or len(indices) < total:
        raise ValueError(
            f"{path} has gaps: it needs a whole number and a sentence in each row, and {total} of "
            "them by meta/info.json; fetch it again"
        )
    return {index: str(sentence) for index, sentence in zip(indices, sentences, strict=True)}


def _is_list(kind: pa.DataType) -> bool:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests)


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def _decode(row, shape, depth, key, where):
    data = row.get("bytes") if isinstance(row, dict) else row
    if not isinstance(data, bytes):
        raise ValueError(
            f"{where}: column {key!r} holds no images but {str(row)[:80]!r}; LeRobot embeds them"
        )
    try:
        with Image.open(io.BytesIO(data)) as picture:
            value = np.asarray(picture if depth else picture.convert(MODES[shape[-1]]))
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(
            f"{where}: column {key!r} holds a damaged image ({error}); fetch it again"
        ) from error
    value = value[..., None] if value.ndim == 2 else value
    if value.shape != shape:
        raise ValueError(
            f"{where}: column {key!r} has an image of shape {value.shape}, and info.json says "
            f"{shape}"
        )
    return value


def encode(picture: np.ndarray) -> bytes:
    """An image as PNG, or depth [H, W, 1] float32 as TIFF; both lossless."""
    file = io.BytesIO()
    flat = picture[..., 0] if picture.shape[-1] == 1 else picture
    if picture.dtype == np.uint8:
        Image.fromarray(flat).save(file, "PNG", compress_level=1)
    else:
        Image.fromarray(flat).save(file, "TIFF", compression="tiff_deflate")
    return file.getvalue()
