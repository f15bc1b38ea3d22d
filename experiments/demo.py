"""What ``make demo`` runs: trains the laptop preset, evaluates it and says where things are."""

from experiments import evaluate, plot
from experiments.command_line import explain, parse_config
from experiments.train import train

LOGDIR = "runs/demo"


def main() -> None:
    """Trains on walker_stand, evaluates with sensors missing, prints the table and the paths."""
    with explain():
        flags = ["--task", "walker_stand", "--preset", "laptop", "--steps", "300000"]
        print(f"training in {LOGDIR}; Ctrl-C is safe, the same command goes on where it stopped")
        train(parse_config([*flags, "--envs", "2", "--logdir", LOGDIR]))
        drop = ("rgb", "depth", "touch")
        evaluate.evaluate(
            evaluate.Arguments(LOGDIR, drop=drop, episodes=10, video=True, random=True)
        )
        plot.draw(plot.Arguments((LOGDIR,), f"{LOGDIR}/curves.png"))
        print(f"curves:      {LOGDIR}/curves.png")
        print(f"TensorBoard: .venv/bin/tensorboard --logdir {LOGDIR}")


if __name__ == "__main__":
    main()
