"""Reading LeRobot datasets that pyarrow and PyAV wrote from the published layout."""

import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mummi.imitation.demonstrations import (
    DataSet,
    Reading,
    find_format,
    open_data,
    open_with_instruction,
)
from mummi.imitation.demonstrations.lerobot import LeRobotDemonstrations
from mummi.modality import Modality
from tests.support import lerobot_files as files

INDICES = ("frame_index", "episode_index", "index", "task_index")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return files.dataset(tmp_path_factory.mktemp("lerobot") / "cubes")


@pytest.fixture
def own(tmp_path, root):
    """A dataset of the test's own, to be damaged."""
    return files.dataset(tmp_path / "cubes")


def opened(root, *obs, **settings):
    """A dataset with these sensors alone."""
    return LeRobotDemonstrations(root, Reading(obs=obs, **settings))


def edit_info(root, **changes):
    path = root / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_table(path, edit):
    pq.write_table(edit(pq.read_table(path)), path)


def test_every_episode_of_several_files_and_chunks_has_its_own_values(root):
    with LeRobotDemonstrations(root) as demonstrations:
        assert demonstrations.names == tuple(f"episode_{n}" for n in range(5))
        assert demonstrations.action_size == 2
        assert demonstrations.modalities == (
            Modality("top", "image", (48, 64, 3)),
            Modality("wrist_left", "image", (32, 32, 3)),
            Modality("state", "vector", (3,)),
        )
        assert demonstrations.attributes == {"rate": 10, "robot_type": "so100"}
        # Backward, so that no episode is found because another was read before it.
        for number in (4, 3, 2, 1, 0):
            found, expected = demonstrations[number], files.low(number)
            np.testing.assert_array_equal(found.values["state"], expected["observation.state"])
            np.testing.assert_array_equal(found.actions, expected["action"])
            np.testing.assert_array_equal(found.rewards, expected["next.reward"])
            steps = files.LENGTHS[number]
            assert found.dones.tolist() == [False] * (steps - 1) + [True]
            task = files.TASKS[files.EPISODE_TASKS[number]]
            assert found.attributes == {"instruction": task}
            assert found.available is None and found.states is None and found.executed is None
        assert len(list(demonstrations)) == 5


@pytest.mark.parametrize("number", range(5))
def test_every_frame_of_a_video_is_that_of_its_time(root, number):
    with opened(root, "wrist_left", "top") as demonstrations:
        found = demonstrations[number].values
    assert list(found) == ["wrist_left", "top"]
    for camera, name in enumerate(("top", "wrist_left")):
        steps = files.LENGTHS[number]
        expected = [files.grey(camera, number, t) for t in range(steps)]
        # Neighbours are 3 apart.
        assert np.abs(found[name].mean((1, 2, 3)) - expected).max() < 1.5
        assert found[name].dtype == np.uint8 and np.ptp(found[name][0]) <= 2


def test_a_split_is_a_range_of_episodes(root):
    assert opened(root, filter_key="train").names[-1] == "episode_3"
    with opened(root, filter_key="val") as demonstrations:
        assert demonstrations.names == ("episode_4",)
        np.testing.assert_array_equal(demonstrations[0].actions, files.low(4)["action"])
    with pytest.raises(ValueError, match="no filter key 'test'; its splits are train, val"):
        opened(root, filter_key="test")


def test_sensors_are_chosen_and_called_otherwise(root):
    names = ("state=robot", "top=camera")
    with opened(root, "camera", "robot", rename=names) as demonstrations:
        assert [m.name for m in demonstrations.modalities] == ["camera", "robot"]
        robot = demonstrations[1].values["robot"]
    np.testing.assert_array_equal(robot, files.low(1)["observation.state"])
    with pytest.raises(ValueError, match=r"unknown modality 'tip'; the observations are top, wr"):
        opened(root, "tip")


def test_it_is_a_format_of_the_registry_and_an_instruction_is_a_sensor(root):
    assert find_format(root).name == "lerobot"
    with open_data(root, Reading(obs=("state",))) as data:
        assert len(data) == 5 and isinstance(data, DataSet)
    embed = lambda sentences: np.array([[len(s), 1] for s in sentences], np.float32)  # noqa: E731
    with open_with_instruction(root, Reading(obs=("instruction", "state")), embed) as data:
        assert [(m.name, m.can_fail) for m in data.modalities] == [
            ("instruction", False),
            ("state", True),
        ]
        for number in range(5):
            task = files.TASKS[files.EPISODE_TASKS[number]]
            assert (data[number].values["instruction"] == [len(task), 1]).all()


