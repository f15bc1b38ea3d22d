"""Scripts of sensor failure, in one format for every environment.

A script is a list of rules that act in their order, each on what the rules before it let through:

```yaml
name: rough_day
rules:
  - {rule: segments, modality: all, rate: 0.375}              # each sensor out 37.5 % of the time
  - {rule: lost, modality: depth, at: 200}                    # gone for good from step 200 on
  - {rule: flicker, modality: [rgb, touch], probability: 0.1} # out on any step, independently
  - {rule: flicker, modality: touch, period: 10, duty: 0.8}   # delivers 8 steps of every 10
  - {rule: published, modality: all, probability: 0.05}       # the public code's segments
  # What follows is not announced: the value is wrong and declared available.
  - {rule: frozen, modality: rgb, start: 50, stop: 70}        # repeats step 49
  - {rule: frozen, modality: rgb, rate: 0.1}                  # frames dropped in random segments
  - {rule: delay, modality: touch, steps: 3}                  # value and availability come late
  - {rule: shuffled, modality: depth, start: 90}              # values of other moments
  - {rule: noise, modality: rgb, std: 20}                     # grey levels for images
  - {rule: drift, modality: rgb, gain: 0.5, offset: 20, steps: 50}  # reached after 50 steps
  - {rule: blur, modality: rgb, size: 0.05}                   # a std of 5 % of the width
  - {rule: glare, modality: rgb, size: 0.3}                   # a light, up to 30 % of the width
  - {rule: patch, modality: depth, size: 0.3}                 # dirt; moves: true wanders
  - {rule: displaced, modality: rgb, shift: 0.1, angle: 5}    # a camera that was knocked
  - {rule: dead_pixels, modality: rgb, share: 0.1}            # dark or bright for good
  - {rule: stuck, modality: touch, share: 0.5}                # numbers of a vector that stay
  # {rule: swapped, modality: [left_rgb, right_rgb]}: two sensors of one shape
```

``modality`` is a name, a list of names, or ``all`` that can fail; a rule acts on each
independently, with random numbers of its own. Steps are agent steps of the episode, the reset is
step 0. All rules but ``lost`` take ``start`` and ``stop``: they act from step ``start``
on and before step ``stop`` (without it, to the end). What is not announced also takes ``rate`` and
``max_length``: it then acts in random segments, as ``segments`` does.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from envs.base import Environment, TimeStep
from envs.episodes import Episodes
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
from envs.failures.rules import Act, Flicker, Lost, Published, Rule, Segments
from mummi.runs.names import closest

RULES: dict[str, type[Rule]] = {
    "segments": Segments,
    "published": Published,
    "lost": Lost,
    "flicker": Flicker,
    "frozen": Frozen,
    "delay": Delay,
    "shuffled": Shuffled,
    "swapped": Swapped,
    "noise": Noise,
    "drift": Drift,
    "blur": Blur,
    "glare": Glare,
    "patch": Patch,
    "displaced": Displaced,
    "dead_pixels": DeadPixels,
    "stuck": Stuck,
}


@dataclasses.dataclass(frozen=True)
class Script:
    """A named sequence of rules; equal scripts fail in the same way under the same seed."""

    name: str
    rules: tuple[Rule, ...] = ()

    @property
    def lies(self) -> bool:
        """Whether it has rules by which a sensor is wrong and says that it works."""
        return any(rule.lies for rule in self.rules)

    def to_dict(self) -> dict[str, Any]:
        """The script as strings, numbers, lists and dicts, as it would stand in a YAML file."""
        return {"name": self.name, "rules": [_rule_to_dict(rule) for rule in self.rules]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Script":
        """The script that ``to_dict`` describes.

        Raises:
            ValueError: naming the rule's index, the field, its value and what is right.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"a script is a mapping with name and rules, not {data!r}")
        _check_keys(data, {"name", "rules"}, required={"name", "rules"})
        if not isinstance(data["name"], str):
            raise ValueError(f"name is {data['name']!r}; it must be a string")
        if not isinstance(data["rules"], list | tuple):
            raise ValueError(f"rules is {data['rules']!r}; it must be a list of rules")
        rules = []
        for index, rule in enumerate(data["rules"]):
            try:
                rules.append(_rule_from_dict(rule))
            except ValueError as error:
                raise ValueError(f"rules[{index}]: {error}") from None
        return cls(data["name"], tuple(rules))


def _rule_to_dict(rule: Rule) -> dict[str, Any]:
    kind = next(kind for kind, cls in RULES.items() if cls is type(rule))
    data = {"rule": kind}
    for field in dataclasses.fields(rule):
        value = getattr(rule, field.name)
        if field.default is dataclasses.MISSING or value != field.default:
            data[field.name] = list(value) if isinstance(value, tuple) else value
    return data


def _rule_from_dict(data: Any) -> Rule:
    kinds = ", ".join(RULES)
    if not isinstance(data, Mapping) or "rule" not in data:
        raise ValueError(f"{data!r} must be a mapping with a key 'rule', one of {kinds}")
    fields = dict(data)
    kind = fields.pop("rule")
    if kind not in RULES:
        raise ValueError(f"rule is {kind!r} (rules are {kinds}){closest(str(kind), RULES)}")
    declared = dataclasses.fields(RULES[kind])
    required = {field.name for field in declared if field.default is dataclasses.MISSING}
    try:
        _check_keys(fields, {field.name for field in declared}, required)
        return RULES[kind](**fields)
    except ValueError as error:
        raise ValueError(f"{kind}: {error}") from None


