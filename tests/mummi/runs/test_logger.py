"""What a run leaves to read: metrics.jsonl, TensorBoard events, films."""

import io
import json
import math
import struct
import sys
import time

import av
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mummi.runs.logger import Logger, read_metrics, write_video


def make_frames(count, height, width):
    """Flat frames of slowly changing colour, which a lossy codec keeps nearly as they are."""
    level = np.linspace(20, 230, count).astype(np.uint8)
    return np.broadcast_to(level[:, None, None, None], (count, height, width, 3)).copy()


def read_video(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        context = stream.codec_context
        return np.stack(frames), context.name, context.pix_fmt, stream.average_rate


def events(logdir):
    found = EventAccumulator(str(logdir), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    return found.Reload()


def test_scalars_are_one_json_object_a_line_and_points_in_tensorboard(tmp_path):
    with Logger(tmp_path / "run") as logger:
        logger.scalars(10, {"loss": np.float32(0.5), "return": np.array([3])})
        logger.scalars(20, {"loss": 0.25})
    rows = read_metrics(tmp_path / "run")
    assert [{k: v for k, v in row.items() if k != "time"} for row in rows] == [
        {"step": 10, "loss": 0.5, "return": 3.0},
        {"step": 20, "loss": 0.25},
    ]
    assert rows[0]["time"] <= rows[1]["time"]
    points = events(tmp_path / "run").Scalars("loss")
    assert [(p.step, p.value) for p in points] == [(10, 0.5), (20, 0.25)]


def test_a_line_is_on_disk_as_soon_as_it_is_logged(tmp_path):
    with Logger(tmp_path) as logger:
        logger.scalars(1, {"loss": 1.0})
        assert len(read_metrics(tmp_path)) == 1


def test_what_is_not_finite_is_null_since_json_has_no_nan(tmp_path):
    with Logger(tmp_path) as logger:
        logger.scalars(1, {"a": math.nan, "b": -math.inf, "c": 1})

    def refuse(name):
        raise AssertionError(name)

    line = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    assert (line["a"], line["b"], line["c"]) == (None, None, 1.0)


def test_a_name_of_the_logger_is_refused(tmp_path):
    with Logger(tmp_path) as logger, pytest.raises(ValueError, match="'step' is reserved"):
        logger.scalars(1, {"step": 3})
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_a_last_line_cut_by_a_kill_is_passed_over_and_repaired(tmp_path, cut):
    with Logger(tmp_path) as logger:
        for step in (1, 2):
            logger.scalars(step, {"loss": 0.5})
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert [row["step"] for row in read_metrics(tmp_path)] == [1]
    with Logger(tmp_path) as logger:
        logger.scalars(3, {"loss": 0.5})
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 3]


def test_a_broken_line_elsewhere_is_an_error_that_names_it(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nnothing\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2 is not JSON"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("line", ["[1, 2]", '{"loss": 2}', '{"step": 2, "loss": "x"}', "3"])
def test_a_line_that_no_logger_writes_is_an_error_that_names_it(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, "loss": null}}\n{line}\n')
    with pytest.raises(
        ValueError, match=r"metrics.jsonl, line 2 is no mapping of names to numbers"
    ):
        read_metrics(tmp_path)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 47), (2, 100)])
def test_a_film_plays_with_the_right_frames_size_and_rate(tmp_path, height, width):
    frames = make_frames(9, height, width)
    write_video(tmp_path / "films" / "film.mp4", frames, 12.5)
    seen, codec, pixels, rate = read_video(tmp_path / "films" / "film.mp4")
    assert seen.shape == (9, height + height % 2, width + width % 2, 3)
    assert (codec, pixels, float(rate)) == ("h264", "yuv420p", 12.5)
    error = np.abs(seen[:, :height, :width].astype(int) - frames)
    assert error.mean() < 4
    assert [path.name for path in (tmp_path / "films").iterdir()] == ["film.mp4"]


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((0, 8, 8, 3), np.uint8),
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((2, 8, 8, 3), np.float32),
    ],
)
def test_what_is_no_film_is_refused(tmp_path, frames):
    with pytest.raises(ValueError, match=r"'film.mp4' .* need \[T, H, W, 3\] and uint8"):
        write_video(tmp_path / "film.mp4", frames, 10)
    with pytest.raises(ValueError, match="fps is 0"):
        write_video(tmp_path / "film.mp4", make_frames(2, 8, 8), 0)
    assert not list(tmp_path.iterdir())


