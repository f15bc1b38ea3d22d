"""What can happen to a file: bytes that change, ends that are lost, parts that are others.

A damage takes a path and a random generator, damages the file or one of the files below, and
returns what it did.
"""

import json
import pathlib
from collections.abc import Callable

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

Damage = Callable[[pathlib.Path, np.random.Generator], str]


def bits(path: pathlib.Path, random: np.random.Generator) -> str:
    """A few bits flipped, anywhere."""
    path, content = _bytes(path, random)
    places = random.integers(len(content), size=random.integers(1, 9))
    for place in places:
        content[place] ^= 1 << random.integers(8)
    path.write_bytes(content)
    return f"{path.name}: bits flipped at {sorted(places.tolist())}"


def header(path: pathlib.Path, random: np.random.Generator) -> str:
    """A few bytes changed near the beginning, where formats describe themselves."""
    path, content = _bytes(path, random)
    places = random.integers(min(2000, len(content)), size=random.integers(1, 9))
    for place in places:
        content[place] = random.integers(256)
    path.write_bytes(content)
    return f"{path.name}: bytes changed at {sorted(places.tolist())}"


def truncated(path: pathlib.Path, random: np.random.Generator) -> str:
    """The end is lost."""
    path, content = _bytes(path, random)
    length = int(random.integers(len(content)))
    path.write_bytes(content[:length])
    return f"{path.name}: {length} of {len(content)} bytes left"


def blank(path: pathlib.Path, random: np.random.Generator) -> str:
    """A page of zeros, as a disk leaves it that lost power."""
    path, content = _bytes(path, random)
    size = min(512, max(1, len(content) // 4))
    start = int(random.integers(len(content) - size + 1))
    content[start : start + size] = bytes(size)
    path.write_bytes(content)
    return f"{path.name}: {size} zeros from {start}"


def foreign(path: pathlib.Path, random: np.random.Generator) -> str:
    """Something else stands in its place: nothing, text, or noise."""
    path = _file(path, random)
    name, content = (
        ("nothing", b""),
        ("text", b"<!DOCTYPE html><title>404</title>\n"),
        ("noise", random.bytes(999)),
    )[random.integers(3)]
    path.write_bytes(content)
    return f"{path.name}: {name} in its place"


def absent(path: pathlib.Path, random: np.random.Generator) -> str:
    """The file is gone."""
    path = _file(path, random)
    path.unlink()
    return f"{path.name}: gone"


def _dataset(file: h5py.File, random: np.random.Generator) -> str:
    """The path of some array over time in it."""
    found: list[str] = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.ndim and not name.startswith("mask"):
            found.append(name)

    file.visititems(visit)
    return found[random.integers(len(found))]


def lost_dataset(path: pathlib.Path, random: np.random.Generator) -> str:
    """An array is not there."""
    with h5py.File(path, "a") as file:
        del file[name := _dataset(file, random)]
    return f"{name}: removed"


def renamed_dataset(path: pathlib.Path, random: np.random.Generator) -> str:
    """An array has another name."""
    with h5py.File(path, "a") as file:
        name = _dataset(file, random)
        file.move(name, f"{name}_old")
    return f"{name}: renamed"


def _replaced(path, random, change) -> str:
    with h5py.File(path, "a") as file:
        name = _dataset(file, random)
        item = file[name]
        array, attributes = change(item[()]), dict(item.attrs)
        del file[name]
        file[name] = array
        file[name].attrs.update(attributes)
    return name


def short_dataset(path: pathlib.Path, random: np.random.Generator) -> str:
    """An array lacks its last step."""
    return f"{_replaced(path, random, lambda array: array[:-1])}: without its last step"


def text_dataset(path: pathlib.Path, random: np.random.Generator) -> str:
    """An array holds text."""
    return f"{_replaced(path, random, lambda array: array.astype('S'))}: as text"


def broken_dataset(path: pathlib.Path, random: np.random.Generator) -> str:
    """An array holds NaN, or of integers is of NaN entirely."""

    def change(array):
        array = np.array(array, np.result_type(array, np.float32))
        array[random.integers(len(array))] = np.nan
        return array

    return f"{_replaced(path, random, change)}: NaN at a step"


def json_entry(path: pathlib.Path, random: np.random.Generator) -> str:
    """An entry of a JSON file is not there, or is another thing."""
    path = _file(path, random, ".json")
    content = json.loads(path.read_text())
    done = _spoil(content, random)
    path.write_text(json.dumps(content))
    return f"{path.name}: {done}"


def yaml_entry(path: pathlib.Path, random: np.random.Generator) -> str:
    """An entry of a YAML file is not there, or is another thing."""
    content = yaml.safe_load(path.read_text())
    done = _spoil(content, random)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return f"{path.name}: {done}"


def _spoil(content, random: np.random.Generator) -> str:
    """Removes or replaces one entry, however deep."""
    places = list(_entries(content))
    parent, key = places[random.integers(len(places))]
    wrong = (None, "x", -1, 1e300, float("nan"), [], {}, [None], {"x": 1}, True, "", "1e3")
    if random.random() < 0.3:
        del parent[key]
        return f"{key!r} removed"
    parent[key] = wrong[random.integers(len(wrong))]
    return f"{key!r} is {parent[key]!r}"


def _entries(content):
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in list(pairs):
        yield content, key
        if isinstance(value, dict | list):
            yield from _entries(value)


def column(path: pathlib.Path, random: np.random.Generator) -> str:
    """A column of a Parquet file is gone, is text, lacks a value, or all lack the last row."""
    path = _file(path, random, ".parquet")
    table = pq.read_table(path)
    index = int(random.integers(table.num_columns))
    name, values = table.column_names[index], table.column(index).to_pylist()
    kind = random.integers(4)
    if kind == 0:
        table, done = table.drop_columns([name]), f"{name} removed"
    elif kind == 1:
        table = table.set_column(index, name, pa.array([str(value) for value in values]))
        done = f"{name} as text"
    elif kind == 2:
        values[random.integers(len(values))] = None
        table = table.set_column(index, name, pa.array(values, table.schema.field(index).type))
        done = f"{name} lacks a value"
    else:
        table, done = table.slice(0, table.num_rows - 1), "the last row is lost"
    pq.write_table(table, path)
    return f"{path.name}: {done}"


def _file(path: pathlib.Path, random: np.random.Generator, suffix: str = "") -> pathlib.Path:
    """The path itself, or one of the files below it."""
    if path.is_file():
        return path
    files = sorted(p for p in path.rglob(f"*{suffix}") if p.is_file() and p.stat().st_size)
    return files[random.integers(len(files))]


def _bytes(path: pathlib.Path, random: np.random.Generator) -> tuple[pathlib.Path, bytearray]:
    path = _file(path, random)
    return path, bytearray(path.read_bytes())
