"""Latents from a file: those that would be encoded, and never those of something else."""

import dataclasses

import jax
import numpy as np
import pytest

from mummi.imitation import cache
from mummi.imitation.heads.head import Percept, Sizes
from mummi.imitation.latents import Latents, View, deliverable, trajectory
from mummi.modality import Modality

SENSORS = (Modality("near", "vector", (2,)), Modality("eye", "image", (2, 2, 3)))


@dataclasses.dataclass
class Settings:
    units: int = 3


class Model:
    modalities, config, perception = SENSORS, Settings(), object()


class Encoder(Latents):
    """Latents of a view by hand; counts how often it is asked."""

    def __init__(self, params: dict, model=Model):
        self.params, self.model, self.asked = params, model, 0
        self.sizes = Sizes(SENSORS, 2, {"near": 2, "eye": 1}, 1)

    def encode(self, views):
        self.asked += 1
        made = []
        for view in views:
            seen = deliverable(view, SENSORS)
            near = seen.values["near"] * self.params["w"]
            alone = {"near": near, "eye": seen.values["eye"].mean((1, 2, 3))[:, None]}
            made.append(trajectory(np.float32(near + 1), jax.tree.map(np.float32, alone), seen))
        return made


def view(steps: int, seed: int = 0) -> View:
    random = np.random.default_rng(seed)
    near = random.normal(size=(steps, 2)).astype(np.float32)
    near[0, 0] = np.nan  # which makes it unavailable
    eye = random.integers(0, 255, (steps, 2, 2, 3), np.uint8)
    action = random.normal(size=(steps, 1)).astype(np.float32)
    available = {"near": np.ones(steps, bool), "eye": np.arange(steps) % 2 == 0}
    return View({"near": near, "eye": eye}, available, action, action[:, 0], action + 1)


VIEWS = [view(4), view(3, 1), view(4)]
PARAMS = {"w": np.float32(2.0)}


def files(folder):
    return sorted((folder / cache.FOLDER).glob("*"))


def test_what_is_read_is_what_was_encoded(tmp_path, capsys):
    encoder = Encoder(PARAMS)
    made = cache.encode(encoder, VIEWS, tmp_path, 7)
    read = cache.encode(encoder, VIEWS, tmp_path, 7)
    assert encoder.asked == 1
    jax.tree.map(np.testing.assert_array_equal, made, read)
    assert isinstance(read[0].percept, Percept) and not read[0].percept.available["near"][0]
    assert read[0].percept.values["eye"] is VIEWS[0].values["eye"]
    (path,) = files(tmp_path)
    assert path.name.startswith("0000000007-") and path.suffix == ".npz"
    said = capsys.readouterr().out.splitlines()
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    assert said == [
        f"latents of 3 views: {path}, {size}, written for the next head",
        f"latents of 3 views: {path}, {size}, read",
    ]


def changed(**fields):
    return [VIEWS[0], VIEWS[1]._replace(**fields), VIEWS[2]]


OTHERS = {
    "a pixel": changed(values={**VIEWS[1].values, "eye": VIEWS[1].values["eye"] ^ np.uint8(1)}),
    "what is missing": changed(
        available={**VIEWS[1].available, "near": np.array([True, True, False])}
    ),
    "what was done": changed(actions=VIEWS[1].actions + 1e-6),
    "what was wanted": changed(wanted=VIEWS[1].wanted + 1e-6),
    "fewer copies": VIEWS[:2],
    "another order": [VIEWS[1], VIEWS[0], VIEWS[2]],
}


@pytest.mark.parametrize("views", OTHERS.values(), ids=OTHERS)
def test_latents_of_other_data_failures_or_copies_are_never_taken(views, tmp_path):
    encoder = Encoder(PARAMS)
    cache.encode(encoder, VIEWS, tmp_path, 7)
    found = cache.encode(encoder, views, tmp_path, 7)
    assert encoder.asked == 2 and len(files(tmp_path)) == 2
    jax.tree.map(np.testing.assert_array_equal, found, Encoder(PARAMS).encode(views))


def test_latents_of_another_world_model_or_step_are_never_taken(tmp_path):
    class Wider(Model):
        config = Settings(units=4)

    cache.encode(Encoder(PARAMS), VIEWS, tmp_path, 7)
    others = [Encoder({"w": np.float32(2.000001)}), Encoder({"v": np.float32(2), **PARAMS})]
    for number, encoder in enumerate([*others, Encoder(PARAMS, Wider)]):
        cache.encode(encoder, VIEWS, tmp_path, 7)
        assert encoder.asked == 1 and len(files(tmp_path)) == number + 2
    last = Encoder(PARAMS)
    cache.encode(last, VIEWS, tmp_path, 8)
    assert last.asked == 1


def test_a_damaged_file_is_made_anew(tmp_path, capsys):
    encoder = Encoder(PARAMS)
    made = cache.encode(encoder, VIEWS, tmp_path, 7)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    found = cache.encode(encoder, VIEWS, tmp_path, 7)
    jax.tree.map(np.testing.assert_array_equal, made, found)
    assert encoder.asked == 2 and path.read_bytes() == whole
    assert f"{path} is damaged" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_costs_only_the_file(tmp_path, capsys):
    (tmp_path / cache.FOLDER).write_text("in the way")
    assert len(cache.encode(Encoder(PARAMS), VIEWS, tmp_path, 7)) == 3
    assert "latents are not kept for the next head" in capsys.readouterr().out
