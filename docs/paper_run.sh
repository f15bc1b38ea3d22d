#!/usr/bin/env bash
# walker_walk at the paper's sizes in a few minutes of a rented GPU; --help explains.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'END'
docs/paper_run.sh [--minutes 8] [--out FOLDER] [--wheels FOLDER] [--logdir FOLDER] [--preset modern]
                  [flags of experiments.train]
    Installs the wheels, compares bfloat16 with float32 on one update and times updates, trains
    walker_walk for so many minutes, saves, evaluates with none, medium and high of the readings
    missing, and draws the curve. Leave time for compiling and evaluating: each stage says when it
    began, and what one has written stays if a later one is cut off. The same command goes on
    training where it was stopped.

    --minutes  of training; it stops by itself, with a checkpoint.
    --out      gets report.txt (check, table, size of the checkpoint), curve.png and, in run/, what
               experiments.tables and experiments.plot need of the run; by default $OUT, or
               runs/card-out where that is not set.
    --wheels   folder of `wheels`; by default the folder wheels, if there is one.
    --logdir   folder of the run; by default runs/card.
    --preset   of the paper's sizes are paper, published and modern. A rehearsal on a CPU:
                   docs/paper_run.sh --minutes 2 --preset debug --envs 2

docs/paper_run.sh wheels FOLDER [PYTHON VERSION, by default 3.12]
    On a machine with a package registry: fetches for x86-64 Linux what a machine that has JAX for
    its GPU usually lacks, dm_control without what walker_walk does not need: about 55 MiB.
    Also the loaders of EGL as Debian packages, where apt-get is; they are unpacked on the machine
    with the GPU only if nothing renders there.

PYTHON names the interpreter (python3).
END
}

python=${PYTHON:-python3}

fetch() { # FOLDER VERSION
    local pinned platforms=()
    pinned=$(grep -E '^(mujoco|dm_control|tyro|tensorboardX|av)==' requirements.txt)
    for number in 2_34 2_28 2_27 2_24 2_17; do
        platforms+=(--platform "manylinux_${number}_x86_64")
    done
    mkdir -p "$1"
    # shellcheck disable=SC2086
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --implementation cp \
        --python-version "$2" "${platforms[@]}" --platform manylinux2014_x86_64 --dest "$1" \
        $pinned dm-env dm-tree glfw PyOpenGL docstring_parser
    "$python" -m experiments.benchmarks.card trim "$1"/dm_control-*.whl
    if command -v apt-get >/dev/null; then
        (cd "$1" && apt-get download -qq libegl1 libglvnd0 libopengl0 libgl1 libglx0 libgles2) ||
            echo "apt-get has no loaders of EGL here; the machine with the GPU must have them"
    fi
    echo "wheels: $(du -sm "$1" | cut -f1) MiB in $1"
}

install() { # FOLDER
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
        --target "$site" "$1"/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
    if compgen -G "$1/*.deb" >/dev/null && ! "$python" -m envs.rendering.gl; then
        for package in "$1"/*.deb; do dpkg -x "$package" /; done
        ldconfig
    fi
}

stage() { echo "== after $SECONDS s: $*"; }

minutes=8 preset=modern logdir=runs/card out=${OUT:-runs/card-out} wheels='' flags=()
[ -d wheels ] && wheels=wheels
if [ "${1:-}" = wheels ] && [ $# -ge 2 ]; then
    fetch "$2" "${3:-3.12}"
    exit
fi
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h | wheels) usage && exit ;;
        --minutes | --preset | --logdir | --out | --wheels) declare "${1#--}=${2:?$1 needs a value}"; shift 2 ;;
        *) flags+=("$1"); shift ;;
    esac
done
case $minutes in
    '' | *[!0-9]* | 0) echo "--minutes is '$minutes'; it must be a whole number from 1 on" >&2; exit 2 ;;
esac
# A second run on the same machine need not compile again.
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$PWD/runs/compiled}
mkdir -p "$out"
exec > >(tee "$out/report.txt") 2>&1

if [ -n "$wheels" ]; then
    stage "installing $wheels"
    install "$wheels"
fi

stage "bfloat16 against float32"
precision=auto
status=0
"$python" -m experiments.benchmarks.card check --preset "$preset" || status=$?
# 3: bfloat16 does not agree with float32; the minutes are better spent in float32 than not at all.
case $status in
    0) ;;
    3) precision=off ;;
    *) exit "$status" ;;
esac

stage "training for $minutes minutes"
environments=$(nproc)
status=0
# In the foreground: the signal is for the trainer alone, not for its workers.
timeout --foreground --signal TERM --kill-after 120 "$((60 * minutes))" \
    "$python" -m experiments.train --task walker_walk --preset "$preset" --logdir "$logdir" \
    --envs "$((environments < 16 ? environments : 16))" --steps 2000000 --bfloat16 "$precision" \
    --evaluate-every 0 --checkpoint-every 120 "${flags[@]}" || status=$?
# 124: the time was up.
[ "$status" -eq 0 ] || [ "$status" -eq 124 ] || exit "$status"
if [ ! -d "$logdir/checkpoints" ]; then
    echo "$minutes minutes were over before anything was learned; give more --minutes"
    exit 1
fi

stage "what was trained"
du -sh "$logdir/checkpoints"
tail -n 1 "$logdir/metrics.jsonl"
mkdir -p "$out/run/eval"
cp "$logdir/config.yaml" "$logdir/metrics.jsonl" "$out/run"
"$python" -m experiments.plot --runs "$logdir" --out "$out/curve.png"

stage "evaluating"
"$python" -m experiments.evaluate --logdir "$logdir" --missing none medium high --episodes 10 \
    --envs "$((environments < 10 ? environments : 10))" --no-agreement --out "$out/run"
stage "done"
ls -l "$out" "$out/run" "$out/run/eval"
