"""The nearest known name ends a message, and the module that finds it costs an import nothing."""

import ast
import pathlib

import pytest

from mummi.runs import names
from mummi.runs.names import closest


@pytest.mark.parametrize(
    ("name", "clause"),
    [("tuch", "; did you mean 'touch'?"), ("touch", "; did you mean 'touch'?"), ("", "")],
)
def test_the_nearest_known_name_is_named_and_none_that_is_far(name, clause):
    assert closest(name, ["rgb", "depth", "touch"]) == clause


def test_known_names_may_be_anything_that_is_iterated():
    known = {"image": 1, "depth": 2}
    assert closest("imgae", known) == closest("imgae", iter(known)) == "; did you mean 'image'?"
    assert closest("imgae", []) == ""


def test_it_needs_the_standard_library_alone():
    tree = ast.parse(pathlib.Path(names.__file__).read_text())
    imported = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert {getattr(n, "module", None) or n.names[0].name for n in imported} == {
        "difflib",
        "collections.abc",
    }
