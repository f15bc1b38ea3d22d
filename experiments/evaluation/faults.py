"""The benchmark of sensors that lie: each fault announced, unannounced, and with trust."""

import dataclasses
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from rich import box
from rich.table import Table
from scipy.stats import rankdata

from envs.failures.script import Script
from envs.failures.standard import announced, standard_faults
from experiments.evaluation.conditions import CONTROL, Condition
from experiments.evaluation.result import Result
from mummi.modality import Modality

HEALTHY = Condition(CONTROL, CONTROL)


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault of a sensor, and the conditions that it is played under.

    Attributes:
        sensor: whose fault it is.
        name: of the fault.
        script: of it.
    """

    sensor: str
    name: str
    script: Script

    @property
    def unannounced(self) -> Condition:
        """The sensor lies, and everybody is believed."""
        return Condition(self.script.name, self.script)

    @property
    def announced(self) -> Condition:
        """The sensor says that it is gone, from the fault's first step on."""
        script = announced(self.script, self.sensor)
        return Condition(script.name, script)

    @property
    def start(self) -> int:
        """First step at which it may act."""
        return self.script.rules[0].start

    @property
    def liars(self) -> tuple[str, ...]:
        """The sensors that lie."""
        names = self.script.rules[0].modality
        return (names,) if isinstance(names, str) else tuple(names)


def faults(modalities: Sequence[Modality], severity: int) -> list[Fault]:
    """The standard faults of the sensors.

    Raises:
        ValueError: a severity other than 1 to 3, or no sensor that can fail.
    """
    scripts = standard_faults(modalities, severity)
    if not scripts:
        raise ValueError("no sensor of this task can fail, so none can lie")
    return [
        Fault(sensor, name, script)
        for sensor, by_name in scripts.items()
        for name, script in by_name.items()
    ]


def conditions(all_faults: Sequence[Fault], trust: bool) -> list[Condition]:
    """All rows of the benchmark, each once; those with trust where the agent can have it."""
    rows = [HEALTHY, *(row for f in all_faults for row in (f.announced, f.unannounced))]
    if trust:
        rows += [row.trusting() for row in (HEALTHY, *(f.unannounced for f in all_faults))]
    return list(dict.fromkeys(rows))


def report(all_faults: Sequence[Fault], results: Mapping[Condition, Result], trust: bool) -> dict:
    """The benchmark as plain numbers.

    Args:
        all_faults: of ``faults``.
        results: of each of ``conditions``; rows are compared on the episodes that all have.
        trust: whether there are rows with trust.

    Returns:
        ``healthy``, ``healthy_trust``: returns with nothing wrong; ``false_alarms``: of a thousand
        healthy steps those at which some sensor is distrusted; ``kept``, ``kept_trust``: share of
        the announced score, mean over the faults; ``faults``: for each ``sensor``, ``fault``,
        returns ``announced``, ``unannounced`` and ``trust``; ``delay``: median steps until the liar
        is distrusted, None where it is in less than half of the episodes; ``found``: share of
        episodes in which it is; ``auroc``: of its trust, faulty steps against healthy ones;
        ``others``: of a thousand steps those at which an honest sensor is distrusted.
    """
    numbers = sorted(set.intersection(*(set(result.numbers) for result in results.values())))

    def mean(row: Condition) -> float:
        return float(np.mean([results[row].by_number[n] for n in numbers]))

    rows = [
        {
            "sensor": f.sensor,
            "fault": f.name,
            "announced": mean(f.announced),
            "unannounced": mean(f.unannounced),
        }
        for f in all_faults
    ]
    found = {"episodes": len(numbers), "healthy": mean(HEALTHY)}
    if trust:
        healthy = results[HEALTHY.trusting()]
        for row, f in zip(rows, all_faults, strict=True):
            traces = [e.trust for e in results[f.unannounced.trusting()].episodes]
            row["trust"] = mean(f.unannounced.trusting())
            row |= detection(f, traces, healthy.trust)
        alarms = np.concatenate([_distrusted(trace, trace) for trace in healthy.trust])
        found |= {"healthy_trust": mean(HEALTHY.trusting()), "false_alarms": 1e3 * alarms.mean()}
    shares = {"kept": "unannounced", "kept_trust": "trust"}
    announced_mean = np.mean([row["announced"] for row in rows])
    for share, column in shares.items():
        if column in rows[0]:
            found[share] = float(np.mean([row[column] for row in rows]) / announced_mean)
    return found | {"faults": rows}


