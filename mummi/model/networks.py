"""Small networks: convolutions as matrix products, encoders and decoders, MLP, GRU."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from mummi.modality import Modality


@jax.custom_vjp
def elu(x: Array) -> Array:
    """x where positive, exp(x) - 1 elsewhere, of any shape.

    Its gradient is exp(x) = elu(x) + 1 there, so the backward pass needs no exponential: on CPU
    XLA would compute each anew, one at a time, inside whatever the gradient is fused with.
    """
    return jnp.maximum(x, 0.0) + (jnp.exp(jnp.minimum(x, 0.0)) - 1.0)


def _elu_forward(x):
    y = elu(x)
    return y, y


def _elu_backward(y, gradient):
    return (gradient * jnp.minimum(y + 1.0, 1.0),)


elu.defvjp(_elu_forward, _elu_backward)

ACTIVATIONS = {"relu": nn.relu, "elu": elu, "silu": nn.silu}


def convolution(x: Float[Array, "N H W C"], kernel: Float[Array, "K K C F"], stride: int) -> Array:
    """Strided convolution without padding, [N, H', W', F], by the library."""
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def convolution_as_product(
    x: Float[Array, "N H W C"], kernel: Float[Array, "K K C F"], stride: int
) -> Array:
    """The same convolution as space-to-depth, shifted slices and one matrix product.

    XLA's convolution gradients on CPU are slow by more than ten times. ``stride`` must divide K.
    """
    size, _, channels, features = kernel.shape
    if size % stride:
        raise ValueError(f"stride {stride} must divide the kernel size {size}")
    shifts = size // stride
    height = (x.shape[1] - size) // stride + 1
    width = (x.shape[2] - size) // stride + 1
    rows, columns = height + shifts - 1, width + shifts - 1
    x = x[:, : rows * stride, : columns * stride]
    x = x.reshape(len(x), rows, stride, columns, stride, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(len(x), rows, columns, -1)
    slices = [x[:, i : i + height, j : j + width] for i in range(shifts) for j in range(shifts)]
    patches = jnp.concatenate(slices, -1) if len(slices) > 1 else slices[0]
    # The smaller of the two is brought into the other's order: for one image, the patches.
    if patches.size < kernel.size:
        lead = patches.shape[:-1]
        patches = patches.reshape(-1, shifts, shifts, stride, stride, channels)
        patches = patches.swapaxes(2, 3).reshape(*lead, -1)
    else:
        kernel = kernel.reshape(shifts, stride, shifts, stride, channels, features)
        kernel = kernel.swapaxes(1, 2)
    return patches @ kernel.reshape(-1, features)


def transposed_convolution(
    x: Float[Array, "N H W C"], kernel: Float[Array, "K K C F"], stride: int
) -> Array:
    """Each x[i] adds x[i] @ kernel to a window at i * stride, [N, (H-1)*stride+K, .., F]."""
    return jax.lax.conv_transpose(
        x, kernel[::-1, ::-1], (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def transposed_convolution_as_product(
    x: Float[Array, "N H W C"], kernel: Float[Array, "K K C F"], stride: int
) -> Array:
    """The same as one matrix product, shifted sums and depth-to-space."""
    number, height, width, channels = x.shape
    size, features = kernel.shape[0], kernel.shape[-1]
    shifts = -(-size // stride)
    fill = shifts * stride - size
    kernel = jnp.pad(kernel, ((0, fill), (0, fill), (0, 0), (0, 0)))
    kernel = kernel.reshape(shifts, stride, shifts, stride, channels, features)
    kernel = kernel.transpose(4, 0, 2, 1, 3, 5).reshape(channels, -1)
    parts = (x @ kernel).reshape(number, height, width, shifts, shifts, -1)
    rows, columns = height + shifts - 1, width + shifts - 1

    def shifted(i, j):
        margins = ((0, 0), (i, shifts - 1 - i), (j, shifts - 1 - j), (0, 0))
        return jnp.pad(parts[:, :, :, i, j], margins)

    total = sum(shifted(i, j) for i in range(shifts) for j in range(shifts))
    total = total.reshape(number, rows, columns, stride, stride, features)
    total = total.transpose(0, 1, 3, 2, 4, 5).reshape(number, rows * stride, columns * stride, -1)
    return total[:, : (height - 1) * stride + size, : (width - 1) * stride + size]


class _Convolution(nn.Module):
    features: int
    kernel_size: int
    stride: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x):
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        form = self.form(jax.default_backend() == "cpu")
        x = form(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)
        return x + bias.astype(self.dtype)


class Conv(_Convolution):
    """Convolution layer that takes the faster of the two equal forms on this backend."""

    def form(self, cpu: bool):
        """The function that computes it."""
        product = cpu and self.kernel_size % self.stride == 0
        return convolution_as_product if product else convolution


class ConvTranspose(_Convolution):
    """Transposed convolution that takes the faster of the two equal forms on this backend."""

    def form(self, cpu: bool):
        """The function that computes it."""
        return transposed_convolution_as_product if cpu else transposed_convolution


def hidden_layer(x, units: int, activation: str, norm: bool, dtype: DTypeLike) -> Array:
    """A linear map to ``units``, RMSNorm where ``norm``, and an activation, inside a module."""
    x = nn.Dense(units, dtype=dtype)(x)
    if norm:
        x = nn.RMSNorm(dtype=dtype)(x)
    return ACTIVATIONS[activation](x)


class Layers(nn.Module):
    """One hidden layer after another, of ``units`` each; the last computes in ``last_dtype``."""

    units: Sequence[int]
    activation: str = "elu"
    norm: bool = False
    dtype: DTypeLike = jnp.float32
    last_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x):
        for units in self.units[:-1]:
            x = hidden_layer(x, units, self.activation, self.norm, self.dtype)
        last = self.last_dtype or self.dtype
        return hidden_layer(x, self.units[-1], self.activation, self.norm, last)


class MLP(nn.Module):
    """Hidden layers of equal activation, and a linear output of ``outputs`` units.

    ``layers`` 0 is a linear map. The output layer computes in float32 whatever ``dtype`` the hidden
    layers compute in: bfloat16 has 8 bits, so that near 150 its values are 1.0 apart.
    """

    layers: int
    units: int
    outputs: int
    activation: str = "elu"
    norm: bool = False
    dtype: DTypeLike = jnp.float32
    output_scale: float = 1.0

    @nn.compact
    def __call__(self, x):
        for _ in range(self.layers):
            x = hidden_layer(x, self.units, self.activation, self.norm, self.dtype)
        init = nn.initializers.variance_scaling(
            max(self.output_scale, 1e-8), "fan_in", "truncated_normal"
        )
        return nn.Dense(self.outputs, dtype=jnp.float32, kernel_init=init)(x)


@jax.custom_vjp
def gated(reset: Array, update: Array, new: Array, old: Array, state: Array) -> Array:
    """The next state of a GRU, from what its products give for each gate, all [..., D].

    Five arrays are kept for the gradient where XLA would keep nine.
    """
    return _gated_forward(reset, update, new, old, state)[0]


def _gated_forward(reset, update, new, old, state):
    r, z = nn.sigmoid(reset), nn.sigmoid(update)
    n = jnp.tanh(new + r * old)
    return n + z * (state - n), (r, z, n, old, state)


def _gated_backward(kept, gradient):
    r, z, n, old, state = kept
    to_new = gradient * (1.0 - z) * (1.0 - jnp.square(n))
    to_reset = to_new * old * r * (1.0 - r)
    to_update = gradient * (state - n) * z * (1.0 - z)
    inputs = (to_reset, to_update, to_new, to_new * r)
    return *(x.astype(old.dtype) for x in inputs), gradient * z


gated.defvjp(_gated_forward, _gated_backward)


class GRU(nn.Module):
    """Gated recurrent unit (Cho et al., 2014) as in ``flax.linen.GRUCell``, all gates at once.

    Two matrix products a step where one for each gate would make six. The state stays float32
    whatever ``dtype`` the products compute in.
    """

    units: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, state: Float[Array, "*batch D"], x: Float[Array, "*batch X"]):
        """The next state [..., D]."""
        layer = {"features": 3 * self.units, "dtype": self.dtype}
        old = nn.Dense(**layer, use_bias=False, kernel_init=_orthogonal_gates, name="state")(state)
        new = nn.Dense(**layer, name="input")(x)
        bias = self.param("bias", nn.initializers.zeros, (self.units,)).astype(self.dtype)
        (old_r, old_z, old_n), (new_r, new_z, new_n) = (jnp.split(y, 3, -1) for y in (old, new))
        return gated(old_r + new_r, old_z + new_z, new_n, old_n + bias, state)


def _orthogonal_gates(key: Array, shape: tuple[int, int], dtype) -> Array:
    """A kernel [D, 3 D] whose part of each gate is orthogonal."""
    size = shape[0]
    gates = [nn.initializers.orthogonal()(k, (size, size), dtype) for k in jax.random.split(key, 3)]
    return jnp.concatenate(gates, 1)


class ImageEncoder(nn.Module):
    """Convolutions over an image or depth map in [-1, 1], flattened: [N, H, W, C] -> [N, F]."""

    widths: Sequence[int]
    kernels: Sequence[int]
    strides: Sequence[int]
    activation: str
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x):
        layers = zip(self.widths, self.kernels, self.strides, strict=True)
        for index, (width, kernel, stride) in enumerate(layers):
            if min(x.shape[1:3]) < kernel:
                raise ValueError(
                    f"image of {x.shape[1]}x{x.shape[2]} at layer {index} is smaller than the "
                    f"kernel {kernel}: use a larger --image-size or fewer --model.image-widths"
                )
            x = ACTIVATIONS[self.activation](Conv(width, kernel, stride, self.dtype)(x))
        return x.reshape(len(x), -1)


class VectorEncoder(nn.Module):
    """Dense layers over a vector or embedding: [N, D] -> [N, F]."""

    widths: Sequence[int]
    activation: str
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x):
        for width in self.widths:
            x = ACTIVATIONS[self.activation](nn.Dense(width, dtype=self.dtype)(x))
        return x


class ImageDecoder(nn.Module):
    """Transposed convolutions from features [N, F] to an image or depth map [N, *shape].

    The first map is as small as the strides allow; what the last exceeds ``shape`` by is cut off.
    The last layer computes in float32 whatever ``dtype`` the others compute in.
    """

    shape: Sequence[int]
    widths: Sequence[int]
    kernels: Sequence[int]
    strides: Sequence[int]
    activation: str
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x):
        height, width, channels = self.shape
        layers = list(zip(self.kernels, self.strides, strict=True))
        rows, columns = height, width
        for kernel, stride in reversed(layers):
            rows, columns = (max(0, -(-(n - kernel) // stride)) + 1 for n in (rows, columns))
        first, *widths = self.widths
        x = nn.Dense(rows * columns * first, dtype=self.dtype)(x)
        x = x.reshape(len(x), rows, columns, first)
        for index, features in enumerate(widths):
            x = ConvTranspose(features, *layers[index], self.dtype)(x)
            x = ACTIVATIONS[self.activation](x)
        x = ConvTranspose(channels, *layers[-1], jnp.float32)(x)
        return x[:, :height, :width]


def preprocess(modality: Modality, value: Array) -> Array:
    """A value as float32: images as [-0.5, 0.5], the rest as it is."""
    if modality.kind == "image":
        return value.astype(jnp.float32) / 255.0 - 0.5
    return value.astype(jnp.float32)


def silhouette(depth: Float[Array, "*batch H W 1"]) -> Float[Array, "*batch H W 2"]:
    """A depth map in two channels: whether something is there, and how far away it is.

    At the far end, 1, nothing is there and both channels are 0; elsewhere they are 1 and
    5 (depth - 1/2). A linear map of a patch can then tell a body's outline from its distance.
    """
    there = depth < 1.0
    return jnp.concatenate([there.astype(depth.dtype), jnp.where(there, 5 * depth - 2.5, 0.0)], -1)
