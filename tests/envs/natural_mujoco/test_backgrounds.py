"""Backgrounds: natural statistics, motion, separate clips for evaluation, and the user's files."""

import shutil

import imageio.v3 as iio
import numpy as np
import pytest

from envs.natural_mujoco import footage
from envs.natural_mujoco.backgrounds import make_background

SIZE = 64


def clip(background, length=20):
    background.new_clip()
    return np.stack([background.frame() for _ in range(length)])


def natural(seed=0, training=True, size=SIZE):
    return make_background("natural", size, seed, training)


def spectrum_slope(frames: np.ndarray) -> float:
    """Slope of log power over log frequency, averaged over orientations and frames."""
    window = np.hanning(SIZE)[:, None] * np.hanning(SIZE)
    grey = frames.mean(-1)
    grey = (grey - grey.mean((1, 2), keepdims=True)) * window
    power = (abs(np.fft.fft2(grey)) ** 2).mean(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE)))
    band = (frequency > 3 / SIZE) & (frequency < 0.4)
    return np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0]


def test_power_falls_as_in_natural_images():
    background = natural()
    slopes = [spectrum_slope(clip(background, 3)) for _ in range(12)]
    assert -3.2 < np.mean(slopes) < -1.5  # natural images: about -2
    assert max(slopes) < -1


@pytest.mark.parametrize("size", [32, 64, 84])
def test_frames_are_pictures_of_the_size(size):
    frames = clip(natural(size=size))
    assert frames.shape == (20, size, size, 3) and frames.dtype == np.uint8
    assert frames.std() > 10


def test_neighbouring_frames_differ_less_than_distant_ones():
    background = natural()
    for _ in range(6):
        frames = clip(background, 40).astype(float)
        near = abs(frames[1:] - frames[:-1]).mean()
        far = abs(frames[30:] - frames[:10]).mean()
        assert 0 < near < far


def test_clips_follow_from_the_seed():
    same, again, other = natural(3), natural([3]), natural(4)
    for _ in range(3):
        frames = clip(same)
        np.testing.assert_array_equal(frames, clip(again))
        assert (frames != clip(other)).any()


def test_evaluation_never_sees_a_training_clip():
    for make in (natural, lambda seed, training: natural([0, seed], training)):
        training = [clip(make(seed, True), 1) for seed in range(8)]
        evaluation = [clip(make(seed, False), 1) for seed in range(8)]
        nearest = min(
            abs(one.astype(int) - other).mean() for one in training for other in evaluation
        )
        assert nearest > 10


def test_motion_goes_on_after_very_many_frames():
    background = natural(1)
    background.new_clip()
    background._time = 10**7
    assert (background.frame() != background.frame()).any()


def stripes(length, hue, height=48, width=80):
    x = np.broadcast_to(np.arange(width), (length, height, width))
    shift = 5 * np.arange(length)[:, None, None]
    frames = np.stack([(3 * x + shift) % 256, np.full_like(x, hue), np.full_like(x, 40)], -1)
    return frames.astype(np.uint8)


def write(path, frames):
    if path.suffix in footage.PICTURES:
        iio.imwrite(path, frames[0])
    elif path.suffix == ".gif":
        iio.imwrite(path, frames, duration=40)
    else:
        codec = "libvpx" if path.suffix in (".webm", ".ogv") else "libx264"
        iio.imwrite(path, frames, plugin="pyav", codec=codec, fps=25)


