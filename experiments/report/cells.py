"""Cells of tables: mean and deviation of evaluated runs, and what stands behind each number."""

from experiments.report.scores import Pair, pooled
from experiments.report.typeset import Cell


def by_seed(texts: list[str]) -> str:
    """One text where all are the same, else all of them in the order of seeds."""
    return " / ".join(texts[:1] if len(set(texts)) == 1 else texts)


def describe(pairs: list[Pair], trained: bool = True) -> str:
    """What stands behind a number: seeds, episodes, steps, and whatever is out of the ordinary."""
    seeds = [str(run.config.seed if trained else score.seed) for run, score in pairs]
    episodes = by_seed([str(len(score.returns)) for _, score in pairs])
    each = f"{episodes} episode{'s' * (episodes != '1')} each"
    parts = [f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}", each]
    if trained:
        parts.append(f"step {by_seed([f'{score.step:,}' for _, score in pairs])}")
        changed = by_seed([", ".join(run.changed) or "no change" for run, _ in pairs])
        parts += [f"settings: {changed}"] * (changed != "no change")
        parts += [
            f"seed {run.config.seed} has been trained to step {run.latest:,} since"
            for run, score in pairs
            if run.latest > score.step
        ]
    return "; ".join(parts)


def numbers_cell(pairs: list[Pair], text: str, value: float, note: str, **numbers: float) -> Cell:
    """A cell of trained agents; seeds that are not alike make it uneven."""
    alike = {(score.step, len(score.returns), trained.changed) for trained, score in pairs}
    stale = any(trained.latest > score.step for trained, score in pairs)
    behind = {
        "seeds": " ".join(str(trained.config.seed) for trained, _ in pairs),
        "episodes": " ".join(str(len(score.returns)) for _, score in pairs),
        "steps": " ".join(str(score.step) for _, score in pairs),
    }
    return Cell(text, value, note, stale or len(alike) > 1, behind | numbers)


def mean_cell(pairs: list[Pair]) -> Cell:
    """Mean ± standard deviation over the episodes of all seeds."""
    mean, sd = float(pooled(pairs).mean()), float(pooled(pairs).std())
    return numbers_cell(pairs, f"{mean:.1f} ± {sd:.1f}", mean, describe(pairs), mean=mean, sd=sd)


def untrained_cell(pairs: list[Pair]) -> Cell:
    """The same of a policy without training, which has no training seed and no step."""
    mean, sd = float(pooled(pairs).mean()), float(pooled(pairs).std())
    numbers = {"mean": mean, "sd": sd, "episodes": len(pooled(pairs))}
    note = describe(pairs, trained=False)
    return Cell(f"{mean:.1f} ± {sd:.1f}", mean, note, numbers=numbers)