def test_pictures_depth_and_numbers_of_every_storage(tmp_path):
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (8, 6, 5, 3), np.uint8)
    millimetres = random.integers(0, 5000, (8, 6, 5), np.uint16)
    metres = random.random((8, 6, 5, 1), np.float32)
    chw = {"shape": [3, 6, 5], "names": ["channels", "height", "width"]}
    marked = {"shape": [6, 5, 1], "names": None, "info": {"is_depth_map": True}}
    more = {
        "observation.images.png": {"dtype": "image", **chw},
        "observation.images.near": {"dtype": "image", **marked},
        "observation.depth": {"dtype": "float32", "shape": [1, 6, 5], "names": None},
        "observation.range": {"dtype": "uint16", "shape": [6, 5], "names": None},
        "observation.contact": {"dtype": "bool", "shape": [1], "names": None},
        "observation.ticks": {"dtype": "int64", "shape": [2], "names": None},
    }

    def columns(number):
        steps = files.LENGTHS[number]
        return {
            "observation.images.png": pa.array([files.png(c) for c in colours[:steps]]),
            "observation.images.near": pa.array(
                [files.png(m, "TIFF") for m in millimetres[:steps]]
            ),
            "observation.depth": pa.array(np.moveaxis(metres[:steps], -1, 1).tolist()),
            "observation.range": pa.array(millimetres[:steps].tolist(), None),
            "observation.contact": np.arange(steps) % 2 == 0,
            "observation.ticks": np.arange(2 * steps).reshape(steps, 2),
        }

    root = files.dataset(tmp_path / "cubes", more, columns)
    names = ("png", "near", "depth", "range", "contact", "ticks")
    with opened(root, *names) as demonstrations:
        kinds = [(m.kind, m.shape) for m in demonstrations.modalities]
        assert kinds == [
            ("image", (6, 5, 3)),
            *[("depth", (6, 5, 1))] * 3,
            ("vector", (1,)),
            ("vector", (2,)),
        ]
        found = demonstrations[2].values
    np.testing.assert_array_equal(found["png"], colours)
    for name in ("near", "range"):
        np.testing.assert_array_equal(found[name][..., 0], millimetres)
    np.testing.assert_array_equal(found["depth"], metres)
    assert found["contact"][:, 0].tolist() == [1, 0] * 4
    np.testing.assert_array_equal(found["ticks"], np.arange(16).reshape(8, 2))
    assert {found[n].dtype for n in names[1:]} == {np.dtype(np.float32)}


@pytest.mark.parametrize("logarithmic", [True, False])
def test_depth_in_a_video_is_brought_back_to_millimetres(tmp_path, logarithmic):
    key, low, high, shift = "observation.images.depth", 0.01, 10.0, 3.5
    info = {"is_depth_map": True, "video.pix_fmt": "gray12le", "video.depth_min": low}
    info |= {"video.depth_max": high, "video.shift": shift, "video.use_log": logarithmic}
    feature = {"dtype": "video", "shape": [32, 32, 1], "names": None, "info": info}
    root = files.dataset(tmp_path / "cubes", {key: feature})
    time, row, column = np.ogrid[: sum(files.LENGTHS), :32, :32]
    metres = 4 + 3 * np.sin(row / 5 + time / 3) + 0.8 * np.cos(column / 7)
    share = (metres - low) / (high - low)
    if logarithmic:
        share = np.log((metres + shift) / (low + shift)) / np.log((high + shift) / (low + shift))
    levels = np.rint(4095 * share).astype(np.uint16)
    # Only whole frames are lossless in x265 with 12 bits.
    lossless = {"x265-params": "lossless=1:log-level=0", "g": "1"}
    options = {"pixels": "gray12le", "given": "gray12le"} | lossless
    path = root / f"videos/{key}/chunk-000/file-000.mp4"
    files.video(path, levels, codec="libx265", **options)
    start = 0
    for file in range(2):
        path = root / f"meta/episodes/chunk-000/file-{file:03d}.parquet"
        table = pq.read_table(path)
        starts = [row / files.FPS for row in table["dataset_from_index"].to_pylist()]
        zeros = [0] * len(table)
        places = {"chunk_index": zeros, "file_index": zeros, "from_timestamp": starts}
        for name, values in places.items():
            table = table.append_column(f"videos/{key}/{name}", pa.array(values))
        pq.write_table(table, path)
    with opened(root, "depth") as demonstrations:
        for demonstration in demonstrations:
            found = demonstration.values["depth"] / 1000
            expected = metres[start : start + len(found)]
            start += len(found)
            np.testing.assert_allclose(found[..., 0], expected, atol=0.005)


