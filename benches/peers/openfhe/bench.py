"""Single operations of OpenFHE on one thread, timed for benches/peers/measure.py.

Takes key=value arguments (log_n, primes, prime_bits, digit_limbs, seconds, operations); prints one JSON object like the
other programs beside it. The wheel has no linear transformation: linear64 is eight hoisted rotations, 64 products and seven
giant steps, called one by one (the interpreter's part is microseconds).
"""

import json
import math
import sys
import time

import openfhe

STEPS = 8
CALLS_MIN = 3
# Bits of the primes that the library takes for P.
AUXILIARY_BITS = 60


def timed(seconds, call):
    """Median milliseconds of calls after a first one that is not counted, their number, and the last result."""
    result, samples, begin = call(), [], time.perf_counter()
    while len(samples) < CALLS_MIN or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        result = call()
        samples.append((time.perf_counter() - start) * 1e3)
    samples.sort()
    return samples[(len(samples) - 1) // 2], len(samples), result


def noise(seed, count):
    """Reproducible values in [-1, 1)."""
    mask = (1 << 64) - 1
    state = (seed * 0x9E3779B97F4A7C15 & mask) | 1
    values = []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & mask
        values.append((state >> 11) / (1 << 52) - 1)
    return values


class Bench:
    """A context at the top of its chain, keys, and two encrypted vectors."""

    def __init__(self, log_n, primes, prime_bits, digit_limbs):
        self.n, self.slots = 1 << log_n, 1 << (log_n - 1)
        self.primes, self.prime_bits, self.digit_limbs = primes, prime_bits, digit_limbs
        self.digits = math.ceil(primes / digit_limbs)
        p = openfhe.CCParamsCKKSRNS()
        p.SetRingDim(self.n)
        p.SetSecurityLevel(openfhe.HEStd_128_classic)
        p.SetSecretKeyDist(openfhe.UNIFORM_TERNARY)
        p.SetMultiplicativeDepth(primes - 1)
        p.SetScalingModSize(prime_bits)
        p.SetFirstModSize(prime_bits)
        p.SetScalingTechnique(openfhe.FIXEDMANUAL)
        p.SetKeySwitchTechnique(openfhe.HYBRID)
        p.SetNumLargeDigits(self.digits)
        p.SetBatchSize(self.slots)
        self.context = openfhe.GenCryptoContext(p)
        for feature in (openfhe.PKE, openfhe.KEYSWITCH, openfhe.LEVELEDSHE):
            self.context.Enable(feature)
        self.keys = self.context.KeyGen()
        self.values = [noise(seed, self.slots) for seed in (1, 2)]
        self.plain = [self.context.MakeCKKSPackedPlaintext(v) for v in self.values]
        self.inputs = [self.context.Encrypt(self.keys.secretKey, p) for p in self.plain]

    def run(self, operation, seconds):
        context, (x, y), (v, w) = self.context, self.inputs, self.values
        if operation == "rotate":
            context.EvalRotateKeyGen(self.keys.secretKey, [1])
            ms, calls, out = timed(seconds, lambda: context.EvalRotate(x, 1))
            return ms, calls, self.precision(out, v[1:] + v[:1])
        if operation == "rotate8":
            steps = list(range(1, STEPS + 1))
            context.EvalRotateKeyGen(self.keys.secretKey, steps)
            ms, calls, out = timed(seconds, lambda: self.hoisted(steps))
            return ms, calls, self.precision(out[-1], v[STEPS:] + v[:STEPS])
        if operation == "multiply":
            context.EvalMultKeyGen(self.keys.secretKey)
            ms, calls, out = timed(seconds, lambda: context.Rescale(context.EvalMult(x, y)))
            return ms, calls, self.precision(out, [a * b for a, b in zip(v, w)])
        if operation == "multiply_plain":
            ms, calls, out = timed(seconds, lambda: context.Rescale(context.EvalMult(x, self.plain[1])))
            return ms, calls, self.precision(out, [a * b for a, b in zip(v, w)])
        if operation == "encode":
            ms, calls, _ = timed(seconds, lambda: context.MakeCKKSPackedPlaintext(w))
            return ms, calls, None
        if operation == "linear64":
            return self.linear(seconds)
        raise ValueError(operation)

    def hoisted(self, steps):
        digits = self.context.EvalFastRotationPrecompute(self.inputs[0])
        return [self.context.EvalFastRotation(self.inputs[0], step, 2 * self.n, digits) for step in steps]

    def linear(self, seconds):
        context, count = self.context, STEPS * STEPS
        context.EvalRotateKeyGen(self.keys.secretKey, [s for i in range(1, STEPS) for s in (i, i * STEPS)])
        diagonals = [[value / count for value in noise(100 + d, self.slots)] for d in range(count)]
        plain = []
        for d, diagonal in enumerate(diagonals):
            giant = d - d % STEPS
            plain.append(context.MakeCKKSPackedPlaintext(diagonal[self.slots - giant:] + diagonal[:self.slots - giant]))

        def call():
            babies = [self.inputs[0]] + self.hoisted(range(1, STEPS))
            total = None
            for giant in range(STEPS):
                inner = None
                for baby in range(STEPS):
                    product = context.EvalMult(babies[baby], plain[giant * STEPS + baby])
                    if inner is None:
                        inner = product
                    else:
                        context.EvalAddInPlace(inner, product)
                if giant:
                    inner = context.EvalRotate(inner, giant * STEPS)
                    context.EvalAddInPlace(total, inner)
                else:
                    total = inner
            return context.Rescale(total)

        ms, calls, out = timed(seconds, call)
        v, slots = self.values[0], self.slots
        sample = range(0, slots, max(1, slots // 1024))
        expected = {i: sum(diagonals[d][i] * v[(i + d) % slots] for d in range(count)) for i in sample}
        return ms, calls, self.precision(out, expected)

    def precision(self, ciphertext, expected):
        """Bits of the worst slot (of those expected)."""
        plain = self.context.Decrypt(ciphertext, self.keys.secretKey)
        plain.SetLength(self.slots)
        found = plain.GetRealPackedValue()
        pairs = expected.items() if isinstance(expected, dict) else enumerate(expected)
        return -math.log2(max(abs(found[i] - value) for i, value in pairs))

    def parameters(self):
        # The wheel names neither Q nor P: primes lie next to their nominal sizes, and P has the fewest that hold a digit.
        log_q = self.primes * self.prime_bits
        special = math.ceil(self.digit_limbs * self.prime_bits / AUXILIARY_BITS)
        return {
            "log_q": log_q,
            "log_qp": log_q + special * AUXILIARY_BITS,
            "secret": "uniform ternary",
            "chain": f"{self.primes} x {self.prime_bits} bits",
            "key": f"{self.digits} digits, {special} special primes",
            "path": "as the wheel is built",
        }


def main():
    arguments = dict(word.split("=", 1) for word in sys.argv[1:])
    shape = (int(arguments[key]) for key in ("log_n", "primes", "prime_bits", "digit_limbs"))
    bench = Bench(*shape)
    operations = {}
    for operation in arguments["operations"].split(","):
        ms, calls, bits = bench.run(operation, float(arguments["seconds"]))
        operations[operation] = {
            "ms": round(ms, 4),
            "calls": calls,
            "precision_bits": None if bits is None else round(bits, 1),
        }
    version = getattr(openfhe, "__version__", "unknown")
    print(json.dumps({
        "library": "openfhe",
        "version": version,
        "parameters": bench.parameters(),
        "operations": operations,
    }))


if __name__ == "__main__":
    main()
