"""Checkpoints: what is saved comes back, and a killed or damaged one is passed over."""

import logging
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mummi.runs.checkpoint import Checkpointer


def make_state(number=1):
    params = {
        "encoder": [
            {"kernel": jnp.full((7, 5), float(number)), "bias": jnp.zeros(5, jnp.bfloat16)}
        ],
        "scale": jnp.float32(number),
    }
    return {
        "params": params,
        "optimizer": optax.adam(1e-3).init(params),
        "key": jax.random.key_data(jax.random.key(3)),
        "updates": jnp.int32(number),
        "slow": None,
    }


def one_leaf(number=1):
    # With more leaves, the reads that Orbax leaves behind at the first failure report to an event
    # loop that is closed, at any time later.
    return {"kernel": jnp.full((7, 5), float(number))}


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def run_python(code, directory):
    return subprocess.Popen(
        [sys.executable, "-c", code, str(directory)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )


def damage(directory, step):
    """Cuts every data file of a checkpoint in half."""
    for path in (Path(directory) / str(step) / "state").rglob("d/*"):
        os.truncate(path, path.stat().st_size // 2)


def test_what_was_saved_comes_back(tmp_path):
    saved = Checkpointer(tmp_path / "checkpoints")
    assert saved.latest_step() is None
    state, meta = make_state(), {"step": 10, "replay": {"state": 2**127}, "name": "walker"}
    saved.save(10, state, meta)
    other = Checkpointer(tmp_path / "checkpoints")
    assert other.latest_step() == 10
    restored, found = other.restore(jax.tree.map(jnp.zeros_like, state))
    assert_same(restored, state)
    assert found == meta
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(restored))


def test_the_last_two_are_kept_and_either_can_be_restored(tmp_path):
    checkpoints = Checkpointer(tmp_path)
    for step in (0, 5, 7):
        checkpoints.save(step, make_state(step), {"at": step})
    assert sorted(os.listdir(tmp_path)) == ["5", "7"]
    assert checkpoints.restore(make_state())[1] == {"at": 7}
    state, meta = checkpoints.restore(make_state(), step=5)
    assert meta == {"at": 5}
    assert_same(state, make_state(5))
    with pytest.raises(FileNotFoundError, match=r"at step 6; there are \[5, 7\]"):
        checkpoints.restore(make_state(), step=6)
    with pytest.raises(ValueError, match=r"step 7 .* has step 7 already; steps must increase"):
        checkpoints.save(7, make_state(), {})


def test_a_restored_state_may_be_donated(tmp_path):
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, make_state(1), {})
    state, _ = checkpoints.restore(make_state())
    update = jax.jit(
        lambda state: jax.tree.map(lambda x: x + jnp.ones_like(x), state), donate_argnums=0
    )
    for _ in range(3):
        state = update(state)
    assert state["updates"] == 4
    np.testing.assert_array_equal(state["params"]["encoder"][0]["kernel"], np.full((7, 5), 4.0))