def test_nan_and_null_and_false_say_that_a_sensor_is_missing(tmp_path):
    gone = np.array([False, True, False, False, True, False, False, True])
    force = np.where(gone[:, None], np.nan, np.ones((8, 2), np.float32))
    picture = files.png(np.full((4, 4, 3), 7, np.uint8))
    more = {
        "observation.force": {"dtype": "float32", "shape": [2], "names": None},
        "observation.tactile": {"dtype": "float32", "shape": [2], "names": None},
        "observation.images.eye": {"dtype": "image", "shape": [4, 4, 3], "names": None},
        "available.top": {"dtype": "bool", "shape": [1], "names": None},
    }

    def columns(number):
        missing = gone[: files.LENGTHS[number]]
        return {
            "observation.force": force[: len(missing)],
            "observation.tactile": pa.array([None if m else [1.0, 1.0] for m in missing]),
            "observation.images.eye": pa.array([None if m else picture for m in missing]),
            "available.top": ~missing,
        }

    demonstrations = LeRobotDemonstrations(files.dataset(tmp_path / "cubes", more, columns))
    with pytest.warns(UserWarning, match=r"episode 2 holds.*'force' at 3 of 8"):
        found = demonstrations[2]
    for name in ("force", "tactile", "eye", "top"):
        np.testing.assert_array_equal(found.availability(name), ~gone)
        assert (found.values[name][gone] == 0).all() and found.values[name][~gone].all()
    assert found.availability("state").all() and found.availability("wrist_left").all()


def test_an_episode_of_two_tasks_has_both_sentences(own):
    def edit(table):
        index = table.column_names.index("task_index")
        tasks = np.array(table["task_index"]).copy()
        tasks[8:] = 0  # in the second episode, from its second frame on
        return table.set_column(index, "task_index", pa.array(tasks))

    edit_table(own / "data/chunk-000/file-000.parquet", edit)
    with opened(own) as demonstrations:
        assert demonstrations[0].attributes["instruction"] == "pick the cube"
        assert demonstrations[1].attributes["instruction"] == "open the drawer; pick the cube"


def test_success_anywhere_is_success_and_without_rewards_they_are_zero(tmp_path):
    more = {"next.success": {"dtype": "bool", "shape": [1], "names": None}}
    reached = {0: 6, 3: 2}

    def columns(number):
        return {"next.success": np.arange(files.LENGTHS[number]) == reached.get(number, -1)}

    root = files.dataset(tmp_path / "cubes", more, columns)
    features = json.loads((root / "meta/info.json").read_text())["features"]
    del features["next.reward"], features["next.done"]
    edit_info(root, features=features)
    with opened(root) as demonstrations:
        found = list(demonstrations)
    assert [d.attributes["success"] for d in found] == [True, False, False, True, False]
    assert not any(d.rewards.any() for d in found)
    assert [int(np.flatnonzero(d.dones)[0]) + 1 for d in found] == list(files.LENGTHS)


def test_episodes_that_failed_are_dropped_where_they_are_to_be(tmp_path, root):
    more = {"next.success": {"dtype": "bool", "shape": [1], "names": None}}
    columns = lambda n: {"next.success": np.full(files.LENGTHS[n], n in (1, 4))}  # noqa: E731
    own = files.dataset(tmp_path / "cubes", more, columns)
    with pytest.warns(UserWarning, match="3 of 5 demonstrations failed and are left out"):
        assert opened(own, failed="drop").names == ("episode_1", "episode_4")
    assert len(opened(own, failed="keep")) == 5
    edit_info(own, splits={"bad": "2:4"})
    with pytest.raises(ValueError, match=r"all 2 demonstrations failed .* --failed keep"):
        opened(own, failed="drop", filter_key="bad")
    with pytest.raises(ValueError, match="--failed drop needs demonstrations that tell"):
        opened(root, failed="drop")


