"""The choice of an OpenGL backend, also on a machine that has none."""

import os
import pathlib
import subprocess
import sys

import pytest

import envs
from envs.processes import parallel
from envs.rendering import gl
from experiments import train


@pytest.fixture
def renders(monkeypatch):
    """Replaces the attempt to render: only the named backends succeed, EGL on its device 0 alone.

    What was tried is noted in the list that it gives.
    """
    for name in ("MUJOCO_GL", "MUMMI_RENDERS", "MUJOCO_EGL_DEVICE_ID"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)

    def only(*working):
        tried = []

        def failure(backend, any_device=False):
            tried.append(backend)
            device = os.environ.get(gl.DEVICE, "0")
            works = backend in working and (backend != "egl" or any_device or device == "0")
            return None if works else f"no {backend} here"

        monkeypatch.setattr(gl, "failure", failure)
        return tried

    return only


@pytest.mark.parametrize(
    ("working", "expected"), [(("egl", "osmesa"), "egl"), (("osmesa",), "osmesa")]
)
def test_the_first_backend_that_renders_is_chosen(renders, working, expected):
    renders(*working)
    assert gl.choose() == expected == os.environ["MUJOCO_GL"]


def test_the_users_choice_is_the_only_candidate(renders, monkeypatch):
    renders("egl", "glfw")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    with pytest.raises(ImportError, match=r"MUJOCO_GL=osmesa: no osmesa here.* Unset MUJOCO_GL"):
        gl.choose()
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert gl.choose() == "glfw"


def test_what_was_seen_to_render_is_not_tried_again_until_it_changes(renders, monkeypatch):
    tried = renders("egl", "osmesa")
    assert [gl.choose(), gl.choose()] == ["egl", "egl"] and tried == ["egl"]
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert gl.choose() == "osmesa" and tried == ["egl", "osmesa"]
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setenv("MUJOCO_EGL_DEVICE_ID", "0")
    assert gl.choose() == "egl" and tried == ["egl", "osmesa", "egl"]


def test_a_device_that_egl_lacks_is_named_and_nothing_else_taken_for_it(renders, monkeypatch):
    renders("egl", "osmesa")
    monkeypatch.setenv("MUJOCO_EGL_DEVICE_ID", "7")
    with pytest.raises(ImportError, match=r"MUJOCO_EGL_DEVICE_ID is '7'.*no egl.*; unset it, or"):
        gl.choose()
    renders("osmesa")  # without EGL its devices are no matter
    assert gl.choose() == "osmesa"


def test_without_any_backend_the_command_says_what_to_type(renders, capsys):
    renders()
    assert gl.main() == 1
    message = capsys.readouterr().err
    assert "no egl here" in message
    assert "no osmesa here" in message
    assert gl.INSTALL_LINE in message


@pytest.mark.parametrize(
    "task",
    ["walker_walk", "dmc_cup_catch", "table_wiping", "libero_10/3", "metaworld", "robomimic/can"],
)
def test_it_is_settled_before_processes_are_started_for_a_task_that_is_drawn(
    renders, workers, monkeypatch, task
):
    renders()
    monkeypatch.setattr(parallel, "Process", lambda *_: pytest.fail("a process was started"))
    with pytest.raises(ImportError, match="cannot render without a display"):
        parallel.ParallelEnvironments(task, [0])


def test_a_task_that_is_not_drawn_needs_no_backend(renders):
    renders()
    envs.settle_drawing("dummy")
    envs.settle_drawing("toy_x_y")
    envs.settle_drawing("somebody.s:Own")


def test_a_command_says_it_in_one_sentence(renders, workers, tmp_path, capsys):
    renders()
    flags = ["--task", "walker_walk", "--preset", "debug", "--logdir", str(tmp_path / "run")]
    with pytest.raises(SystemExit):
        train.main(flags)
    assert "error: MuJoCo cannot render without a display" in capsys.readouterr().err


def test_a_device_of_egl_and_those_of_the_networks_do_not_disturb_each_other():
    """robosuite takes CUDA_VISIBLE_DEVICES for a list that has to hold the device of EGL."""
    script = "import os, envs; envs.make('table_wiping').close()\nprint(os.environ['{}'])"
    name = "CUDA_VISIBLE_DEVICES"
    done = subprocess.run(
        [sys.executable, "-c", script.format(name)],
        env={**os.environ, name: "1", "MUJOCO_EGL_DEVICE_ID": "0"},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_robosuite_opens_no_log():
    script = """
import sys
opened = []
sys.addaudithook(lambda event, values: event == "open" and opened.append((values[0], values[2])))
import envs.table_wiping.simulator, os
writes = os.O_WRONLY | os.O_RDWR | os.O_APPEND
print([name for name, flags in opened if flags & writes and str(name).endswith(".log")])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_broken_backend_is_reported_by_its_error():
    assert "wayland" in gl.failure("wayland")


def test_a_library_without_a_display_does_not_count(monkeypatch):
    """An EGL that loads and finds no driver must not be chosen."""
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_FILENAMES", "/nonexistent.json")
    assert gl.failure("egl") is not None


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Runs the installer where nothing renders and no package can be installed."""
    for name in ("apt-get", "sudo"):
        command = tmp_path / name
        command.write_text(f'#!/bin/sh\necho "{name} $@" >> {tmp_path}/called\nexit 1\n')
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYOPENGL_PLATFORM", "none")
    for name in ("MUJOCO_GL", "MUMMI_RENDERS"):
        monkeypatch.delenv(name, raising=False)

    def run():
        done = subprocess.run(
            ["experiments/install_gl.sh", sys.executable],
            cwd=pathlib.Path(gl.__file__).parents[2],
            capture_output=True,
            text=True,
        )
        called = tmp_path / "called"
        return done, called.read_text() if called.exists() else ""

    return run


def test_the_installer_tries_and_then_says_what_to_type(install):
    done, called = install()
    assert "install -qq --no-install-recommends libosmesa6" in called
    assert done.returncode == 1
    assert gl.INSTALL_LINE in done.stderr


def test_the_installer_leaves_the_users_choice_alone(install, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    done, called = install()
    assert called == ""
    assert done.returncode == 1
    assert "Unset MUJOCO_GL" in done.stderr
