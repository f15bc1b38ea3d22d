"""Which OpenGL backend can render here without a display; ``python -m envs.rendering.gl`` tells."""

import os
import subprocess
import sys

INSTALL_LINE = "sudo apt-get update && sudo apt-get install -y --no-install-recommends libosmesa6"
DEVICE = "MUJOCO_EGL_DEVICE_ID"
"""Environment variable of MuJoCo: which of EGL's devices draws."""
# Says to child processes which backend and device were seen to render.
_RENDERS = "MUMMI_RENDERS"

# A library that loads may still have no device to draw on, so only a picture proves it works.
# The error goes to stdout, as stderr ends with what a half-made context says when it is deleted.
RENDER = """
import sys
try:
    import mujoco
    with mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8) as renderer:
        renderer.render()
except Exception as error:
    print(f"{type(error).__name__}: {error}")
    sys.exit(1)
"""


def candidates() -> tuple[str, ...]:
    """The backends to try, best first: the one that ``MUJOCO_GL`` names, or both headless ones."""
    chosen = os.environ.get("MUJOCO_GL")
    return (chosen,) if chosen else ("egl", "osmesa")


def failure(backend: str, any_device: bool = False) -> str | None:
    """Why one picture cannot be rendered with a backend.

    The attempt is made in a child process, because MuJoCo settles on one backend at import.

    Args:
        backend: a value of ``MUJOCO_GL``.
        any_device: leave ``MUJOCO_EGL_DEVICE_ID`` aside.

    Returns:
        the error, in one line; None when the picture was rendered.
    """
    environ = {**os.environ, "MUJOCO_GL": backend}
    if any_device:
        environ.pop(DEVICE, None)
    child = subprocess.run(
        [sys.executable, "-c", RENDER],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    if child.returncode == 0:
        return None
    return " ".join(child.stdout.split()) or f"exit status {child.returncode}"


def choose() -> str:
    """Settles the backend for this process and those that it starts, once.

    ``MUJOCO_GL`` is set unless the user has set it; that it renders is noted in the environment, so
    that no child tries again.

    Returns:
        the value of ``MUJOCO_GL``.

    Raises:
        ImportError: no backend renders, or not the one or the device that the user named; with what
            to change or to install.
    """
    for backend in candidates():
        device = os.environ.get(DEVICE)
        tried = f"{backend} {device}"
        if os.environ.get(_RENDERS) != tried and failure(backend) is not None:
            if backend == "egl" and device and failure(backend, any_device=True) is None:
                raise ImportError(
                    f"{DEVICE} is {device!r}, and EGL cannot render there "
                    f"({failure(backend)}); unset it, or give the number of another device"
                )
            continue
        os.environ["MUJOCO_GL"], os.environ[_RENDERS] = backend, tried
        return backend
    raise ImportError(_advice())


def _advice() -> str:
    """Why no candidate renders, and what to type."""
    reasons = "; ".join(f"MUJOCO_GL={backend}: {failure(backend)}" for backend in candidates())
    chosen = os.environ.get("MUJOCO_GL")
    unset = "Unset MUJOCO_GL to let the backend be chosen. " if chosen else ""
    return (
        f"MuJoCo cannot render without a display ({reasons}). {unset}"
        f"A software renderer is installed with: {INSTALL_LINE}"
    )


def main() -> int:
    """Prints the backend that renders, or why none does and what to type; returns 0 or 1."""
    try:
        print(f"rendering works with MUJOCO_GL={choose()}")
    except ImportError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