def test_tasks_of_an_index_without_a_name_are_read(own):
    frame = pd.DataFrame({"task_index": [0, 1]}, index=list(files.TASKS))
    frame.to_parquet(own / "meta/tasks.parquet")
    assert opened(own)[0].attributes["instruction"] == "pick the cube"


def test_episodes_that_info_does_not_count_are_of_a_stopped_writer(own):
    edit_info(own, total_episodes=3, splits={})
    assert len(LeRobotDemonstrations(own)) == 3


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_an_older_version_is_refused_with_lerobots_own_command(own, version):
    edit_info(own, codebase_version=version)
    command = "lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=OWNER/NAME --root="
    with pytest.raises(ValueError, match=f"version {version}.*{command}"):
        LeRobotDemonstrations(own)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"codebase_version": "v4.0"}, "codebase_version is 'v4.0'; this reads"),
        ({"codebase_version": None}, "codebase_version is 'None'"),
        ({"fps": 0}, "fps is 0.0; it must be positive"),
        ({"fps": "fast"}, "needs fps, total_episodes, and features"),
        ({"features": {}}, "feature 'action' is missing"),
        ({"features": {"action": {"dtype": "float32"}}}, "needs fps, total_episodes"),
        ({"total_episodes": 7}, "lists 5 of the 7 episodes"),
        ({"splits": {"val": "3:9"}}, "split 'val' is '3:9'; it must be a range of the 5"),
    ],
)
def test_a_wrong_info_is_refused_and_named(own, changes, said):
    edit_info(own, **changes)
    with pytest.raises(ValueError, match=f"cubes.*{re.escape(said)}"):
        LeRobotDemonstrations(own, Reading(filter_key="val"))


@pytest.mark.parametrize("template", ["data/{chunk}/{file}.parquet", "data/{0}.parquet", "{"])
def test_a_template_that_cannot_be_filled_in_is_refused(own, template):
    edit_info(own, data_path=template)
    with pytest.raises(ValueError, match=f"template of paths '{re.escape(template)}'"):
        LeRobotDemonstrations(own)[0]


def test_what_is_no_dataset_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(FileNotFoundError, match=r"is no LeRobot dataset: meta/info.json is"):
            LeRobotDemonstrations(path)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text('{"codebase')
    with pytest.raises(ValueError, match=r"info.json is no JSON, or damaged.*fetch it again"):
        LeRobotDemonstrations(tmp_path)


@pytest.mark.parametrize(
    ("key", "changes", "said"),
    [
        ("observation.images.top", {"shape": [3, 48, 64, 2]}, r"has shape \(3, 48, 64, 2\)"),
        ("observation.images.top", {"shape": [48, 64, 2]}, r"has shape \(48, 64, 2\)"),
        ("observation.state", {"shape": [2, 2, 2]}, "channels may come first or last"),
        ("observation.state", {"dtype": "string"}, "has dtype 'string'; it must be numbers or"),
    ],
)
def test_a_feature_that_is_no_sensor_is_named(own, key, changes, said):
    features = json.loads((own / "meta/info.json").read_text())["features"]
    features[key] |= changes
    edit_info(own, features=features)
    with pytest.raises(ValueError, match=f"info.json: feature '{key}' .*{said}.*--obs names the"):
        LeRobotDemonstrations(own)
    rest = [name for name in ("top", "state") if name not in key]
    assert len(opened(own, *rest)[0].actions) == 7


def test_two_features_of_one_name_have_their_whole_keys(tmp_path):
    names = ("observation.top", "observation.a-b", "observation.a.b")
    vector = {"dtype": "float32", "shape": [2], "names": None}
    made = {name: n * np.ones((8, 2)) for n, name in enumerate(names)}
    rows = lambda n: {name: value[: files.LENGTHS[n]] for name, value in made.items()}  # noqa: E731
    root = files.dataset(tmp_path / "one", {names[0]: vector}, rows)
    found = [m.name for m in LeRobotDemonstrations(root).modalities]
    assert found == ["observation_images_top", "wrist_left", "state", "observation_top"]
    assert opened(root, "observation_top")[0].values["observation_top"].shape == (7, 2)
    root = files.dataset(tmp_path / "two", dict.fromkeys(names, vector), rows)
    with pytest.raises(ValueError, match="would both be called 'observation_a_b'; write"):
        LeRobotDemonstrations(root)


