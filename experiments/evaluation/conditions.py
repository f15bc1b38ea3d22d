"""The conditions that a run is evaluated under, one a row of the table and a file of ``eval/``."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from envs.failures.script import load_script
from mummi.modality import require_can_fail
from mummi.runs.record import Run

CONTROL = "none"
"""Name of the condition with every sensor and nothing missing, that others are compared to."""


def condition_name(dropped: Sequence[str], script: str) -> str:
    """Name of a condition: of what is removed entirely, and of the script of sensor dropout."""
    if not dropped:
        return script
    return f"without {', '.join(dropped)}" + f"; {script}" * (script != "none")


class Condition(NamedTuple):
    """One row of the table.

    Attributes:
        name: in the table.
        missing: script of sensor dropout, by name or file.
        hidden: sensors removed entirely.
        policy: who acts.
    """

    name: str
    missing: str
    hidden: tuple[str, ...] = ()
    policy: Literal["agent", "random", "expert"] = "agent"

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
        }


def usual(record: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``missing`` and ``drop`` of a run of which nothing else is asked."""
    if not record.config.task.startswith("libero"):
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
) -> list[Condition]:
    """The rows that are asked of a run; arguments as of the command, None for what is usual.

    Raises:
        ValueError: a modality that is unknown or cannot fail, no row, or two rows of one name.
    """
    rows = [Condition("random policy", "none", policy="random")] * random
    rows += [Condition("scripted expert", "none", policy="expert")] * expert
    scripts, removals = usual(record)
    for script in scripts if missing is None else missing:
        rows.append(Condition(load_script(script).name, script))
    for names in removals if drop is None else drop:
        hidden = tuple(names.split("+"))
        require_can_fail(hidden, record.modalities, " in --drop")
        for script in drop_missing:
            name = condition_name(hidden, load_script(script).name)
            rows.append(Condition(name, script, hidden))
    if not rows:
        raise ValueError("nothing to evaluate: give --missing, --drop, --random or --expert")
    files = [row.file for row in rows]
    for row in rows:
        if files.count(row.file) > 1:
            raise ValueError(f"two rows are named {row.name!r}; name each script and sensor once")
    return rows
