"""Writing LeRobot datasets: laid out as published, read back equal, and never losing any."""

import json
import shutil

import av
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mummi.imitation.demonstrations import Demonstration
from mummi.imitation.demonstrations.lerobot import LeRobotDemonstrations, LeRobotWriter
from mummi.modality import Modality

ENV_ARGS = {"env_name": "dummy", "type": 2, "env_kwargs": {"image_size": 16}}
MODALITIES = (
    Modality("rgb", "image", (32, 48, 3)),
    Modality("depth", "depth", (4, 6, 1)),
    Modality("arm", "vector", (2,)),
    Modality("touch", "vector", (1,)),
    Modality("code", "embedding", (5,)),
)
RGB = "observation.images.rgb"


def film(seed, steps):
    """Pictures that move as a camera's do, uint8 [T, 32, 48, 3]."""
    time, row, column = np.ogrid[:steps, :32, :48]
    waves = np.sin(row / 9 + time / 5 + seed), np.cos(column / 12 - time / 7), time / 50 + 0 * row
    pictures = [127 + 100 * np.broadcast_to(wave, (steps, 32, 48)) for wave in waves]
    return np.stack(pictures, -1).astype(np.uint8)


def make(seed, steps=5, **changes):
    random = np.random.default_rng(seed)
    values = {m.name: random.random((steps, *m.shape), np.float32) for m in MODALITIES}
    made = Demonstration(
        values=values | {"rgb": film(seed, steps)},
        actions=random.normal(size=(steps, 3)).astype(np.float32),
        rewards=random.normal(size=steps).astype(np.float32),
        dones=np.arange(steps) == steps - 1,
        states=random.normal(size=(steps, 9)),
        attributes={"success": 1.0, "note": "a", "init": np.arange(3.0)},
    )
    return made._replace(**changes)


def writer_of(path, **changes):
    arguments = {"modalities": MODALITIES, "action_size": 3, "env_args": ENV_ARGS, "images": "png"}
    return LeRobotWriter(path, **(arguments | changes))


def write(path, demonstrations, **changes):
    with writer_of(path, **changes) as writer:
        for demonstration in demonstrations:
            writer.append(demonstration)


