"""What a net with ReLU loses when every ReLU becomes a polynomial, as in a homomorphic circuit.

Relies on: the ranges and spreads in the model's metadata. Promises: one polynomial per activation, fitted by weighted least
squares on its calibrated range, in two forms (`centred`, `even`), which `report` compares.
"""

import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev

import nets

DEGREES = (2, 4, 6, 8)
# Width of the Gaussian weight, in standard deviations (`centred`) or root mean squares (`even`); None is a flat weight.
WIDTHS = (1.0, 1.5, 2.0, 3.0, None)
SAMPLES = 2001
WEIGHT_FLOOR = 1e-4
CHUNK = 1000


def centred(bounds, spread, degree, width):
    """Any polynomial on [min, max], weight around the mean."""
    mean, std = spread
    return bounds, _fit(bounds, mean, None if width is None else width * std, degree)


def even(bounds, spread, degree, width):
    """x/2 and even powers on the symmetric range, weight around zero."""
    mean, std = spread
    bound = max(abs(b) for b in bounds)
    sigma = None if width is None else width * (mean * mean + std * std) ** 0.5
    return (-bound, bound), _fit((-bound, bound), 0.0, sigma, degree)


def _fit(bounds, centre, sigma, degree):
    """Chebyshev coefficients on `bounds`; on a symmetric problem the odd part is x/2 by itself."""
    t = np.linspace(-1, 1, SAMPLES)
    x = bounds[0] + (t + 1) / 2 * (bounds[1] - bounds[0])
    weight = np.ones_like(x) if sigma is None else WEIGHT_FLOOR + np.exp(-(((x - centre) / sigma) ** 2) / 2)
    return chebyshev.chebfit(t, np.maximum(x, 0), degree, w=np.sqrt(weight))


def stand_in(net, known, form, degree, width):
    """An `activation` for `nets.forward`."""
    table = {}
    for name, tensor in nets.activation_inputs(net).items():
        table[name] = form(known["cipherloom.ranges"][tensor], known["cipherloom.std"][tensor], degree, width)

    def activation(name, x):
        (low, high), coefficients = table[name]
        t = (x - low) * (2 / (high - low)) - 1
        before, now = jnp.zeros_like(t), jnp.zeros_like(t)
        for c in coefficients[:0:-1]:
            before, now = now, 2 * t * now - before + float(c)
        return t * now - before + float(coefficients[0])

    return activation


def classes(net, weights, images, activation):
    params, stats = weights
    parts = (images[i:i + CHUNK].astype(np.float32) / 255 for i in range(0, len(images), CHUNK))
    return np.concatenate([
        np.asarray(nets.forward(net, params, jnp.asarray(p), stats, activation)[0]["logits"].argmax(-1)) for p in parts
    ])


def report(net, weights, known, test):
    """Prints accuracy, and agreement with the ReLU net, by form, degree and width of the weight."""
    images, labels = test
    clear = classes(net, weights, images, None)
    for form in (centred, even):
        for degree in DEGREES:
            cells = []
            for width in WIDTHS:
                found = classes(net, weights, images, stand_in(net, known, form, degree, width))
                right, same = 100 * (found == labels).mean(), 100 * (found == clear).mean()
                cells.append(f"{'flat' if width is None else width}: {right:.2f} / {same:.2f}")
            print(f"  {form.__name__:7} degree {degree}, accuracy / same class in % by width: {', '.join(cells)}",
                  flush=True)
