"""The notebooks run from top to bottom, and stand in the repository without their outputs."""

import json
import pathlib
import subprocess
import sys

import pytest

NOTEBOOKS = sorted((pathlib.Path(__file__).parents[1] / "docs/notebooks").glob("*.ipynb"))


def cells(path: pathlib.Path) -> list[dict]:
    content = json.loads(path.read_text())
    assert content["nbformat"] == 4
    return content["cells"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_begins_with_a_title_compiles_and_holds_no_outputs(path):
    first, *_ = every = cells(path)
    assert first["cell_type"] == "markdown" and source(first).startswith("# ")
    for cell in every:
        if cell["cell_type"] == "code":
            compile(source(cell), str(path), "exec")
            assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    code = [source(cell) for cell in cells(path) if cell["cell_type"] == "code"]
    script = tmp_path / "notebook.py"
    script.write_text("import matplotlib\nmatplotlib.use('Agg')\n" + "\n\n".join(code))
    subprocess.run([sys.executable, "-W", "ignore", script], cwd=path.parents[2], check=True)
