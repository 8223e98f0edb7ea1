"""Trains one or more of the shipped models and writes their ONNX files.

    python train.py --data FOLDER_WITH_MNIST [--out FOLDER] [--epochs N] [NAME ...]

Relies on: `nets`, `data`, `export`. Promises: one thread, fixed seeds; the same machine and versions give the same
file. Test images are only looked at to print the final accuracy.
"""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("NPROC", "1")

import argparse
import pathlib
import time
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import data
import export
import nets


@dataclass(frozen=True)
class Recipe:
    """How one net is trained. `tune_epochs` more follow with ReLU and its polynomial stand-ins side by side."""

    epochs: int
    tune_epochs: int = 0
    batch: int = 128
    rate: float = 2e-3
    decay: float = 2e-2
    smoothing: float = 0.05
    augment: float = 1.0
    limit: float = 4.0
    seed: int = 1


RECIPES = {
    "lola": Recipe(epochs=40, augment=0.6),
    "mlp": Recipe(epochs=40, augment=0.6),
    "cryptonets": Recipe(epochs=40, augment=0.6),
    "lenet1": Recipe(epochs=14, rate=5e-3, decay=1e-3, smoothing=0.02, augment=0.1),
    "lenet": Recipe(epochs=12, augment=0.8, decay=5e-2),
    "lenet5-relu": Recipe(epochs=12, tune_epochs=12, limit=3.5),
}

CHUNK = 1000
OUTLIER_WEIGHT = 0.05
LOGIT_WEIGHT = 1e-4
AGREEMENT_WEIGHT = 0.3
QUARTIC_SHARE = 0.35


def cross_entropy(logits, labels, smoothing):
    target = jax.nn.one_hot(labels, 10) * (1 - smoothing) + smoothing / 10
    return -(target * jax.nn.log_softmax(logits)).sum(-1).mean()


def outliers(net, tensors, limit):
    """How far activation inputs lie beyond `limit` times their root mean square: mean of squares, summed over layers."""
    inputs = [tensors[t] for t in nets.activation_inputs(net).values()]
    return sum((jnp.maximum(jnp.abs(x) - limit * rms(x), 0) ** 2).mean() for x in inputs)


def rms(x):
    """Root mean square of the whole tensor, as a constant for the gradient."""
    return jax.lax.stop_gradient(jnp.sqrt((x * x).mean()))


def fitted_relu(width, quartic, _name, x):
    """ReLU's least-squares fit on the batch's range, under a Gaussian weight `width` standard deviations wide.

    Of degree 4 where `quartic` is 1, else 2; as `polynomials.centred`, but with this batch's range, mean and deviation.
    """
    seen = jax.lax.stop_gradient(x)
    low, high = 1.1 * seen.min(), 1.1 * seen.max()
    t = jnp.linspace(-1, 1, 257)
    points = low + (t + 1) / 2 * (high - low)
    weight = 1e-4 + jnp.exp(-(((points - seen.mean()) / (width * seen.std())) ** 2) / 2)
    keep = jnp.array([1, 1, 1, quartic, quartic])
    basis = jnp.stack(chebyshev(t)) * keep[:, None]
    normal = (basis * weight) @ basis.T + jnp.diag(1 - keep)
    coefficients = jnp.linalg.solve(normal, (basis * weight) @ jnp.maximum(points, 0))
    terms = chebyshev((x - low) * (2 / (high - low)) - 1)
    return sum(c * term for c, term in zip(coefficients, terms))


def chebyshev(t):
    """T_0(t) to T_4(t)."""
    t2 = 2 * t * t - 1
    return [jnp.ones_like(t), t, t2, 2 * t * t2 - t, 2 * t2 * t2 - 1]


def loss(params, net, recipe, tuning, batch):
    images, labels, key = batch
    tensors, _ = nets.forward(net, params, images)
    value = cross_entropy(tensors["logits"], labels, recipe.smoothing)
    value += OUTLIER_WEIGHT * outliers(net, tensors, recipe.limit)
    value += LOGIT_WEIGHT * (tensors["logits"] ** 2).mean()
    if tuning:
        key_degree, key_width = jax.random.split(key)
        quartic = jax.random.bernoulli(key_degree, QUARTIC_SHARE).astype(jnp.float32)
        width = jax.random.uniform(key_width, (), minval=1.0, maxval=2.0)
        stand_in, _ = nets.forward(net, params, images, activation=partial(fitted_relu, width, quartic))
        value += cross_entropy(stand_in["logits"], labels, recipe.smoothing)
        value += OUTLIER_WEIGHT * outliers(net, stand_in, recipe.limit)
        value += AGREEMENT_WEIGHT * ((stand_in["logits"] - tensors["logits"]) ** 2).mean()
    return value


def decays(path):
    return path[-1].key == "w"


@partial(jax.jit, static_argnames=("net", "recipe", "tuning"), donate_argnums=(0, 1, 2))
def step(params, first, second, batch, schedule, *, net, recipe, tuning):
    """One AdamW step. batch: (uint8 images, labels, key); schedule: (step number from 1, learning rate)."""
    images, labels, key = batch
    key_augment, key_width = jax.random.split(key)
    images = data.augment(key_augment, images.astype(jnp.float32) / 255, recipe.augment)
    value, grads = jax.value_and_grad(loss)(params, nets.NETS[net], recipe, tuning, (images, labels, key_width))
    count, rate = schedule
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, grads)
    bias1, bias2 = 1 - 0.9**count, 1 - 0.999**count

    def update(path, p, m, v):
        move = (m / bias1) / (jnp.sqrt(v / bias2) + 1e-8)
        return p - rate * (move + (recipe.decay * p if decays(path) else 0))

    return jax.tree_util.tree_map_with_path(update, params, first, second), first, second, value


