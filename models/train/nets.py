"""The six architectures, each written once, and their meaning in jax.

Relies on: nothing but jax. Promises: `NETS` is the only place that lists layers; training, export and
checks all read it. Images are NHWC inside; `Flatten` emits the NCHW order that the ONNX file has.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

BN_EPSILON = 1e-5


@dataclass(frozen=True)
class Conv:
    name: str
    maps: int
    kernel: int
    stride: int
    pad: int


@dataclass(frozen=True)
class Dense:
    name: str
    units: int


@dataclass(frozen=True)
class BatchNorm:
    name: str


@dataclass(frozen=True)
class Square:
    name: str


@dataclass(frozen=True)
class Relu:
    name: str


@dataclass(frozen=True)
class AvgPool:
    """Windows of 2x2, stride 2."""

    name: str


@dataclass(frozen=True)
class Flatten:
    name: str


# The last layer's tensor is called `logits`; every other tensor has its layer's name.
NETS = {
    "lola": [
        Conv("conv1", 5, 2, 2, 0), BatchNorm("bn1"), Square("act1"), Flatten("flat"),
        Dense("fc1", 100), BatchNorm("bn2"), Square("act2"),
        Dense("fc2", 10),
    ],
    "mlp": [
        Flatten("flat"),
        Dense("fc1", 128), BatchNorm("bn1"), Square("act1"),
        Dense("fc2", 128), BatchNorm("bn2"), Square("act2"),
        Dense("fc3", 10),
    ],
    "cryptonets": [
        Conv("conv1", 5, 5, 2, 1), BatchNorm("bn1"), Square("act1"), Flatten("flat"),
        Dense("fc1", 100), BatchNorm("bn2"), Square("act2"),
        Dense("fc2", 10),
    ],
    "lenet1": [
        Conv("conv1", 4, 5, 1, 0), AvgPool("pool1"),
        Conv("conv2", 12, 5, 1, 0), BatchNorm("bn1"), Square("act1"), AvgPool("pool2"), Flatten("flat"),
        Dense("fc1", 10),
    ],
    "lenet": [
        Conv("conv1", 32, 5, 2, 2), BatchNorm("bn1"), Square("act1"),
        Conv("conv2", 64, 5, 2, 2), BatchNorm("bn2"), Square("act2"), Flatten("flat"),
        Dense("fc1", 512), BatchNorm("bn3"), Square("act3"),
        Dense("fc2", 10),
    ],
    "lenet5-relu": [
        Conv("conv1", 6, 5, 1, 2), Relu("act1"), AvgPool("pool1"),
        Conv("conv2", 16, 5, 1, 0), Relu("act2"), AvgPool("pool2"), Flatten("flat"),
        Dense("fc1", 120), Relu("act3"),
        Dense("fc2", 84), Relu("act4"),
        Dense("fc3", 10),
    ],
}


def tensor_name(net, layer):
    """The name of the tensor that `layer` produces."""
    return "logits" if layer is net[-1] else layer.name


def init(net, key):
    """Fresh weights: {layer name: {"w", "b"} or {"gamma", "beta"}}.

    Conv weights are [kernel * kernel * in, maps] (rows in window order, channel last), dense [in, units].
    """
    params, shape = {}, (28, 28, 1)
    for layer in net:
        key, sub = jax.random.split(key)
        match layer:
            case Conv(name, maps, kernel, stride, pad):
                fan = kernel * kernel * shape[2]
                params[name] = _affine(sub, fan, maps)
                side = (shape[0] + 2 * pad - kernel) // stride + 1
                shape = (side, side, maps)
            case Dense(name, units):
                params[name] = _affine(sub, shape[0], units)
                shape = (units,)
            case BatchNorm(name):
                params[name] = {"gamma": jnp.ones(shape[-1]), "beta": jnp.zeros(shape[-1])}
            case AvgPool():
                shape = (shape[0] // 2, shape[1] // 2, shape[2])
            case Flatten():
                shape = (shape[0] * shape[1] * shape[2],)
    return params


def _affine(key, fan, units):
    scale = (2 / fan) ** 0.5
    return {"w": jax.random.normal(key, (fan, units)) * scale, "b": jnp.zeros(units)}


def forward(net, params, x, stats=None, activation=None):
    """All tensors of one pass over x [n, 28, 28, 1] in [0, 1], by name, and the batch statistics used.

    `stats` {bn name: (mean, var)} are used where given, else those of this batch. `activation(name, x)`, where given,
    replaces the activations.
    """
    tensors, used = {}, {}
    for layer in net:
        match layer:
            case Conv(name, _, kernel, stride, pad):
                p = params[name]
                x = _convolve(x, p["w"], kernel, stride, pad) + p["b"]
            case Dense(name):
                x = x @ params[name]["w"] + params[name]["b"]
            case BatchNorm(name):
                if stats is not None and name in stats:
                    mean, var = stats[name]
                else:
                    axes = tuple(range(x.ndim - 1))
                    mean, var = x.mean(axes), x.var(axes)
                used[name] = (mean, var)
                p = params[name]
                x = (x - mean) * (p["gamma"] / jnp.sqrt(var + BN_EPSILON)) + p["beta"]
            case (Square() | Relu()) if activation is not None:
                x = activation(layer.name, x)
            case Square():
                x = x * x
            case Relu():
                x = jnp.maximum(x, 0)
            case AvgPool():
                n, h, w, c = x.shape
                x = x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
            case Flatten():
                x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        tensors[tensor_name(net, layer)] = x
    return tensors, used


def _convolve(x, w, kernel, stride, pad):
    """x [n, h, w, c] by w [kernel * kernel * c, maps]."""
    w = jnp.reshape(w, (kernel, kernel, x.shape[-1], -1))
    return jax.lax.conv_general_dilated(
        x, w, (stride, stride), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def activation_inputs(net):
    """{activation name: name of the tensor it reads}, in order."""
    pairs = zip(net, net[1:])
    return {b.name: a.name for a, b in pairs if isinstance(b, (Square, Relu))}
