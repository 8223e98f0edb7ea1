"""MNIST from its IDX files, and the augmentation used in training.

Relies on: the four `.gz` files as distributed. Promises: images as uint8 [n, 28, 28, 1] (NHWC),
labels as int32 [n]; `augment` is a pure function of its key.
"""

import gzip
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

SIDE = 28


def read_idx(path):
    """The array in a gzipped IDX file of unsigned bytes."""
    raw = gzip.decompress(pathlib.Path(path).read_bytes())
    if raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path}: not an IDX file of unsigned bytes")
    rank = raw[3]
    shape = np.frombuffer(raw, ">u4", rank, 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load(folder, split):
    """Images and labels of `split`, which is "train" or "t10k"."""
    folder = pathlib.Path(folder)
    images = read_idx(folder / f"{split}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{split}-labels-idx1-ubyte.gz")
    return images[..., None], labels.astype(np.int32)


def augment(key, images, strength):
    """Rotates, scales, shears and shifts each image [n, 28, 28, 1] a little, with bilinear sampling.

    At strength 1: up to 10 degrees, 10 % in size, 10 % of shear, 2 pixels of shift.
    """
    n = images.shape[0]
    draw = jax.random.uniform(key, (6, n), minval=-1.0, maxval=1.0) * strength
    angle = draw[0] * (np.pi / 18)
    scale_y, scale_x = 1 + 0.1 * draw[1], 1 + 0.1 * draw[2]
    shear = 0.1 * draw[3]
    centre = (SIDE - 1) / 2
    y, x = jnp.meshgrid(jnp.arange(SIDE) - centre, jnp.arange(SIDE) - centre, indexing="ij")
    y, x = y[None], x[None]
    cos, sin = (f(angle)[:, None, None] for f in (jnp.cos, jnp.sin))
    x = x + shear[:, None, None] * y
    from_y = (cos * y - sin * x) * scale_y[:, None, None] + centre + 2 * draw[4][:, None, None]
    from_x = (sin * y + cos * x) * scale_x[:, None, None] + centre + 2 * draw[5][:, None, None]
    return _bilinear(images[..., 0], from_y, from_x)[..., None]


def _bilinear(planes, y, x):
    """planes [n, 28, 28] sampled at (y, x), zero outside."""
    margin = 1
    wide = SIDE + 2 * margin
    flat = jnp.pad(planes, ((0, 0), (margin, margin), (margin, margin))).reshape(-1, wide * wide)
    y = jnp.clip(y + margin, 0, wide - 1.001)
    x = jnp.clip(x + margin, 0, wide - 1.001)
    y0, x0 = jnp.floor(y), jnp.floor(x)
    fy, fx = y - y0, x - x0
    index = (y0 * wide + x0).astype(jnp.int32).reshape(planes.shape[0], -1)

    def tap(offset):
        return jnp.take_along_axis(flat, index + offset, axis=1).reshape(y.shape)

    top = tap(0) * (1 - fx) + tap(1) * fx
    bottom = tap(wide) * (1 - fx) + tap(wide + 1) * fx
    return top * (1 - fy) + bottom * fy