Trace = Mapping[str, Sequence[float | None]]
"""Trust in each sensor along an episode; None where it did not deliver."""


def detection(fault: Fault, traces: Sequence[Trace], healthy: Sequence[Trace]) -> dict:
    """How a liar is found, as of ``report``: ``delay``, ``found``, ``auroc`` and ``others``.

    Args:
        fault: the fault.
        traces: of the episodes with it.
        healthy: of episodes with nothing wrong.
    """
    delays, others = [], []
    for trace in traces:
        liars = _distrusted(trace, fault.liars)[fault.start :]
        delays.append(float(np.argmax(liars)) if liars.any() else math.inf)
        others.append(_distrusted(trace, [name for name in trace if name not in fault.liars]))
    delay = float(np.median(delays))
    faulty = [t for trace in traces for t in _given(trace, fault.liars, fault.start)]
    fine = [t for trace in healthy for t in _given(trace, fault.liars, 0)]
    return {
        "delay": delay if math.isfinite(delay) else None,
        "found": float(np.isfinite(delays).mean()),
        "auroc": _area(faulty, fine),
        "others": 1e3 * float(np.concatenate(others).mean()),
    }


def _distrusted(trace: Trace, names: Sequence[str]) -> np.ndarray:
    """Steps at which some of the sensors delivers and is distrusted."""
    rows = [[t is not None and t < 0.5 for t in trace[name]] for name in names]
    return np.any(rows, 0)


def _given(trace: Trace, names: Sequence[str], start: int) -> Iterator[float]:
    return (t for name in names for t in trace[name][start:] if t is not None)


def _area(faulty: Sequence[float], healthy: Sequence[float]) -> float | None:
    """Probability that a faulty step is trusted less than a healthy one; ties count half.

    None where there are no such steps.
    """
    if not (len(faulty) and len(healthy)):
        return None
    ranks = rankdata([*faulty, *healthy])[: len(faulty)]
    above = ranks.sum() - len(faulty) * (len(faulty) + 1) / 2
    return 1.0 - float(above / (len(faulty) * len(healthy)))


def table(found: dict, title: str) -> Table:
    """The report for the terminal."""
    trust = "kept_trust" in found
    view = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    columns = ["sensor", "fault", "announced", "off"]
    columns += ["on", "delay", "found", "AUROC", "others"] * trust
    for column in columns:
        view.add_column(column, justify="left" if column in columns[:2] else "right")
    for row in found["faults"]:
        cells = [
            row["sensor"],
            row["fault"],
            f"{row['announced']:.4g}",
            f"{row['unannounced']:.4g}",
        ]
        if trust:
            delay, area = _shown(row["delay"], ".0f"), _shown(row["auroc"], ".2f")
            cells += [f"{row['trust']:.4g}", delay, f"{100 * row['found']:.0f} %"]
            cells += [area, f"{row['others']:.0f}"]
        view.add_row(*cells)
    caption = f"nothing wrong: {found['healthy']:.4g}"
    kept = f"kept of the announced score: {100 * found['kept']:.0f} %"
    if trust:
        caption += f", with trust {found['healthy_trust']:.4g}; "
        caption += f"false alarms a 1,000 healthy steps: {found['false_alarms']:.1f}"
        kept += f", with trust {100 * found['kept_trust']:.0f} %"
    view.caption = f"{caption}\n{kept}"
    return view


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def picture(found: dict, title: str, path: pathlib.Path) -> None:
    """Draws the report: what each fault leaves of the return, without and with trust."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = found["faults"]
    figure, axes = plt.subplots(figsize=(7, 1.2 + 0.24 * len(rows)), dpi=120, layout="constrained")
    place = -np.arange(len(rows))
    axes.axvline(found["healthy"], color="0.7", label="nothing wrong")
    axes.scatter([r["announced"] for r in rows], place, marker="|", s=120, c="k", label="announced")
    axes.scatter([r["unannounced"] for r in rows], place, c="tab:red", label="trust off")
    if "kept_trust" in found:
        ends = [[r[name] for r in rows] for name in ("unannounced", "trust")]
        axes.hlines(place, *ends, color="0.85", zorder=0)
        axes.scatter(ends[1], place, c="tab:green", label="trust on")
    axes.set_yticks(place, [f"{r['sensor']}  {r['fault']}" for r in rows])
    axes.set_xlim(left=min(0, axes.get_xlim()[0]))
    axes.set_xlabel("return")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
