#!/bin/sh
# Makes sure that MuJoCo can render without a display: installs OSMesa where nothing renders yet
# and no password is needed; otherwise says what to type. Usage: install_gl.sh PYTHON
set -u
python=$1

"$python" -m envs.rendering.gl 2>/dev/null && exit 0

# OSMesa is of no use to someone who asked for another backend.
if [ "${MUJOCO_GL:-osmesa}" = osmesa ] && command -v apt-get >/dev/null; then
    if [ "$(id -u)" -eq 0 ]; then sudo=""; else sudo="sudo -n"; fi
    install="$sudo env DEBIAN_FRONTEND=noninteractive
        apt-get install -qq --no-install-recommends libosmesa6"
    # The package lists are fetched only where they are missing or too old to serve.
    $install || { $sudo apt-get update -qq && $install; }
fi

exec "$python" -m envs.rendering.gl