def run_phase(name, params, training, epochs, options):
    """`epochs` epochs with a warm-up and a cosine schedule."""
    recipe, rate, tuning = options
    images, labels = training
    rng = np.random.default_rng(recipe.seed + 1000 * tuning)
    key = jax.random.key(recipe.seed + 1000 * tuning)
    first, second = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
    steps = len(images) // recipe.batch
    total, count = steps * epochs, 0
    for epoch in range(epochs):
        start, losses = time.monotonic(), []
        order = rng.permutation(len(images))[:steps * recipe.batch].reshape(steps, -1)
        for rows in order:
            count += 1
            now = rate * min(1, count / 200) * 0.5 * (1 + np.cos(np.pi * (count - 1) / total))
            batch = (images[rows], labels[rows], jax.random.fold_in(key, count))
            params, first, second, value = step(
                params, first, second, batch, (float(count), now), net=name, recipe=recipe, tuning=tuning)
            losses.append(value)
        mean = float(jnp.stack(losses).mean())
        print(f"{name} epoch {epoch + 1}/{epochs} loss {mean:.4f} ({time.monotonic() - start:.1f} s)", flush=True)
    return params


@partial(jax.jit, static_argnames="name")
def evaluate(params, images, stats, *, name):
    return nets.forward(nets.NETS[name], params, images.astype(jnp.float32) / 255, stats)


def chunks(images):
    return (images[i:i + CHUNK] for i in range(0, len(images), CHUNK))


def calibrate(name, params, images):
    """Mean and variance of every batch norm's input over all images, with the final weights, layer after layer."""
    stats = {}
    for layer in nets.NETS[name]:
        if not isinstance(layer, nets.BatchNorm):
            continue
        seen = [evaluate(params, part, stats, name=name)[1][layer.name] for part in chunks(images)]
        mean = jnp.stack([m for m, _ in seen]).mean(0)
        square = jnp.stack([v + m * m for m, v in seen]).mean(0)
        stats[layer.name] = (mean, square - mean * mean)
    return stats


def summarise(name, params, stats, images):
    """{tensor: (min, max, mean, std)} over all images, the graph input included."""
    rows = []
    for part in chunks(images):
        tensors = {export.INPUT: part.astype(np.float32) / 255, **evaluate(params, part, stats, name=name)[0]}
        rows.append({k: (t.min(), t.max(), t.mean(), (t * t).mean()) for k, t in tensors.items()})
    summary = {}
    for tensor in [export.INPUT] + [nets.tensor_name(nets.NETS[name], layer) for layer in nets.NETS[name]]:
        lo, hi, mean, square = (np.array([float(r[tensor][i]) for r in rows]) for i in range(4))
        mean, square = mean.mean(), square.mean()
        summary[tensor] = (lo.min(), hi.max(), mean, (square - mean * mean) ** 0.5)
    return summary


def rescale(name, params, images):
    """The same function of the image, with a root mean square of 1 at the input of every ReLU.

    ReLU commutes with positive factors, so each layer's factor moves into the weights of the next.
    """
    net = nets.NETS[name]
    seen = summarise(name, params, {}, images)
    rectified, carry, scaled = set(nets.activation_inputs(net).values()), 1.0, dict(params)
    for layer in net:
        if not isinstance(layer, (nets.Conv, nets.Dense)):
            continue
        _, _, mean, std = seen[nets.tensor_name(net, layer)]
        factor = 1 / (mean * mean + std * std) ** 0.5 if layer.name in rectified else 1.0
        p = params[layer.name]
        scaled[layer.name] = {"w": p["w"] * (factor / carry), "b": p["b"] * factor}
        carry = factor
    return scaled


def accuracy(name, params, stats, test):
    images, labels = test
    classes = [evaluate(params, part, stats, name=name)[0]["logits"].argmax(-1) for part in chunks(images)]
    return float((np.concatenate(classes) == labels).mean())


def train(name, folder, epochs):
    """Weights and batch statistics of a trained net, and the summary of its tensors."""
    recipe, training = RECIPES[name], data.load(folder, "train")
    params = nets.init(nets.NETS[name], jax.random.key(recipe.seed))
    params = run_phase(name, params, training, epochs or recipe.epochs, (recipe, recipe.rate, False))
    if recipe.tune_epochs and not epochs:
        params = run_phase(name, params, training, recipe.tune_epochs, (recipe, recipe.rate / 2, True))
        params = rescale(name, params, training[0])
    stats = calibrate(name, params, training[0])
    print(f"{name}: test accuracy {accuracy(name, params, stats, data.load(folder, 't10k')):.4f}")
    return params, stats, summarise(name, params, stats, training[0])


def main():
    parser = argparse.ArgumentParser(description="Trains the shipped models on MNIST.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(nets.NETS)}; all by default")
    parser.add_argument("--data", required=True, help="folder of the four MNIST files (*.gz)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent)
    parser.add_argument("--epochs", type=int, default=0, help="a short run of this many epochs, for a first try")
    options = parser.parse_args()
    for name in options.names or list(nets.NETS):
        params, stats, summary = train(name, options.data, options.epochs)
        export.write(options.out / f"{name}.onnx", name, params, stats, summary)
        for tensor, (lo, hi, mean, std) in summary.items():
            print(f"  {tensor:6} min {lo:9.3f} max {hi:9.3f} mean {mean:8.3f} std {std:8.3f}")


if __name__ == "__main__":
    main()
