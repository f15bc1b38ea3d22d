"""Which demonstrations are learned from, and which are held out."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mummi.imitation import record
from mummi.imitation.decisions import two_valued
from mummi.imitation.demonstrations import INSTRUCTION, Demonstration, Reading, open_data
from mummi.imitation.metrics import varying
from mummi.imitation.record import Imitation, Split

HELD_OUT = 5
"""Second entry of the seed by which demonstrations are held out."""
SHARE = 0.1
"""Of the demonstrations that are held out by default."""


def instructions(path: str, reading: Reading) -> dict[str, str | None]:
    """What was to be done in each demonstration, by its name; None where the data do not tell."""
    with open_data(path, dataclasses.replace(reading, obs=())) as data:
        return {
            name: data[place].attributes.get(INSTRUCTION) for place, name in enumerate(data.names)
        }


def divide(imitation: Imitation, told: Mapping[str, str | None], seed: int) -> Split:
    """Which demonstrations are held out; numbers of the actions are left empty.

    Args:
        imitation: says how many or which; a world model that is taken has its own already.
        told: of each demonstration, by its name, its instruction.
        seed: by which they are drawn.

    Raises:
        ValueError: none is left to learn from, or none to hold out where some are asked for.
    """
    path, wanted = imitation.data, imitation.held_out
    if source := _same_data(imitation):
        if wanted is not None:
            raise ValueError(
                f"--held-out {wanted} is given, and the world model of {imitation.world_model!r} "
                "has learned from these data already, whose own demonstrations stay held out: "
                "leave --held-out out"
            )
        held = source.held_out
    elif isinstance(wanted, str):
        mask = dataclasses.replace(imitation.reading, filter_key=wanted, obs=())
        with open_data(path, mask) as data:
            held = data.names
    else:
        held = draw(told, SHARE if wanted is None else wanted, seed)
    trained = tuple(name for name in told if name not in set(held))
    if not trained:
        raise ValueError(
            f"{path}: of {len(told)} demonstrations {len(held)} are held out and none is left to "
            "learn from: record more, or choose by --held-out (0 holds out none)"
        )
    return Split(trained, tuple(held), (), ())


def draw(told: Mapping[str, str | None], share: float, seed: int) -> tuple[str, ...]:
    """Names of a share of the demonstrations, at least one of them, alike of each instruction.

    Args:
        told: by name the instruction.
        share: of all demonstrations; of 0 there are none.
        seed: by which they are drawn.
    """
    count = max(1, round(share * len(told))) if share else 0
    names = np.random.default_rng((seed, HELD_OUT)).permutation(list(told)).tolist()
    groups: dict[str | None, list[str]] = {}
    for name in names:
        groups.setdefault(told[name], []).append(name)
    # How far down its group each stands: of the first ones of all groups each has its share.
    place = {n: (i + 0.5) / len(group) for group in groups.values() for i, n in enumerate(group)}
    chosen = set(sorted(names, key=place.__getitem__)[:count])
    return tuple(name for name in told if name in chosen)


def measured(
    split: Split,
    demonstrations: Sequence[Demonstration],
    rate: float | None,
    chosen: Sequence[int] | None = None,
) -> Split:
    """The split with the numbers of the actions that are learned from, in the data's units.

    Args:
        split: which they are of.
        demonstrations: that are learned from.
        rate: of the data.
        chosen: the actions that are two-valued; by default those that the data show to be.

    Raises:
        ValueError: an action is chosen that cannot be two-valued.
    """
    actions = np.concatenate([d.actions for d in demonstrations]).astype(np.float64)
    return dataclasses.replace(
        split,
        mean=tuple(actions.mean(0).tolist()),
        std=tuple(np.sqrt(varying(actions)).tolist()),
        rate=None if rate is None else float(rate),
        two_valued=two_valued(actions, chosen),
    )


def _same_data(imitation: Imitation) -> Split | None:
    """The split of the world model that is taken, where it learned from the same data."""
    source = imitation.world_model
    if not source or not record.is_imitation(source):
        return None
    if pathlib.Path(record.load(source).data).resolve() != pathlib.Path(imitation.data).resolve():
        return None
    return record.load_split(source)