@pytest.mark.parametrize("suffix", [*footage.VIDEOS, *footage.PICTURES])
def test_every_format_is_read(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    write(path, stripes(20, hue=200))
    frames = clip(make_background(str(path), SIZE, 0, True), 40)
    assert frames.shape == (40, SIZE, SIZE, 3) and frames.dtype == np.uint8
    assert abs(frames[..., 1].mean() - 200) < 15
    assert (suffix in footage.VIDEOS) == bool((frames[1:] != frames[:-1]).any())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    (folder / "below").mkdir()
    for i, name in enumerate(("a.mp4", "b.gif", "c.png", "below/d.avi", "below/e.jpg")):
        write(folder / name, stripes(12, hue=50 * i))
    (folder / ".hidden").write_text("not a picture")
    return folder


@pytest.fixture
def folder(written, tmp_path):
    """That folder, as the test's own."""
    return shutil.copytree(written, tmp_path / "clips")


def test_what_is_left_out_of_a_folder_is_counted(folder):
    for name in ("notes.txt", "below/more.txt", "labels.csv", "README"):
        (folder / name).write_text("not a picture")
    with pytest.warns(UserWarning, match=r"4 of 9 files .* left out \(\.csv, \.txt, README\)"):
        make_background(str(folder), SIZE, 0, True)


def hues(background, clips=25):
    return {round(clip(background, 1)[..., 1].mean() / 50) for _ in range(clips)}


def test_files_are_either_for_training_or_for_evaluation(folder):
    training = hues(make_background(str(folder), SIZE, 0, True))
    evaluation = hues(make_background(str(folder), SIZE, 1, False))
    assert len(training) == 4 and len(evaluation) == 1
    assert not training & evaluation


def test_a_single_video_is_split_in_time(tmp_path):
    frames = np.broadcast_to(
        np.arange(0, 250, 5, dtype=np.uint8)[:, None, None, None], (50, 48, 48, 3)
    )
    write(tmp_path / "one.avi", frames)
    source = str(tmp_path / "one.avi")
    training = clip(make_background(source, 16, 0, True), 200)
    evaluation = clip(make_background(source, 16, 0, False), 200)
    assert training.max() < evaluation.min()


def test_clips_run_forward_and_backward(tmp_path):
    write(tmp_path / "one.gif", stripes(12, hue=9))
    frames = clip(make_background(str(tmp_path / "one.gif"), 16, 0, True), 18 * 2)
    assert len(np.unique(frames, axis=0)) == 10  # of twelve, the rest is for evaluation
    np.testing.assert_array_equal(frames[:18], frames[18:])


def test_long_videos_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(footage, "CLIP_SECONDS", 0.2)
    write(tmp_path / "long.mp4", stripes(50, hue=9))
    background = make_background(str(tmp_path), SIZE, 0, True)
    starts = {clip(background, 10).tobytes() for _ in range(30)}
    assert len(starts) > 8


def test_decoded_clips_are_kept_within_the_bound(folder, monkeypatch):
    background = make_background(str(folder), SIZE, 0, True)
    monkeypatch.setattr(footage, "CACHE_BYTES", 1)
    for _ in range(10):
        clip(background)
        assert len(background._cache) == 1


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 99])
@pytest.mark.parametrize("name", ["bad.mp4", "bad.png", "bad.gif"])
def test_an_unreadable_file_is_refused_by_name(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        make_background(str(folder), SIZE, 0, True)


def test_a_film_whose_texts_are_none_plays_all_the_same(tmp_path):
    path = tmp_path / "film.mp4"
    iio.imwrite(path, np.zeros((50, 32, 32, 3), np.uint8), fps=25, codec="libx264")
    content = path.read_bytes()
    assert content.count(b"VideoHandler") == 1
    path.write_bytes(content.replace(b"VideoHandler", b"\xffideoHandler"))
    assert clip(make_background(str(path), 8, 0, True)).shape == (20, 8, 8, 3)


def test_a_film_that_lasts_for_years_is_refused_at_once(tmp_path):
    path = tmp_path / "film.avi"
    iio.imwrite(path, np.zeros((50, 32, 32, 3), np.uint8), fps=25, codec="libx264")
    content = bytearray(path.read_bytes())
    # dwScale and dwRate of the stream's header: a frame takes 10,000 s.
    at = content.index(b"strh") + 28
    content[at : at + 8] = (10_000).to_bytes(4, "little") + (1).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"film.avi' says that it lasts .* s, which is not"):
        make_background(str(path), 8, 0, True)


def test_a_truncated_film_plays_what_is_there_with_a_warning(tmp_path):
    path, random = tmp_path / "film.avi", np.random.default_rng(0)
    film = random.integers(0, 256, (100, 32, 32, 3), np.uint8)
    iio.imwrite(path, film, fps=25, codec="libx264")
    assert clip(make_background(str(path), 8, 0, True)).any()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match=r"film.avi' is truncated: it ends at .* of 4.0 s"):
        assert clip(make_background(str(path), 8, 0, True)).any()


def test_a_source_with_nothing_in_it_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no file that ends in \.mp4"):
        make_background(str(tmp_path), SIZE, 0, True)
    with pytest.raises(ValueError, match="'naturel' is neither 'none', 'natural'"):
        make_background("naturel", SIZE, 0, True)


def test_a_file_that_is_lost_later_is_left_out(folder):
    background = make_background(str(folder), SIZE, 0, True)
    for path in folder.rglob("*.*"):
        if path.suffix != ".png":
            path.write_bytes(b"lost")
    with pytest.warns(UserWarning, match="going on without it"):
        assert hues(background) == {2}
