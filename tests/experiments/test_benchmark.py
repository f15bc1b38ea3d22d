"""The benchmark: its count of operations is the count by hand, and every stage gives a ratio."""

import dataclasses
import functools
import itertools
import json
import math
import mmap

import jax
import jax.numpy as jnp
import pytest

from experiments import benchmark
from experiments.benchmarks import flops, heads, timing
from experiments.benchmarks.heads import Arguments, Case, head_rows
from mummi.agent import Agent
from mummi.imitation.chunks.config import CONFIGS
from mummi.model.networks import convolution, convolution_as_product
from mummi.presets import preset
from tests.support.small import ACTION_SIZE, MODALITIES, make_batch, small_config

pytestmark = pytest.mark.usefixtures("quick_compile")


def array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_a_scan_counts_as_often_as_it_runs():
    def loss(weight, x):
        return jax.lax.scan(lambda x, _: (jnp.tanh(x @ weight), None), x, length=7)[0].sum()

    arguments = array(5, 5), array(3, 5)
    once = 2 * 3 * 5 * 5
    assert flops.count(loss, *arguments) == 7 * once
    assert flops.count(jax.grad(loss), *arguments) == 3 * 7 * once


def test_the_dearer_branch_counts():
    def either(flag, x):
        return jax.lax.cond(flag, lambda x: x @ x, lambda x: x @ x @ x, x)

    flag = jax.ShapeDtypeStruct((), bool)
    assert flops.count(either, flag, array(4, 4)) == 2 * 2 * 4**3


def test_a_product_without_use_is_not_counted():
    assert flops.count(lambda x: (x @ x, x)[1], array(4, 4)) == 0


def test_a_product_repeated_without_known_end_is_refused():
    def endless(x):
        return jax.lax.while_loop(lambda x: x.sum() > 0, lambda x: x @ x, x)

    with pytest.raises(ValueError, match="while loop"):
        flops.count(endless, array(4, 4))


@pytest.mark.parametrize("form", [convolution, convolution_as_product])
def test_both_forms_of_a_convolution_count_the_same(form):
    def loss(kernel, x):
        return jnp.square(form(x, kernel, 2)).sum()

    arguments = array(4, 4, 3, 8), array(2, 16, 16, 3)
    forward = 2 * (2 * 7 * 7) * (4 * 4 * 3) * 8
    assert flops.count(loss, *arguments) == forward
    assert flops.count(jax.grad(loss), *arguments) == 2 * forward


def update_by_hand(batch: int, time: int) -> int:
    """Operations of one update of ``small_config()``, layer by layer.

    A layer costs as much again for the gradient of its weights, unless they are constant, and for
    the gradient of its input, unless nothing before it learns.
    """
    config = small_config()
    m, b = config.model, config.behavior
    feature = m.deter + m.stoch
    number, imagined = batch * time, b.horizon * b.starts

    def layers(rows, *sizes, times=3, first=None):
        costs = [2 * rows * i * o for i, o in itertools.pairwise(sizes)]
        return times * sum(costs) + ((first or times) - times) * costs[0]

    def transition(rows, times):
        gates = 3 * layers(rows, m.hidden, m.deter, times=times)
        gates += 3 * layers(rows, m.deter, m.deter, times=times)
        inputs = layers(rows, m.stoch + ACTION_SIZE, m.hidden, times=times)
        return inputs + gates + layers(rows, m.deter, m.hidden, 2 * m.stoch, times=times)

    total = 0
    for modality in MODALITIES:
        if modality.kind == "vector":
            total += layers(number, *modality.shape, *m.vector_widths, 2 * m.fused, first=2)
        else:
            patch = m.image_kernels[0]
            patches = math.prod(modality.shape[:2]) // patch**2
            width = m.image_widths[0]
            channels = modality.shape[2]
            if modality.kind == "depth" and m.depth_input == "silhouette":
                channels = 2
            total += layers(number * patches, patch**2 * channels, width, times=2)
            total += layers(number, patches * width, 2 * m.fused)
    total += transition(number, times=3)
    total += layers(number, m.deter + 2 * m.fused, m.hidden, 2 * m.stoch)
    total += layers(number, feature, m.hidden, m.fused)
    head = (feature, *[m.reward_units] * m.reward_layers, 1)
    total += 2 * layers(number, *head)

    sensors = len(MODALITIES)
    total += sensors * 3 * 2 * number**2 * m.fused
    agreement = 2 * number * m.fused + 2 * number + m.fused
    total += 2 * sensors**2 * agreement

    total += transition(imagined, times=2) + 2 * layers(imagined, *head, times=2)
    critic = (feature, *[b.units] * b.value_layers, 1)
    total += layers(imagined, *critic, times=2) + layers(imagined, *critic, first=2)
    total += layers(imagined, feature, *[b.units] * b.actor_layers, 2 * ACTION_SIZE, first=2)
    return total