def require_equal(found, expected, tolerance=0):
    assert list(found.values) == list(expected.values)
    for name, value in expected.values.items():
        there = expected.availability(name)
        np.testing.assert_array_equal(found.availability(name), there)
        assert found.values[name].dtype == value.dtype
        if name == "rgb":
            error = np.abs(found.values[name].astype(int) - value)[there]
            assert error.max(initial=0) <= 8 * tolerance and error.sum() <= tolerance * error.size
        else:
            np.testing.assert_array_equal(found.values[name][there], value[there])
        assert not found.values[name][~there].any()
    for name in ("actions", "rewards", "dones", "states", "executed"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    attributes = {"instruction": "dummy", **expected.attributes}
    assert found.attributes == {k: np.asarray(v).tolist() for k, v in attributes.items()}


def test_what_is_written_is_laid_out_as_lerobot_has_it(tmp_path):
    root = tmp_path / "new" / "cubes"
    tasks = ("lift", "push", "lift")
    made = [
        make(seed, steps=4 + seed, attributes={"instruction": task})
        for seed, task in enumerate(tasks)
    ]
    write(root, made, fps=10, images="h264")
    assert {p.name for p in root.parent.iterdir()} == {"cubes"}
    info = json.loads((root / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 10
    assert [info[f"total_{n}"] for n in ("episodes", "frames", "tasks")] == [3, 15, 2]
    assert info["splits"] == {"train": "0:3"}
    features = info["features"]
    assert features[RGB]["dtype"] == "video" and features[RGB]["shape"] == [32, 48, 3]
    assert features["observation.images.depth"]["info"] == {"is_depth_map": True}
    assert features["observation.arm"] == {"dtype": "float32", "shape": [2], "names": None}
    # As LeRobot reads it: the n-th row is that of task n, and its index the sentence.
    table = pd.read_parquet(root / "meta/tasks.parquet")
    assert table.index.tolist() == ["lift", "push"] and table.task_index.tolist() == [0, 1]
    frames = pq.read_table(root / info["data_path"].format(chunk_index=0, file_index=0))
    assert set(frames.column_names) == {k for k, f in features.items() if f["dtype"] != "video"}
    np.testing.assert_array_equal(
        np.array(frames["action"].to_pylist(), np.float32),
        np.concatenate([m.actions for m in made]),
    )
    assert frames["episode_index"].to_pylist() == [0] * 4 + [1] * 5 + [2] * 6
    assert frames["index"].to_pylist() == list(range(15))
    assert frames["frame_index"].to_pylist() == [*range(4), *range(5), *range(6)]
    assert frames["task_index"].to_pylist() == [0] * 4 + [1] * 5 + [0] * 6
    assert frames["timestamp"].to_pylist()[:4] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert str(frames["timestamp"].type) == "float" and str(frames["next.done"].type) == "bool"
    assert str(frames["observation.touch"].type) == "float"
    episodes = pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["dataset_from_index"] for row in episodes] == [0, 4, 9]
    assert [row["dataset_to_index"] for row in episodes] == [4, 9, 15]
    assert [row["tasks"] for row in episodes] == [[task] for task in tasks]
    starts = [row[f"videos/{RGB}/from_timestamp"] for row in episodes]
    ends = [row[f"videos/{RGB}/to_timestamp"] for row in episodes]
    assert starts == pytest.approx([0, 0.4, 0.9]) and ends == pytest.approx([0.4, 0.9, 1.5])
    for row in episodes:
        for kind in ("data", "meta/episodes", f"videos/{RGB}"):
            assert (row[f"{kind}/chunk_index"], row[f"{kind}/file_index"]) == (0, 0)
    path = info["video_path"].format(video_key=RGB, chunk_index=0, file_index=0)
    with av.open(str(root / path)) as container:
        shown = list(container.decode(video=0))
        codec = container.streams.video[0].codec.canonical_name
    assert codec == "h264" and len(shown) == 15 and shown[3].time == pytest.approx(0.3)
    assert sum(frame.key_frame for frame in shown) >= 7


def test_statistics_are_those_of_all_frames_that_were_there(tmp_path):
    gone = np.array([True, False, True, True, False])
    made = [make(0, available={"arm": ~gone}), make(1, 8)]
    write(tmp_path / "cubes", made[:1])
    write(tmp_path / "cubes", made[1:])
    found = json.loads((tmp_path / "cubes/meta/stats.json").read_text())
    arm = np.concatenate([made[0].values["arm"][~gone], made[1].values["arm"]])
    pictures = np.concatenate([m.values["rgb"] for m in made]).reshape(-1, 3) / 255
    rewards = np.concatenate([m.rewards for m in made])[:, None]
    for key, values, shape in (
        ("observation.arm", arm, (2,)),
        (RGB, pictures, (3, 1, 1)),
        ("next.reward", rewards, (1,)),
        ("index", np.arange(13)[:, None], (1,)),
    ):
        for name in ("min", "max", "mean", "std"):
            expected = getattr(values, name)(0).reshape(shape)
            np.testing.assert_allclose(found[key][name], expected, rtol=1e-5)
    assert found["observation.arm"]["count"] == [10] and found[RGB]["count"] == [13]
    assert not any(key.startswith("available.") for key in found)


@pytest.mark.parametrize(("images", "tolerance"), [("png", 0), ("h264", 3), ("av1", 3)])
def test_what_is_written_is_read_equal(tmp_path, images, tolerance):
    made = [make(seed, steps=5 + seed) for seed in range(3)]
    made[1] = made[1]._replace(executed=made[1].actions + 1)
    write(tmp_path / "cubes", made, images=images)
    with LeRobotDemonstrations(tmp_path / "cubes") as demonstrations:
        assert demonstrations.modalities == MODALITIES and demonstrations.action_size == 3
        assert demonstrations.attributes["env_args"] == ENV_ARGS
        for found, expected in zip(demonstrations, made, strict=True):
            require_equal(found, expected, tolerance)


@pytest.mark.parametrize("images", ["png", "h264"])
@pytest.mark.parametrize("name", [m.name for m in MODALITIES])
def test_a_missing_value_is_missing_when_it_is_read_again(tmp_path, name, images):
    gone = {name: np.array([True, False, True, True, False])}
    never = {name: np.zeros(5, bool)}
    made = [make(0, available=gone), make(1), make(2, available=never)]
    write(tmp_path / "cubes", made, images=images)
    with LeRobotDemonstrations(tmp_path / "cubes") as demonstrations:
        for found, expected in zip(demonstrations, made, strict=True):
            require_equal(found, expected, 3)
        assert demonstrations[1].available is None


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_vectors_and_their_availability_are_read_back_to_the_bit(tmp_path_factory, data):
    steps = data.draw(st.integers(1, 6))
    numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
    value = data.draw(arrays(np.float32, (steps, 3), elements=numbers))
    actions = data.draw(arrays(np.float32, (steps, 2), elements=numbers))
    states = data.draw(arrays(np.float64, (steps, 2), elements=st.floats(-1e150, 1e150)))
    there = data.draw(arrays(bool, steps))
    rewards, dones = np.zeros(steps, np.float32), data.draw(arrays(bool, steps))
    made = Demonstration({"x": value}, actions, rewards, dones, states, available={"x": there})
    root = tmp_path_factory.mktemp("vectors") / "set"
    with LeRobotWriter(root, [Modality("x", "vector", (3,))], 2, {}) as writer:
        writer.append(made)
    with LeRobotDemonstrations(root) as demonstrations:
        found = demonstrations[0]
    np.testing.assert_array_equal(found.availability("x"), there)
    np.testing.assert_array_equal(found.values["x"], np.where(there[:, None], value, 0))
    np.testing.assert_array_equal(found.actions, actions)
    np.testing.assert_array_equal(found.states, states)
    np.testing.assert_array_equal(found.dones, dones)


def test_no_appended_demonstration_is_lost_when_the_process_is_killed(tmp_path):
    root, folder = tmp_path / "cubes", tmp_path / "cubes.parts"
    killed = writer_of(root)
    for seed in range(2):
        killed.append(make(seed))
    killed._lock.close(), killed._new._lock.close()
    shutil.copytree(folder, tmp_path / "kept")
    with writer_of(root) as writer:
        assert len(writer) == 2
        writer.append(make(2))
    # Killed again, after the dataset was finished and before the parts were removed.
    shutil.copytree(tmp_path / "kept", folder)
    with writer_of(root) as writer:
        assert len(writer) == 3
        writer.append(make(3))
    assert not folder.exists()
    with LeRobotDemonstrations(root) as demonstrations:
        assert len(demonstrations) == 4
        for seed, found in enumerate(demonstrations):
            require_equal(found, make(seed))


@pytest.mark.parametrize("name", ["stats.json", "info.json", "file-001.parquet", "file-001.mp4"])
def test_a_kill_while_the_dataset_grows_leaves_the_old_one_and_loses_nothing(
    tmp_path, monkeypatch, name
):
    """Whatever cannot be written, the next writer goes on as if nothing had happened."""
    root = tmp_path / "cubes"
    write(root, [make(0)], images="h264")
    replace = shutil.os.replace

    def killed(source, target):
        if str(target).endswith(name):
            raise OSError("killed")
        replace(source, target)

    writer = writer_of(root, images="h264")
    writer.append(make(1))
    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(OSError, match="killed"):
        writer.close()
    monkeypatch.undo()
    with LeRobotDemonstrations(root) as demonstrations:
        assert len(demonstrations) == 1
        require_equal(demonstrations[0], make(0), 3)
    with writer_of(root, images="h264") as writer:
        assert len(writer) == 2
        writer.append(make(2))
    with LeRobotDemonstrations(root) as demonstrations:
        assert len(demonstrations) == 3
        for seed, found in enumerate(demonstrations):
            require_equal(found, make(seed), 3)
    counted = json.loads((root / "meta/stats.json").read_text())["action"]["count"]
    assert counted == [15]


def test_full_files_are_followed_by_others_and_full_chunks_too(tmp_path):
    root = tmp_path / "cubes"
    write(root, [make(0)], images="h264")
    path = root / "meta/info.json"
    small = {"data_files_size_in_mb": 1e-6, "chunks_size": 2}
    path.write_text(json.dumps(json.loads(path.read_text()) | small))
    write(root, [make(seed) for seed in (1, 2, 3)], images="h264")
    places = sorted(str(p.relative_to(root / "data")) for p in root.glob("data/*/*"))
    assert places == [f"chunk-00{c}/file-00{f}.parquet" for c in (0, 1) for f in (0, 1)]
    assert len(list(root.glob(f"videos/{RGB}/*/*.mp4"))) == 4
    assert not list(root.rglob("*.tmp"))
    with LeRobotDemonstrations(root) as demonstrations:
        for seed, found in enumerate(demonstrations):
            require_equal(found, make(seed), 3)


def test_demonstrations_of_different_kinds_are_not_mixed(tmp_path):
    root = tmp_path / "cubes"
    with writer_of(root) as writer:
        writer.append(make(0))
        with pytest.raises(ValueError, match=r"another process writes '.*cubes'"):
            writer_of(root)
        with pytest.raises(ValueError, match=r"0 numbers of the simulator's state .* have 9"):
            writer.append(make(1, states=None))
        with pytest.raises(ValueError, match="actions is NaN or infinite"):
            writer.append(make(1, actions=np.full((5, 3), np.nan)))
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    for changes, said in (
        ({"env_args": ENV_ARGS | {"env_name": "other"}}, "env_args = .*'dummy'.*, not .*'other'"),
        ({"modalities": MODALITIES[:2]}, "modalities = "),
        ({"modalities": MODALITIES[::-1]}, "modalities = "),
        ({"action_size": 4}, r"features\['action'\]"),
        ({"fps": 30}, "rate = 20.0, not 30.0"),
        ({"images": "h264"}, r"features\['observation.images.rgb'\] = "),
    ):
        with pytest.raises(ValueError, match=said):
            writer_of(root, **changes)
    with writer_of(root) as writer, pytest.raises(ValueError, match="numbers of the simulator's"):
        writer.append(make(1, states=np.zeros((5, 3))))
    assert before == {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_state_of_another_size_is_refused_also_after_a_kill(tmp_path):
    killed = writer_of(tmp_path / "cubes")
    killed.append(make(0))
    killed._lock.close(), killed._new._lock.close()
    with writer_of(tmp_path / "cubes") as writer, pytest.raises(ValueError, match="have 9"):
        writer.append(make(1, states=None))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"modalities": [Modality("rgb", "image", (15, 16, 3))]},
            "even sizes: store images as png",
        ),
        ({"modalities": [Modality("grey", "image", (16, 16, 1))]}, "videos have 3 channels"),
        ({"modalities": [Modality("x", "image", (4, 4, 5))], "images": "png"}, "has 5 channels"),
        ({"fps": 29.97}, "fps is 29.97; LeRobot wants whole frames"),
        ({"fps": 0}, "fps is 0"),
        ({"images": "gif"}, "images is 'gif'; it must be one of h264, av1, png"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_recorded(tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        writer_of(tmp_path / "cubes", **{"images": "h264"} | changes)
    assert not list(tmp_path.iterdir())


def test_a_folder_or_file_of_something_else_is_left_alone(tmp_path):
    folder, file = tmp_path / "mine", tmp_path / "notes"
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    file.write_text("mine")
    for path in (folder, file):
        with pytest.raises(ValueError, match="exists and is no LeRobot dataset; give a new folder"):
            writer_of(path)
    assert (folder / "thesis.tex").read_text() == file.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "notes"}


def test_nothing_appended_is_nothing_written(tmp_path):
    with writer_of(tmp_path / "cubes") as writer:
        assert len(writer) == 0
    writer.close()
    assert not list(tmp_path.iterdir())
