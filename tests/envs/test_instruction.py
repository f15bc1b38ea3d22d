"""Instructions as vectors: the published similarities, and CLIP's interface on a tiny model."""

import numpy as np
import pytest

from envs import instruction
from envs.instruction import Clip, embed
from tests.support.libero_here import needs_encoder

pytestmark = needs_encoder


def test_similarities_are_those_that_its_authors_print():
    """The example of sentence-transformers' documentation for all-MiniLM-L6-v2."""
    sentences = (
        "The weather is lovely today.",
        "It's so sunny outside!",
        "He drove to the stadium.",
    )
    vectors = embed(sentences)
    assert vectors.shape == (3, 384) and vectors.dtype == np.float32
    expected = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=1e-4)


def test_sentences_do_not_influence_one_another_and_are_not_to_be_changed():
    both = embed(("turn on the stove", "put the bowl on the plate"))
    np.testing.assert_allclose(both[1:], embed(("put the bowl on the plate",)), atol=1e-6)
    with pytest.raises(ValueError, match="read-only"):
        both[0] = 0


@pytest.fixture
def folder(tmp_path):
    """An encoder whose text vector is (sum of the tokens, 1, 0), and whose image vector is the
    mean of each colour of its normalised pixels."""
    from onnx import TensorProto, checker, helper, save
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"open": 1, "the": 2, "drawer": 4, "?": 0}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (tmp_path / "onnx").mkdir()
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    def write(name, nodes, inputs, outputs, constants=()):
        graph = helper.make_graph(nodes, name, inputs, outputs, list(constants))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        checker.check_model(model)
        save(model, tmp_path / "onnx" / f"{name}.onnx")

    node, info = helper.make_node, helper.make_tensor_value_info
    write(
        "text_model",
        [
            node("Cast", ["input_ids"], ["x"], to=TensorProto.FLOAT),
            node("ReduceSum", ["x", "axes"], ["total"], keepdims=1),
            node("Mul", ["total", "unit"], ["scaled"]),
            node("Add", ["scaled", "shift"], ["text_embeds"]),
        ],
        [info("input_ids", TensorProto.INT64, ["n", "t"])],
        [info("text_embeds", TensorProto.FLOAT, ["n", 3])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
            helper.make_tensor("unit", TensorProto.FLOAT, [1, 3], [1, 0, 0]),
            helper.make_tensor("shift", TensorProto.FLOAT, [1, 3], [0, 1, 0]),
        ],
    )
    write(
        "vision_model",
        [node("ReduceMean", ["pixel_values"], ["image_embeds"], axes=[2, 3], keepdims=0)],
        [info("pixel_values", TensorProto.FLOAT, ["n", 3, 224, 224])],
        [info("image_embeds", TensorProto.FLOAT, ["n", 3])],
    )
    return tmp_path


def test_clip_gives_unit_vectors_of_texts(folder):
    vectors = embed(("open the drawer", "the"), str(folder))
    expected = np.array([[7, 1, 0], [2, 1, 0]]) / np.sqrt([[50], [5]])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert vectors.dtype == np.float32


def test_clip_gives_unit_vectors_of_the_normalised_centres_of_pictures(folder):
    picture = np.zeros((60, 120, 3), np.uint8)
    picture[:, 30:90] = (200, 100, 50)  # the centre, which is all that CLIP sees
    picture[:, :20] = picture[:, -20:] = 255
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), (0.26862954, 0.26130258, 0.27577711)
    expected = (np.array([200, 100, 50]) / 255 - mean) / std
    (vector,) = Clip(str(folder)).images([picture])
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=0.02)


def test_the_hub_is_asked_for_the_documented_files(folder, monkeypatch):
    asked = []

    class Hub:
        @staticmethod
        def hf_hub_download(repository, name):
            asked.append((repository, name))
            return str(folder / name)

    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", Hub)
    Clip("clip").texts(["open"])
    repository = "Xenova/clip-vit-base-patch32"
    assert asked == [(repository, "tokenizer.json"), (repository, "onnx/text_model.onnx")]


def test_what_is_no_encoder_is_refused(folder):
    with pytest.raises(ValueError, match="unknown encoder 'bert'; it is minilm, clip, or a folder"):
        embed(("open",), "bert")
    (folder / instruction.CLIP_FILES[1]).unlink()
    with pytest.raises(ValueError, match="lacks onnx"):
        embed(("open",), f"{folder}/")
