"""The choice of an OpenGL backend, also on a machine that has none."""

import os
import pathlib
import subprocess
import sys

import pytest

from envs.rendering import gl


@pytest.fixture
def renders(monkeypatch):
    """Replaces the attempt to render: only the named backends succeed."""
    monkeypatch.delenv("MUJOCO_GL", raising=False)

    def only(*working):
        monkeypatch.setattr(gl, "failure", lambda b: None if b in working else f"no {b} here")

    return only


@pytest.mark.parametrize(
    ("working", "expected"),
    [(("egl", "osmesa"), "egl"), (("osmesa",), "osmesa"), ((), None)],
)
def test_the_first_backend_that_renders_is_chosen(renders, working, expected):
    renders(*working)
    assert gl.available_backend() == expected


def test_the_users_choice_is_the_only_candidate(renders, monkeypatch):
    renders("egl", "glfw")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert gl.available_backend() is None
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert gl.available_backend() == "glfw"


def test_without_any_backend_the_command_says_what_to_type(renders, capsys):
    renders()
    assert gl.main() == 1
    message = capsys.readouterr().err
    assert "no egl here" in message
    assert "no osmesa here" in message
    assert gl.INSTALL_LINE in message


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
    monkeypatch.delenv("MUJOCO_GL", raising=False)

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