def test_the_update_counts_as_by_hand():
    agent = Agent(small_config(), MODALITIES, ACTION_SIZE)
    state = jax.eval_shape(lambda: agent.init(0))
    batch = make_batch(batch=2, time=4)
    assert flops.count(agent.update, state, batch) == update_by_hand(batch=2, time=4)


def test_the_bare_products_run():
    def function(x):
        return jax.lax.scan(lambda x, _: (jnp.tanh(x @ x), None), x, length=3)[0] @ x

    bare = flops.products(function, array(4, 4))
    assert bare() == 0
    assert flops.count(bare) == flops.count(function, array(4, 4)) == 4 * 2 * 4**3


def often(*arguments):
    """A preset with more updates, whose agent is that of other tests."""
    changes = {"prefill": 200, "updates_per_1000": 10.0, "batch_length": 6}
    return dataclasses.replace(preset(*arguments), **changes)


@pytest.mark.parametrize(("stage", "rows"), [("env", 2), ("replay", 3), ("train", 1), ("act", 2)])
def test_every_stage_gives_a_rate_and_a_ratio(stage, rows, workers, monkeypatch):
    # Simulators have physics without sensors to be measured against.
    task = "dmc_walker_stand" if stage == "env" else "dummy"
    monkeypatch.setattr(benchmark, "preset", often)
    arguments = benchmark.Arguments((stage,), "debug", task, repeats=1)
    found = benchmark.benchmark(arguments)
    assert [row.stage for row in found] == [stage] * rows
    for row in found:
        assert row.rate > 0 and row.ratio > 0 and row.memory > 50
        # By processor time unless worker processes do the work.
        assert (row.ratio_cpu is None) == (row.cpu is None)
        assert row.cpu is None or (row.ratio_cpu > 0 and row.cpu > 0)


@pytest.mark.slow  # the table of heads is tested with two_ways, bare products above
def test_the_heads_are_measured_against_their_products(monkeypatch):
    cases = [Case("mirror", 2), Case("mirror", 2, "sensors"), Case("diffusion", 1)]
    monkeypatch.setattr(heads, "CASES", cases)
    small = {name: functools.partial(config, blocks=1) for name, config in CONFIGS.items()}
    monkeypatch.setattr(heads, "CONFIGS", small)
    rows = head_rows(Arguments(feature=6, actions=2, width=16, repeats=1))
    assert [row.meaning.split(":")[0] for row in rows] == [
        "mirror, K = 2",
        "diffusion, K = 1",
    ]
    assert all(row.rate > 0 and row.ratio > 0 and row.cpu > 0 for row in rows)


@pytest.mark.slow
def test_the_loop_is_measured_over_its_updates(monkeypatch):
    monkeypatch.setattr(benchmark, "preset", often)
    (row,) = benchmark.benchmark(benchmark.Arguments(("loop",), "debug", "dummy", repeats=1))
    assert row.rate > 0 and 0 < row.ratio < 2 and row.cpu > 0
    # All but the warm-up's, which may be seen late by an update.
    assert row.meaning.startswith(("time of 8 updates", "time of 7 updates"))


def test_the_peak_of_memory_is_that_since_it_was_forgotten():
    timing.forget_peak()
    before = timing.peak_memory()
    # Mapped and unmapped by hand: what an allocator gives back, and when, is its own affair.
    with mmap.mmap(-1, 64 * 2**20) as much:
        much[::4096] = bytes(len(much) // 4096)
        after = timing.peak_memory()
    assert after - before == pytest.approx(64, abs=8)
    timing.forget_peak()
    assert after - timing.peak_memory() > 50


@pytest.mark.slow
def test_table_wiping_is_measured_against_robosuites_physics_and_rendering():
    physics, default = benchmark.benchmark(
        benchmark.Arguments(("env",), "debug", "table_wiping", repeats=1)
    )
    assert "robosuite's physics" in physics.meaning and physics.ratio_cpu > 1
    assert "robosuite's default rendering" in default.meaning and 0 < default.ratio_cpu < 1


def test_a_task_without_raw_physics_is_an_error():
    with pytest.raises(ValueError, match="walker_walk"):
        benchmark.benchmark(benchmark.Arguments(("env",), "debug", "dummy"))


def test_the_results_are_written(tmp_path, monkeypatch, capsys):
    path = tmp_path / "new" / "speed.json"
    flags = ("--what", "replay", "--preset", "debug", "--task", "dummy", "--out", str(path))
    monkeypatch.setattr("sys.argv", ["benchmark", *flags, "--repeats", "1"])
    benchmark.main()
    assert "replay" in capsys.readouterr().out
    rows = json.loads(path.read_text())["rows"]
    assert [row["stage"] for row in rows] == ["replay"] * 3
