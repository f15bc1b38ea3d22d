#!/usr/bin/env bash
# DP3's protocol on MetaWorld from demonstrations to evaluations; --help explains.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'END'
docs/metaworld.sh [options] all    one model for all tasks of a group, told by their sentences
docs/metaworld.sh [options] each   a model for each of ten tasks, as DP3 and MIRROR train
    Records demonstrations by MetaWorld's scripts, trains a world model and on it each head, and
    evaluates with nothing, each camera and proprioception missing. The same command goes on where
    it was stopped.

    --demonstrations 10  of each task.
    --episodes 20        of each task and condition.
    --heads "bc knn mse diffusion flow imle mirror"; the first trains the world model.
    --seeds "0"          of the trainings.
    --preset laptop      also paper, for a GPU, and debug, which only shows that all works:
                             docs/metaworld.sh --preset debug --demonstrations 1 --episodes 1 \
                                 --heads "bc knn" --tasks "coffee-button reach" each
    --group metaworld    of all; or metaworld_easy, _medium, _hard, _very_hard.
    --tasks "..."        of each; by default ten of all difficulties.
    --noise 0.1          on what the scripts do; learned is what they wanted.
    --data runs/metaworld-data   folder of the demonstrations: GROUP/TASK.hdf5.
    --logdir runs/metaworld      folder of the runs: all/GROUP/HEAD-SEED, each/TASK/HEAD-SEED.

PYTHON names the interpreter (.venv/bin/python).
END
}

python=${PYTHON:-.venv/bin/python}
demonstrations=10 episodes=20 seeds=0 preset=laptop group=metaworld noise=0.1
heads="bc knn mse diffusion flow imle mirror"
tasks="door-open drawer-open lever-pull reach coffee-pull hammer sweep-into assembly pick-place shelf-place"
data=runs/metaworld-data logdir=runs/metaworld mode=

while [ $# -gt 0 ]; do
    case $1 in
    --demonstrations | --episodes | --heads | --seeds | --preset | --group | --tasks | --noise | \
        --data | --logdir)
        [ $# -gt 1 ] || { echo "$1 needs a value" >&2; exit 2; }
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    all | each) mode=$1; shift ;;
    --help | -h) usage; exit ;;
    *) echo "unknown argument $1" >&2; usage >&2; exit 2 ;;
    esac
done
[ -n "$mode" ] || { usage >&2; exit 2; }

run() { # TASK DATA FOLDER EPISODES
    local first=${heads%% *}
    for seed in $seeds; do
        for head in $heads; do
            local taken=()
            [ "$head" = "$first" ] || taken=(--world-model "$3/$first-$seed")
            "$python" -m experiments.imitate --task "$1" --preset "$preset" --data "$2" \
                --head "$head" --seed "$seed" --logdir "$3/$head-$seed" "${taken[@]}" \
                --evaluate-missing none --evaluate-episodes "$4"
        done
    done
}

collect() { # TASK OUT
    "$python" -m experiments.collect --task "$1" --preset "$preset" --noise "$noise" \
        --episodes "$demonstrations" --out "$2"
}

if [ "$mode" = all ]; then
    collect "$group" "$data/$group"
    count=$(find "$data/$group" -maxdepth 1 -name '*.hdf5' | wc -l)
    run "$group" "$data/$group" "$logdir/all/$group" $((count * episodes))
else
    for task in $tasks; do
        collect "metaworld/$task" "$data/metaworld/$task.hdf5"
        run "metaworld/$task" "$data/metaworld/$task.hdf5" "$logdir/each/$task" "$episodes"
    done
fi
