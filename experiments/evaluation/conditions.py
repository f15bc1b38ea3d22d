"""The conditions that a run is evaluated under, one a row of the table and a file of ``eval/``."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from envs.failures.script import Script, load_script
from mummi.modality import require_can_fail
from mummi.runs.record import Run

CONTROL = "none"
"""Name of the condition with every sensor and nothing missing, that others are compared to."""


def condition_name(dropped: Sequence[str], script: str) -> str:
    """Name of a condition: of what is removed entirely, and of the script of sensor dropout."""
    if not dropped:
        return script
    return f"without {', '.join(dropped)}" + f"; {script}" * (script != "none")


def variant(name: str, *, trust: bool = False, as_zeros: bool = False) -> str:
    """Name of the condition in which an agent is not as it is otherwise."""
    return name + "; as zeros" * as_zeros + "; trust" * trust


class Condition(NamedTuple):
    """One row of the table.

    Attributes:
        name: in the table.
        missing: script of sensor failures, itself or by name or file.
        hidden: sensors removed entirely.
        policy: who acts.
        trust: the agent leaves out sensors that lie.
        as_zeros: what is missing is delivered as zeros, as if it were there.
        undrawn: cameras that nobody looks at, which are not drawn where a task can leave that.
    """

    name: str
    missing: str | Script
    hidden: tuple[str, ...] = ()
    policy: Literal["agent", "random", "expert"] = "agent"
    trust: bool = False
    as_zeros: bool = False
    undrawn: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The name without what a file name should not have."""
        return re.sub(r"[^\w.+]+", "-", self.name).strip("-.")

    def content(self, common: dict) -> dict:
        """What this row's file says beside its episodes; ``common`` is what all files say."""
        return common | {
            "method": common["method"] if self.policy == "agent" else self.policy,
            "script": load_script(self.missing).to_dict(),
            "dropped": list(self.hidden),
            # Without them a file says what those of before these options say.
            **({"trust": True} if self.trust else {}),
            **({"missing_as_zeros": True} if self.as_zeros else {}),
        }

    def trusting(self) -> "Condition":
        """The same with trust."""
        return self._replace(name=variant(self.name, trust=True), trust=True)

    def blackened(self) -> "Condition":
        """The same with what is missing as zeros."""
        return self._replace(name=variant(self.name, as_zeros=True), as_zeros=True)


def cameras_of(record: Run) -> tuple[str, ...]:
    """The sensors that are drawn and can fail."""
    kinds = ("image", "depth")
    return tuple(m.name for m in record.modalities if m.kind in kinds and m.can_fail)


def usual(record: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``missing`` and ``drop`` of a run of which nothing else is asked."""
    if not record.config.task.startswith(("libero", "robomimic")):
        return ("none", "medium", "high"), ()
    cameras = [modality.name for modality in record.modalities if modality.kind == "image"]
    return ("none",), tuple(dict.fromkeys((*cameras, "+".join(cameras)))) if cameras else ()


def conditions(
    record: Run,
    missing: Sequence[str] | None = None,
    drop: Sequence[str] | None = None,
    drop_missing: Sequence[str] = ("none",),
    *,
    random: bool = False,
    expert: bool = False,
    trust: bool = False,
    as_zeros: bool = False,
    filmed: bool = False,
) -> list[Condition]:
    """The rows that are asked of a run; arguments as of the command, None for what is usual.

    Who reads no sensor has no cameras drawn, unless the rows are ``filmed``.

    Raises:
        ValueError: a modality that is unknown or cannot fail.
    """
    cameras = () if filmed else cameras_of(record)
    rows = [Condition("random policy", "none", policy="random", undrawn=cameras)] * random
    rows += [Condition("scripted expert", "none", policy="expert", undrawn=cameras)] * expert
    scripts, removals = usual(record)
    for script in scripts if missing is None else missing:
        rows.append(Condition(load_script(script).name, script))
    for names in removals if drop is None else drop:
        hidden = tuple(names.split("+"))
        require_can_fail(hidden, record.modalities, " in --drop")
        for script in drop_missing:
            name = condition_name(hidden, load_script(script).name)
            rows.append(Condition(name, script, hidden))
    if as_zeros:
        rows = [row.blackened() if row.policy == "agent" else row for row in rows]
    if trust:
        rows = [row.trusting() if row.policy == "agent" else row for row in rows]
    return rows


def require_distinct(rows: Sequence[Condition]) -> None:
    """Raises a ValueError for two rows of one name."""
    files = [row.file for row in rows]
    for row in rows:
        if files.count(row.file) > 1:
            raise ValueError(f"two rows are named {row.name!r}; name each script and sensor once")
