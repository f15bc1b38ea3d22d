#!/bin/sh
# walker_walk at the paper's sizes, from training to its table and curve, for one GPU:
#     docs/paper_run.sh FOLDER [flags of experiments.train]
# The same command goes on where it was stopped. As a rehearsal in minutes on a CPU:
#     docs/paper_run.sh FOLDER --preset debug --envs 2 --steps 4000
set -eu
folder=$1
shift
python -m experiments.train --task walker_walk --envs 16 --steps 500000 --checkpoint-every 120 \
    --logdir "$folder/run" "$@"
python -m experiments.evaluate --logdir "$folder/run" --missing none medium high \
    --drop rgb depth touch --random --episodes 10 --envs 2
python -m experiments.tables --runs "$folder/run" --out "$folder/table"
python -m experiments.plot --runs "$folder/run" --out "$folder/curve.png"
