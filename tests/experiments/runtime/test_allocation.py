"""Commands of the package start again with huge pages, once, and nothing else does."""

import os
import subprocess
import sys

import pytest

from experiments.runtime.allocation import TUNABLE, with_huge_pages

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")


def test_only_a_command_of_the_package_is_changed_and_only_once():
    command = ["python", "-u", "-m", "experiments.train", "--seed", "3"]
    changed = with_huge_pages(command, {"HOME": "/"})
    assert changed == {"HOME": "/", "GLIBC_TUNABLES": f"{TUNABLE}=1"}
    assert with_huge_pages(command, changed) is None
    kept = {"GLIBC_TUNABLES": f"{TUNABLE}=0"}
    assert with_huge_pages(command, kept) is None
    other = {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}
    installed = ["python", "/venv/bin/mummi-train", "--seed", "3"]
    assert with_huge_pages(installed, {"HOME": "/"}) == changed
    joined = with_huge_pages(command, other)["GLIBC_TUNABLES"]
    assert joined == f"glibc.malloc.arena_max=2:{TUNABLE}=1"
    for program in (
        ["python", "-m", "pytest"],
        ["python", "-m", "pdb", "-m", "experiments.train"],
        ["python", "script.py", "experiments.train"],
        ["python", "-c", "import experiments.train"],
        ["python", "-m"],
        ["python", "mummi.py"],
        ["python"],
    ):
        assert with_huge_pages(program, {}) is None


@linux
def test_a_command_begins_anew_with_its_arguments(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "with open(os.environ['STARTS'], 'a') as file:\n"
        "    print(os.environ.get('GLIBC_TUNABLES'), *sys.orig_argv[1:], file=file)\n"
    )
    environ = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    environ |= {"STARTS": str(tmp_path / "starts"), "PYTHONPATH": str(tmp_path)}
    command = ["-m", "experiments.runtime.allocation", "a b"]
    subprocess.run([sys.executable, *command], env=environ, check=True)
    starts = (tmp_path / "starts").read_text().splitlines()
    assert starts == [f"{first} {' '.join(command)}" for first in ("None", f"{TUNABLE}=1")]
    inside = "import experiments, os; print(os.environ.get('GLIBC_TUNABLES'))"
    output = subprocess.check_output([sys.executable, "-c", inside], env=environ, text=True)
    assert output == "None\n"