def test_leaves_come_back_on_the_devices_of_the_template(tmp_path):
    checkpoints = Checkpointer(tmp_path)
    state = {"w": jnp.arange(16.0)}
    checkpoints.save(1, state, {})
    mesh = jax.make_mesh((1,), ("data",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    template = {"w": jax.ShapeDtypeStruct((16,), jnp.float32, sharding=sharding)}
    assert checkpoints.restore(template)[0]["w"].sharding == sharding
    anywhere = {"w": jax.ShapeDtypeStruct((16,), jnp.float32)}
    assert checkpoints.restore(anywhere)[0]["w"].devices() == {jax.local_devices()[0]}


SAVE_ON_SECOND_DEVICE = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
from mummi.runs.checkpoint import Checkpointer
array = jax.device_put(jax.numpy.arange(16.0), jax.devices()[1])
Checkpointer(sys.argv[1]).save(1, {"w": array}, {})
"""


def test_the_device_that_a_checkpoint_was_saved_from_need_not_exist(tmp_path):
    with run_python(SAVE_ON_SECOND_DEVICE, tmp_path) as process:
        assert process.wait() == 0
    state, _ = Checkpointer(tmp_path).restore({"w": jnp.zeros(16)})
    assert state["w"].devices() == {jax.local_devices()[0]}
    np.testing.assert_array_equal(state["w"], np.arange(16))


def test_without_a_checkpoint_nothing_is_restored_and_no_folder_is_made(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint in"):
        Checkpointer(tmp_path / "none").restore(make_state())
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {**s, "key": jnp.zeros(3, jnp.uint32)}, r"\['key'\] is \(3,\) uint32 .* \(2,\)"),
        (lambda s: {**s, "updates": jnp.float32(0)}, r"\['updates'\] is \(\) float32 .* int32"),
        (lambda s: {**s, "extra": jnp.zeros(1)}, r"\['extra'\] is \(1,\) float32 .* no such leaf"),
        (lambda s: {k: v for k, v in s.items() if k != "key"}, r"\['key'\] is no such leaf in the"),
    ],
)
def test_a_state_of_another_configuration_is_an_error_that_names_the_leaf(
    tmp_path, change, message
):
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, make_state(), {})
    with pytest.raises(ValueError, match=message):
        checkpoints.restore(change(make_state()))


def test_a_damaged_newest_checkpoint_is_passed_over_and_replaced(tmp_path):
    checkpoints = Checkpointer(tmp_path)
    for step in (1, 5):
        checkpoints.save(step, one_leaf(step), {"at": step})
    damage(tmp_path, 5)
    with pytest.warns(UserWarning, match=f"passed over damaged checkpoint {tmp_path}/5"):
        state, meta = checkpoints.restore(one_leaf())
    assert meta == {"at": 1}
    assert_same(state, one_leaf(1))
    assert sorted(os.listdir(tmp_path)) == ["1", "5"]
    checkpoints.save(3, one_leaf(3), {"at": 3})
    assert sorted(os.listdir(tmp_path)) == ["1", "3"]
    assert checkpoints.restore(one_leaf())[1] == {"at": 3}


@pytest.mark.parametrize("part", ["meta/metadata", "state/_METADATA", "state/manifest.ocdbt"])
def test_losing_any_part_of_a_checkpoint_counts_as_damage(tmp_path, part):
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, one_leaf(1), {"at": 1})
    checkpoints.save(2, one_leaf(2), {"at": 2})
    (tmp_path / "2" / part).write_bytes(b"")
    with pytest.warns(UserWarning, match="passed over damaged"):
        assert checkpoints.restore(one_leaf())[1] == {"at": 1}


def test_one_flipped_bit_in_any_file_counts_as_damage(tmp_path):
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, make_state(1), {"at": 1})
    checkpoints.save(2, make_state(2), {"at": 2})
    files = [path for path in sorted((tmp_path / "2").rglob("*")) if path.is_file()]
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        with pytest.warns(UserWarning, match=f"passed over damaged checkpoint {tmp_path}/2"):
            state, meta = checkpoints.restore(make_state())
        assert meta == {"at": 1}
        assert_same(state, make_state(1))
        path.write_bytes(content)
    assert checkpoints.restore(make_state())[1] == {"at": 2}


def test_a_checkpoint_whose_writer_was_killed_before_its_checksums_is_read(tmp_path):
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(2, make_state(2), {"at": 2})
    (tmp_path / "2" / "checksums.json").unlink()
    state, meta = checkpoints.restore(make_state())
    assert meta == {"at": 2}
    assert_same(state, make_state(2))


def test_nothing_readable_is_a_clear_error(tmp_path):
    checkpoints = Checkpointer(tmp_path)
    for step in (1, 2):
        checkpoints.save(step, one_leaf(step), {})
        damage(tmp_path, step)
    with (
        pytest.warns(UserWarning, match="/2: "),
        pytest.warns(UserWarning, match="/1: "),
        pytest.raises(OSError, match=r"no readable checkpoint .* damaged: \[1, 2\]"),
    ):
        checkpoints.restore(one_leaf())


def test_a_checkpoint_that_cannot_be_written_is_a_clear_error_and_the_last_one_stays(tmp_path):
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, one_leaf(1), {"at": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))
    try:
        with pytest.raises(OSError, match=rf"cannot write checkpoint {tmp_path}/2 .* MiB free"):
            checkpoints.save(2, one_leaf(2), {"at": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoints.restore(one_leaf())[1] == {"at": 1}
    checkpoints.save(2, one_leaf(2), {"at": 2})
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


def test_orbax_says_nothing_of_its_own(tmp_path, caplog):
    checkpoints = Checkpointer(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(step, one_leaf(step), {})
    checkpoints.restore(one_leaf())
    assert [record for record in caplog.records if record.name == "absl"] == []


SAVE_FOREVER = """
import sys
from tests.mummi.runs.test_checkpoint import make_state
from mummi.runs.checkpoint import Checkpointer
checkpoints = Checkpointer(sys.argv[1])
step = checkpoints.latest_step() or 0
while True:
    step += 1
    checkpoints.save(step, make_state(step), {"at": step})
    print(step, flush=True)
"""


def test_a_run_killed_while_saving_restores_the_last_complete_checkpoint(tmp_path):
    for delay in (0.0, 0.02, 0.05):
        process = run_python(SAVE_FOREVER, tmp_path)
        for _ in range(3):
            said = int(process.stdout.readline())
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        said = int((process.stdout.read().split() or [said])[-1])
        process.stdout.close()
        checkpoints = Checkpointer(tmp_path)
        state, meta = checkpoints.restore(make_state())
        assert said <= meta["at"] <= said + 1
        assert_same(state, make_state(meta["at"]))
    checkpoints.save(1000, make_state(), {})
    assert len(os.listdir(tmp_path)) == 2


def test_saving_is_quiet(tmp_path, capfd):
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, make_state(), {})
    checkpoints.restore(make_state())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("level", [logging.NOTSET, logging.INFO])
def test_the_users_own_logging_is_left_as_it_was(tmp_path, level):
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(level)
    try:
        checkpoints = Checkpointer(tmp_path)
        checkpoints.save(1, one_leaf(), {})
        checkpoints.restore(one_leaf())
        with pytest.raises(ValueError, match="steps must increase"):
            checkpoints.save(1, one_leaf(), {})
        assert logger.level == level
    finally:
        logger.setLevel(before)