def _check_keys(data: Mapping[str, Any], known: set[str], required: set[str]) -> None:
    for key in data:
        if key not in known:
            raise ValueError(
                f"unknown field {key!r} (fields are {', '.join(sorted(known))})"
                f"{closest(str(key), sorted(known))}"
            )
    for key in sorted(required):
        if key not in data:
            raise ValueError(f"field {key!r} is missing")


_NOW_AND_THEN = {"modality": "all", "rate": 0.04, "max_length": 40}
_LIES = (
    Frozen(**_NOW_AND_THEN),
    Delay(**_NOW_AND_THEN, steps=5),
    Drift(**_NOW_AND_THEN, gain=0.4),
    Blur(**_NOW_AND_THEN, size=0.05),
    Glare(**_NOW_AND_THEN, size=0.35),
    Patch(**_NOW_AND_THEN, size=0.35, moves=True),
    Displaced(**_NOW_AND_THEN, shift=0.1, angle=10),
    DeadPixels(**_NOW_AND_THEN, share=0.15),
    Stuck(**_NOW_AND_THEN, share=0.5),
)
"""Lies of any sensor, each 4 % of its time, beside which ``faults`` has what ``medium`` has."""

BUILT_IN = {
    script.name: script
    for script in (
        Script("none"),
        Script("medium", (Segments(modality="all", rate=0.375),)),
        Script("high", (Segments(modality="all", rate=0.75),)),
        # 28.1 % and 45.2 % of the steps of an episode of 500 are missing, 28.3 % and 45.5 % in the
        # long run.
        Script("published_medium", (Published(modality="all", probability=0.05),)),
        Script("published_high", (Published(modality="all", probability=0.1),)),
        Script("faults", (*_LIES, Segments(modality="all", rate=0.375))),
    )
}


def load_script(source: str | Path | Script) -> Script:
    """The script of that name, in that file, or itself.

    Args:
        source: a name in ``BUILT_IN``, the path of a file ``*.yaml`` or ``*.yml``, or a script.

    Raises:
        ValueError: for an unknown name, or a file that is not a script.
        FileNotFoundError: for a path at which there is no file.
    """
    if isinstance(source, Script):
        return source
    if str(source) in BUILT_IN:
        return BUILT_IN[str(source)]
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        raise ValueError(
            f"unknown dropout script {str(source)!r} (scripts are {', '.join(BUILT_IN)}, or the "
            f"path of a .yaml file){closest(str(source), BUILT_IN)}"
        )
    try:
        return Script.from_dict(yaml.safe_load(path.read_text()))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"dropout script {path}: {error}") from None


class Dropout:
    """An environment whose sensors fail as a script says.

    A value that is not available is delivered as zeros, so that nothing can leak from it; what the
    environment itself declares missing stays missing.

    Args:
        environment: the environment to wrap.
        script: what fails when.
        seed: of the failures; each rule and modality draws from a stream of its own in each
            episode.

    Attributes:
        modalities, action_size, action_repeat, numbered: those of the environment.
        script: the script.

    Raises:
        ValueError: when a rule names a modality that the environment lacks, or that cannot fail.
    """

    def __init__(
        self,
        environment: Environment,
        script: Script,
        seed: int | Sequence[int] | np.random.SeedSequence = 0,
    ):
        self.modalities = environment.modalities
        self.action_size = environment.action_size
        self.action_repeat = environment.action_repeat
        self.numbered = getattr(environment, "numbered", True)
        self.script = script
        self._environment = environment
        self._episodes = Episodes(seed)
        self._acting: list[tuple[Rule, list[Modality], list[tuple[int, int]]]] = []
        for index, rule in enumerate(script.rules):
            try:
                names = rule.names(self.modalities)
            except ValueError as error:
                raise ValueError(
                    f"dropout script {script.name!r}, rules[{index}]: {error}"
                ) from None
            places = [k for k, m in enumerate(self.modalities) if m.name in names]
            keys = [(index, place) for place in places]
            self._acting.append((rule, [self.modalities[place] for place in places], keys))
        self._acts: list[Act] = []

    def reset(self, number: int | None = None) -> TimeStep:
        """Starts a new episode, that of a number if given, with the script from its beginning."""
        _, failures = self._episodes.begin(number)
        self._acts = []
        for rule, modalities, keys in self._acting:
            streams = [
                np.random.SeedSequence(failures.entropy, spawn_key=(*failures.spawn_key, *key))
                for key in keys
            ]
            randoms = [np.random.default_rng(stream) for stream in streams]
            self._acts.append(rule.begin_all(modalities, randoms))
        return self._deliver(self._environment.reset(number))

    def step(self, action: np.ndarray) -> TimeStep:
        """Takes one action, float [action_size] in [-1, 1]."""
        return self._deliver(self._environment.step(action))

    def render(self, size: int) -> np.ndarray:
        """The environment's picture [size, size, 3] uint8; failures are not shown."""
        return self._environment.render(size)

    def truth(self) -> Mapping[str, np.ndarray]:
        """The physical state of the environment, which no failure touches."""
        return self._environment.truth()

    @property
    def expert_action(self) -> Callable[[], np.ndarray]:
        """The environment's ``expert_action``; an AttributeError where it has none."""
        return self._environment.expert_action

    def close(self) -> None:
        """Closes the environment."""
        self._environment.close()

    def _deliver(self, step: TimeStep) -> TimeStep:
        values, available = dict(step.values), dict(step.available)
        for act in self._acts:
            act(values, available)
        for name, value in values.items():
            if not available[name]:
                values[name] = np.zeros_like(value)
        return dataclasses.replace(step, values=values, available=available)