@pytest.mark.parametrize(
    "name",
    ["data/chunk-000/file-001.parquet", "videos/observation.images.top/chunk-000/file-000.mp4"],
)
@pytest.mark.parametrize("damage", ["missing", "truncated", "emptied", "overwritten"])
def test_a_damaged_file_is_named_with_the_remedy(own, name, damage):
    path = own / name
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "overwritten":
        middle = len(data) // 3
        data[middle : middle + 200] = np.random.default_rng(0).bytes(200)
        path.write_bytes(data)
    else:
        path.write_bytes(data[: len(data) // 2 if damage == "truncated" else 0])
    with pytest.raises(ValueError, match=f"{path}.*again"):
        LeRobotDemonstrations(own)[2]


def test_a_video_that_ends_early_is_no_whole_episode(own):
    key = "observation.images.top"
    path = own / f"videos/{key}/chunk-001/file-000.mp4"
    files.video(path, [np.zeros((48, 64, 3), np.uint8)] * 8)
    demonstrations = LeRobotDemonstrations(own)
    assert demonstrations[3].values["top"].shape == (6, 48, 64, 3)
    with pytest.raises(ValueError, match=r"no frame within half a frame of 0.800 s"):
        demonstrations[4]
    files.video(path, [np.zeros((32, 64, 3), np.uint8)] * 10)
    with pytest.raises(ValueError, match=r"frames of shape \(32, 64, 3\), and info.json says"):
        demonstrations[3]


@pytest.mark.parametrize("shift", [0.04, -0.04])
def test_a_time_off_by_less_than_half_a_frame_finds_its_frame(own, shift):
    def edit(table):
        name = "videos/observation.images.wrist.left/from_timestamp"
        index = table.column_names.index(name)
        times = np.array(table[name]) + shift
        return table.set_column(index, name, pa.array(times))

    for file in range(2):
        edit_table(own / f"meta/episodes/chunk-000/file-{file:03d}.parquet", edit)
    with opened(own, "wrist_left") as demonstrations:
        for number, found in enumerate(demonstrations):
            expected = [files.grey(1, number, t) for t in range(files.LENGTHS[number])]
            assert np.abs(found.values["wrist_left"].mean((1, 2, 3)) - expected).max() < 1.5


@pytest.mark.parametrize("column", ["action", "observation.state", "timestamp", "episode_index"])
def test_a_missing_column_is_named(own, column):
    edit_table(own / "data/chunk-000/file-000.parquet", lambda t: t.drop_columns([column]))
    with pytest.raises(ValueError, match=rf"file-000.parquet has no column '{column}'; it has"):
        LeRobotDemonstrations(own)[0]


def test_a_missing_column_of_episodes_or_tasks_is_named(own):
    path = own / "meta/episodes/chunk-000/file-001.parquet"
    edit_table(path, lambda t: t.drop_columns(["length"]))
    with pytest.raises(ValueError, match=r"file-001.parquet has no column 'length'"):
        LeRobotDemonstrations(own)
    pq.write_table(pa.table({"sentence": ["a"]}), own / "meta/tasks.parquet")
    with pytest.raises(ValueError, match=r"tasks.parquet has columns sentence; it needs task and"):
        LeRobotDemonstrations(own)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: edit_table(path, lambda t: t.slice(0, 1)),
        lambda path: edit_table(path, lambda t: t.set_column(0, "task_index", pa.array([0, None]))),
    ],
)
def test_sentences_that_the_dataset_counts_and_lacks_are_missed(own, spoil):
    spoil(own / "meta/tasks.parquet")
    with pytest.raises(ValueError, match=r"tasks.parquet (is missing|has gaps).*; ?fetch|fetch it"):
        LeRobotDemonstrations(own)