def test_a_logged_film_is_an_mp4_and_an_animated_gif_in_tensorboard(tmp_path):
    frames = make_frames(6, 32, 48)
    with Logger(tmp_path) as logger:
        path = logger.video(7, "eval/rgb", frames, 10)
    assert path == tmp_path / "videos" / "eval-rgb-0000000007.mp4"
    assert len(read_video(path)[0]) == 6
    (event,) = events(tmp_path).Images("eval/rgb")
    assert (event.step, event.width, event.height) == (7, 48, 32)
    gif = Image.open(io.BytesIO(event.encoded_image_string))
    assert (gif.format, gif.n_frames, gif.size) == ("GIF", 6, (48, 32))
    assert gif.info["duration"] == 100


def test_a_long_film_is_whole_as_mp4_and_has_every_third_frame_in_tensorboard(tmp_path):
    frames = make_frames(130, 16, 16)
    with Logger(tmp_path) as logger:
        path = logger.video(7, "film", frames, 10)
    assert len(read_video(path)[0]) == 130
    (event,) = events(tmp_path).Images("film")
    gif = Image.open(io.BytesIO(event.encoded_image_string))
    assert (gif.n_frames, gif.info["duration"]) == (44, 300)


def test_wandb_has_what_metrics_jsonl_has_and_goes_on_after_a_restart(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for first in (10, 30):
        with Logger(tmp_path, "wandb") as logger:
            logger.scalars(first, {"loss": 0.5, "return": first})
            logger.scalars(first + 10, {"loss": math.nan})
            if first == 10:
                logger.video(10, "evaluation", make_frames(3, 16, 16))
    records = [r for path in sorted(tmp_path.glob("wandb/offline-*/*.wandb")) for r in told(path)]
    names = {r.run.run_id for r in records if r.WhichOneof("record_type") == "run"}
    assert names == {(tmp_path / "wandb" / "id").read_text()}
    history = [r.history.item for r in records if r.WhichOneof("record_type") == "history"]
    sent = [{"/".join(i.nested_key): json.loads(i.value_json) for i in row} for row in history]
    films = [row["step"] for row in sent if row.pop("evaluation/_type", None) == "video-file"]
    assert films == [10]
    rows = [row for row in read_metrics(tmp_path) if row.pop("time")]
    assert len(rows) == 4
    for row, other in zip(rows, [row for row in sent if "evaluation/path" not in row], strict=True):
        other = {name: x for name, x in other.items() if not name.startswith("_")}
        assert {n: None if math.isnan(x) else x for n, x in other.items()} == row


def told(path):
    """The records of a .wandb file: a log of LevelDB's format after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    deadline = time.monotonic() + 20
    # Its process writes the end after the run has ended here.
    while not (records := parsed(path.read_bytes(), Record)) or not records[-1].HasField("exit"):
        assert time.monotonic() < deadline, f"{path} has no end"
        time.sleep(0.05)
    return records


def parsed(content, kind_of_record):
    """Whole records, each from the parts of it that fit into blocks."""
    place, block, records, part = 7, 32768, [], b""
    while place + 7 <= len(content):
        if block - place % block < 7:  # no header fits into the rest of a block
            place += block - place % block
            continue
        _, size, kind = struct.unpack("<IHB", content[place : place + 7])
        part += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or its last part
            records.append(kind_of_record.FromString(part))
            part = b""
    return records


def test_wandb_that_is_not_installed_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"--logger wandb needs .* pip install wandb, or leave"):
        Logger(tmp_path, "wandb")


def test_a_full_disk_is_an_error_at_once_and_hides_no_other(tmp_path):
    with open("/dev/full", "wb", buffering=0) as full:
        with pytest.raises(KeyError, match="first"), Logger(tmp_path) as logger:
            events = logger._events._py_recordio_writer
            events._writer.close()
            events._writer = full
            for _ in range(2):
                with pytest.raises(OSError, match="No space left on device") as caught:
                    logger.scalars(1, {"loss": 1.0})
                assert caught.value.filename == str(tmp_path)
            raise KeyError("first")
        logger.close()
    assert [row["loss"] for row in read_metrics(tmp_path)] == [1.0, 1.0]
