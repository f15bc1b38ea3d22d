"""What ``make demo`` runs: shows an agent whose sensors fail, trains one, says where things are."""

import pathlib

from experiments import evaluate, plot
from experiments.command_line import explain, parse_config
from experiments.train import train

LOGDIR = "runs/demo"
SHOWN = "walker_walk"
"""Agent of the package that is shown first."""
FROZEN = str(pathlib.Path(__file__).with_name("frozen_depth.yaml"))
EPISODES = 4


def show() -> None:
    """Evaluates the agent that comes with the package while its sensors fail, and one lies."""
    print(
        f"{SHOWN}, as it comes with the package, while its sensors fail: three quarters of each are"
    )
    print("missing; and the depth camera freezes and does not say so, without trust and with it")
    common = {"pretrained": SHOWN, "episodes": EPISODES, "video": True, "agreement": False}
    common |= {"drop": (), "keep": True}
    for missing, trust in ((("none", "high", FROZEN), "off"), ((FROZEN,), "on")):
        asked = evaluate.Arguments(**common, missing=missing, trust=trust)
        evaluate.evaluate(evaluate.located(asked))


def main() -> None:
    """Shows the agent of the package, then trains one on walker_stand and evaluates it."""
    with explain():
        show()
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
