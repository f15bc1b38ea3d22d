"""The standard faults: one script for each kind of lie and each sensor that can lie so."""

import functools
from collections.abc import Callable, Sequence

from envs.failures.distortions import (
    Blur,
    DeadPixels,
    Displaced,
    Drift,
    Glare,
    Noise,
    Patch,
    Stuck,
)
from envs.failures.faults import Delay, Frozen, Shuffled, Swapped
from envs.failures.rules import Lost, Rule
from envs.failures.script import Script
from mummi.modality import Modality

SEVERITIES = (1, 2, 3)
START = 20
"""Agent steps of an episode before a standard fault begins."""

Make = Callable[[Modality, Callable], Rule]
"""A fault of a modality, by ``of(mild, middling, severe)``, which picks by severity."""


def _noise(m: Modality, of: Callable) -> Rule:
    units = {"image": 1.0, "depth": 1 / 160, "vector": 1 / 80, "embedding": 1 / 80}[m.kind]
    return Noise(modality=m.name, start=START, std=of(40, 80, 120) * units)


def _drift(m: Modality, of: Callable) -> Rule:
    # A depth camera's zero wanders; what an image or a vector is measured in shrinks.
    change = {"offset": of(-0.1, -0.2, -0.4)} if m.kind == "depth" else {"gain": of(0.7, 0.4, 0.2)}
    return Drift(modality=m.name, start=START, **change)


def _frozen(m: Modality, of: Callable) -> Rule:
    # In segments; for good; for good from the first step on.
    if (rate := of(0.4, None, None)) is not None:
        return Frozen(modality=m.name, start=START, rate=rate, max_length=40)
    return Frozen(modality=m.name, start=of(START, START, 0))


FAULTS: dict[str, tuple[type[Rule], Make]] = {
    "frozen": (Frozen, _frozen),
    "late": (
        Delay,
        lambda m, of: Delay(modality=m.name, start=START, steps=of(2, 5, 10)),
    ),
    "repeats": (
        Frozen,
        lambda m, of: Frozen(modality=m.name, start=START, rate=of(0.3, 0.5, 0.7), max_length=6),
    ),
    "shuffled": (Shuffled, lambda m, of: Shuffled(modality=m.name, start=START)),
    "noise": (Noise, _noise),
    "drift": (Drift, _drift),
    "blur": (Blur, lambda m, of: Blur(modality=m.name, start=START, size=of(0.02, 0.05, 0.1))),
    "glare": (Glare, lambda m, of: Glare(modality=m.name, start=START, size=of(0.2, 0.35, 0.5))),
    "dirt": (Patch, lambda m, of: Patch(modality=m.name, start=START, size=of(0.2, 0.35, 0.5))),
    "moving patch": (
        Patch,
        lambda m, of: Patch(modality=m.name, start=START, size=of(0.2, 0.35, 0.5), moves=True),
    ),
    "displaced": (
        Displaced,
        lambda m, of: Displaced(
            modality=m.name, start=START, shift=of(0.05, 0.1, 0.2), angle=of(5, 10, 20)
        ),
    ),
    "dead pixels": (
        DeadPixels,
        lambda m, of: DeadPixels(modality=m.name, start=START, share=of(0.05, 0.15, 0.3)),
    ),
    "stuck": (Stuck, lambda m, of: Stuck(modality=m.name, start=START, share=of(0.2, 0.5, 1.0))),
}
"""Kind of rule and maker of each fault of one sensor, by name."""


def standard_faults(modalities: Sequence[Modality], severity: int) -> dict[str, dict[str, Script]]:
    """Scripts of the faults of each sensor, by the sensor's name and the fault's.

    Two sensors of one shape are also taken for each other, which stands at the first of them.

    Args:
        modalities: the sensors; what cannot fail has no faults.
        severity: 1 (mild) to 3.

    Raises:
        ValueError: another severity.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"a fault's severity is {severity}; it must be 1, 2 or 3")
    of = functools.partial(_pick, severity)
    fallible = [m for m in modalities if m.can_fail]
    found: dict[str, dict[str, Script]] = {}
    for m in fallible:
        rules = {n: make(m, of) for n, (kind, make) in FAULTS.items() if m.kind in kind.kinds}
        for other in fallible[fallible.index(m) + 1 :]:
            if (other.kind, other.shape) == (m.kind, m.shape):
                pair = (m.name, other.name)
                rules[f"swapped with {other.name}"] = Swapped(modality=pair, start=START)
        found[m.name] = {n: Script(f"{m.name} {n} {severity}", (r,)) for n, r in rules.items()}
    return found


def announced(script: Script, modality: str) -> Script:
    """The script in which the sensor says that it is gone, from the fault's first step on."""
    (rule,) = script.rules
    return Script(f"{modality} announced {rule.start}", (Lost(modality=modality, at=rule.start),))


def _pick(severity: int, *choices):
    return choices[severity - 1]
