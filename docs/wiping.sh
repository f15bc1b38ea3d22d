#!/usr/bin/env bash
# Table Wiping by interactive correction, from demonstrations to evaluations; --help explains.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'END'
docs/wiping.sh [options]
    The scripted expert demonstrates; a world model and a head learn of it. Then, --rounds times, the
    head wipes, the expert tells what it would have done at each step (DAgger), and world model and
    head learn anew of all there is. The last head is evaluated with nothing, and with each sensor
    missing. The same command goes on where it was stopped.

    --demonstrations 250   of the expert.
    --rounds 4             of correction.
    --corrections 60       episodes of each round, of at most 400 control steps.
    --episodes 30          of each evaluation.
    --head "bc --head.sample"    which acts by a sample: where dirt on either side pulls alike,
                           the mean is to stay.
    --updates 5000         of the world model, in each round.
    --windows 960000       steps that the head learns from, in each round.
    --sensors "workspace_rgb robot_rgb proprio force"
    --seeds "0 1 2"        of trainings, and of the states that each corrects.
    --preset laptop        also debug, which only shows that all works:
                               docs/wiping.sh --preset debug --demonstrations 2 --rounds 1 \
                                   --corrections 2 --episodes 1 --updates 20 --windows 320 --seeds 0
    --data runs/wiping-data    folder of the demonstrations: expert.hdf5, and SEED/ROUND.hdf5.
    --logdir runs/wiping       folder of the runs: SEED/ROUND.

PYTHON names the interpreter (.venv/bin/python).
END
}

python=${PYTHON:-.venv/bin/python}
demonstrations=250 rounds=4 corrections=60 episodes=30 updates=5000 windows=960000
sensors="workspace_rgb robot_rgb proprio force" seeds="0 1 2" preset=laptop
data=runs/wiping-data logdir=runs/wiping head="bc --head.sample"

while [ $# -gt 0 ]; do
    case $1 in
    --demonstrations | --rounds | --corrections | --episodes | --head | --updates | --windows | \
        --sensors | --seeds | --preset | --data | --logdir)
        [ $# -gt 1 ] || { echo "$1 needs a value" >&2; exit 2; }
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    --help | -h) usage; exit ;;
    *) echo "unknown argument $1" >&2; usage >&2; exit 2 ;;
    esac
done

# shellcheck disable=SC2206  # names of sensors are words, and so are a head and its settings
task=(--task table_wiping --preset "$preset" --env.ranges.colours 0.15 --env.sensors $sensors)

learn() { # SEED ROUND EPISODES
    # shellcheck disable=SC2086
    "$python" -m experiments.imitate "${task[@]}" --seed "$1" --data "$data/$1" --head $head \
        --head.windows "$windows" --updates "$updates" --logdir "$logdir/$1/$2" \
        --evaluate-missing none --evaluate-episodes "$3"
}

mkdir -p "$data"
# Strong noise along the table, so that how the arm moves does not tell what the expert wants.
"$python" -m experiments.collect "${task[@]}" --noise 0.7 0.7 0.1 0.05 0.05 0.05 --noise-steps 2 \
    --episodes "$demonstrations" --out "$data/expert.hdf5"
for seed in $seeds; do
    mkdir -p "$data/$seed"
    ln -f "$data/expert.hdf5" "$data/$seed/"
    for round in $(seq "$rounds"); do
        # What a round learns of is what there was when it began.
        if [ ! -f "$data/$seed/$round.hdf5" ]; then learn "$seed" $((round - 1)) 0; fi
        "$python" -m experiments.collect "${task[@]}" --env.horizon 400 --seed $((1000 * seed + round)) \
            --policy "$logdir/$seed/$((round - 1))" --label expert --noise 0.1 --noise-steps 6 \
            --episodes "$corrections" --out "$data/$seed/$round.hdf5"
    done
    learn "$seed" "$rounds" "$episodes"
done
