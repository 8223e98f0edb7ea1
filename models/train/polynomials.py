"""What a net with ReLU loses when every ReLU becomes a polynomial, as in a homomorphic circuit.

Relies on: the ranges and spreads in the model's metadata. Promises: one polynomial per activation, of x/2 and even powers,
fitted to |x|/2 by least squares under a Gaussian weight on the calibrated range.
"""

import jax.numpy as jnp
import numpy as np

import nets

DEGREES = (2, 4, 6, 8)
# Width of the weight, in root mean squares of the activation's input; None is a flat weight on the whole range.
WIDTHS = (1.0, 1.5, 2.0, 2.5, 3.0, None)
SAMPLES = 4001
CHUNK = 1000


def fit(degree, bound, sigma):
    """Coefficients c of ReLU(x) = x/2 + sum c[i] (x/bound)^(2i) on [-bound, bound]."""
    t = np.linspace(0, 1, SAMPLES)
    root = np.ones_like(t) if sigma is None else np.exp(-((t * bound / sigma) ** 2) / 4)
    basis = np.stack([t ** (2 * i) for i in range(degree // 2 + 1)], axis=1)
    return np.linalg.lstsq(basis * root[:, None], root * t * bound / 2, rcond=None)[0]


def stand_in(net, known, degree, width):
    """An `activation` for `nets.forward`."""
    table = {}
    for name, tensor in nets.activation_inputs(net).items():
        bound = max(abs(v) for v in known["cipherloom.ranges"][tensor])
        mean, std = known["cipherloom.std"][tensor]
        rms = (mean * mean + std * std) ** 0.5
        table[name] = (bound, fit(degree, bound, None if width is None else width * rms))

    def activation(name, x):
        bound, coefficients = table[name]
        q = (x / bound) ** 2
        return x / 2 + sum(float(c) * q**i for i, c in enumerate(coefficients))

    return activation


def classes(net, weights, images, activation):
    params, stats = weights
    parts = (images[i:i + CHUNK].astype(np.float32) / 255 for i in range(0, len(images), CHUNK))
    return np.concatenate([
        np.asarray(nets.forward(net, params, jnp.asarray(p), stats, activation)[0]["logits"].argmax(-1)) for p in parts
    ])


def report(net, weights, known, test):
    """Prints accuracy, and agreement with the ReLU net, by degree and width of the weight."""
    images, labels = test
    clear = classes(net, weights, images, None)
    for degree in DEGREES:
        for width in WIDTHS:
            found = classes(net, weights, images, stand_in(net, known, degree, width))
            print(f"  degree {degree}, weight {'flat' if width is None else f'{width} rms'}: accuracy "
                  f"{100 * (found == labels).mean():.2f} %, same class {100 * (found == clear).mean():.2f} %", flush=True)