@pytest.mark.parametrize("total", [1e300, "many", None])
def test_a_count_of_episodes_that_is_none_is_refused(own, total):
    info = json.loads((own / "meta/info.json").read_text())
    (own / "meta/info.json").write_text(json.dumps(info | {"total_episodes": total}))
    with pytest.raises(ValueError, match=str(own)):
        LeRobotDemonstrations(own)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([None, 4], "'length' has gaps; fetch it"),
        (["a", "b"], "'length' holds string; it must"),
    ],
)
def test_a_wrong_row_of_an_episode_is_refused(own, values, said):
    def edit(table):
        return table.set_column(table.column_names.index("length"), "length", pa.array(values))

    path = own / "meta/episodes/chunk-000/file-001.parquet"
    edit_table(path, edit)
    with pytest.raises(ValueError, match=f"{path}: column {said}"):
        LeRobotDemonstrations(own)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda t: t.slice(0, 11), r"episode 1 has 4 frames, and meta/episodes says 5"),
        (lambda t: pa.concat_tables([t, t.slice(8, 1)]), r"episode 1 has 6 frames"),
        (lambda t: t.take([*range(7), 8, 7, 9, 10, 11]), r"in order"),
    ],
)
def test_lengths_and_orders_that_disagree_are_refused(own, edit, said):
    edit_table(own / "data/chunk-000/file-000.parquet", edit)
    demonstrations = opened(own)
    assert len(demonstrations[0].actions) == 7
    with pytest.raises(ValueError, match=said):
        demonstrations[1]


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("action", [[0.0, np.nan]] * 8, "'action' is NaN or infinite at frame 0"),
        (
            "action",
            [[0.0]] * 8,
            "'action' has 8 numbers in 8 frames; by info.json each",
        ),
        ("action", ["left"] * 8, "'action' holds string; it must hold numbers"),
        ("observation.state", [[1.0] * 4] * 8, "'observation.state' has 32 numbers in 8 frames"),
        ("observation.state", [[1.0] * 2, [1.0] * 4] * 4, "has 24 numbers in 8 frames"),
        ("next.reward", [np.inf] * 8, "'next.reward' is NaN or infinite at frame 0"),
        ("next.reward", [1.0, None] * 4, "'next.reward' is NaN or infinite at frame 1"),
        ("next.done", [True, None] * 4, "'next.done' is NaN or infinite at frame 1"),
        ("task_index", [5] * 8, r"task_index 5 is not in meta/tasks.parquet, which has 0, 1"),
    ],
)
def test_wrong_values_are_refused_and_placed(own, column, values, said):
    def edit(table):
        return table.set_column(table.column_names.index(column), column, pa.array(values))

    edit_table(own / "data/chunk-000/file-001.parquet", edit)
    with pytest.raises(ValueError, match=f"file-001.parquet, episode 2: .*{re.escape(said)}"):
        LeRobotDemonstrations(own)[2]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"bytes": b"\x89PNG\r\n", "path": None}, "holds a damaged image"),
        ({"bytes": None, "path": "frame-000000.png"}, "holds no images but"),
        (files.png(np.zeros((3, 4, 3), np.uint8)), r"an image of shape \(3, 4, 3\)"),
    ],
)
def test_a_wrong_embedded_image_is_refused(tmp_path, row, said):
    key = "observation.images.eye"
    more = {key: {"dtype": "image", "shape": [4, 4, 3], "names": None}}
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    root = files.dataset(
        tmp_path / "cubes", more, lambda n: {key: pa.array([row] * files.LENGTHS[n], kind)}
    )
    with pytest.raises(ValueError, match=f"episode 0: column '{key}' .*{said}|has {said}"):
        LeRobotDemonstrations(root)[0]


@pytest.mark.parametrize(
    "trials", [range(20), pytest.param(range(20, 300), marks=pytest.mark.slow)]
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_damage_is_refused_in_words(own, trials):
    paths = sorted(path for path in own.rglob("*") if path.is_file())
    refused = 0
    for trial in trials:
        random = np.random.default_rng(trial)
        path = paths[random.integers(len(paths))]
        whole = path.read_bytes()
        data = bytearray(whole)
        place = int(random.integers(len(data)))
        if trial % 3 == 0:
            del data[place:]
        else:
            size = 1 if trial % 3 == 1 else 64
            data[place : place + size] = random.bytes(size)
        path.write_bytes(data)
        try:
            list(LeRobotDemonstrations(own))
        except (ValueError, FileNotFoundError) as error:
            assert str(own) in str(error)
            refused += 1
        path.write_bytes(whole)
    assert refused > len(trials) / 2
