"""Which OpenGL backend can render here without a display; ``python -m envs.rendering.gl`` tells."""

import os
import subprocess
import sys

INSTALL_LINE = "sudo apt-get update && sudo apt-get install -y --no-install-recommends libosmesa6"

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


def failure(backend: str) -> str | None:
    """Why one picture cannot be rendered with a backend.

    The attempt is made in a child process, because MuJoCo settles on one backend at import.

    Args:
        backend: a value of ``MUJOCO_GL``.

    Returns:
        the error, in one line; None when the picture was rendered.
    """
    child = subprocess.run(
        [sys.executable, "-c", RENDER],
        env={**os.environ, "MUJOCO_GL": backend},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    if child.returncode == 0:
        return None
    return " ".join(child.stdout.split()) or f"exit status {child.returncode}"


def available_backend() -> str | None:
    """The first backend that renders: ``egl``, ``osmesa``, what ``MUJOCO_GL`` names, or None."""
    return next((backend for backend in candidates() if failure(backend) is None), None)


def main() -> int:
    """Prints the backend that renders, or why none does and what to type; returns 0 or 1."""
    backend = available_backend()
    if backend:
        print(f"rendering works with MUJOCO_GL={backend}")
        return 0
    print("MuJoCo cannot render without a display:", file=sys.stderr)
    for candidate in candidates():
        print(f"  MUJOCO_GL={candidate}: {failure(candidate)}", file=sys.stderr)
    if os.environ.get("MUJOCO_GL"):
        print("Unset MUJOCO_GL to let the backend be chosen.", file=sys.stderr)
    print(f"A software renderer is installed with\n  {INSTALL_LINE}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
