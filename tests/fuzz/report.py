"""Sums up the logs of tests/fuzz/run; with --record writes benches/results/fuzz.json (see docs/fuzzing.md)."""

import datetime
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "../../benches/results/fuzz.json"


def facts(target: str) -> dict:
    """Executions, edges and findings of a target's last run."""
    log = (HERE / "target/logs" / target).read_text(errors="replace")
    last = lambda pattern: int((re.findall(pattern, log) or ["0"])[-1])
    findings = len(re.findall(r"Test unit written to", log))
    return {
        "executions": last(r"stat::number_of_executed_units: +(\d+)") or last(r"#(\d+)"),
        "edges": last(r" cov: (\d+)"),
        "seconds": last(r"Done \d+ runs in (\d+) second"),
        "peak_mb": last(r"stat::peak_rss_mb: +(\d+)"),
        "findings": findings,
    }


def machine() -> str:
    text = pathlib.Path("/proc/cpuinfo").read_text()
    field = lambda name: re.search(rf"^{name}\s*: (.*)$", text, re.M)[1]
    return f"{field('model name')} family {field('cpu family')} model {field('model')}"


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--record"]
    rows = {target: facts(target) for target in words}
    for target, row in rows.items():
        print(f"{target:12} " + ", ".join(f"{value} {key}" for key, value in row.items()))
    if "--record" not in sys.argv:
        return
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    kept = {row["name"]: row for row in old}
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()
    shared = {"threads": 1, "machine": machine(), "commit": commit, "date": str(datetime.date.today())}
    for target, row in rows.items():
        kept[f"fuzz_{target}"] = {"name": f"fuzz_{target}", "value": row["executions"], "unit": "", **shared, **row}
    each = [row for name, row in kept.items() if name not in ("fuzz_executions", "fuzz_panics")]
    sums = {"fuzz_executions": sum(r["executions"] for r in each), "fuzz_panics": sum(r["findings"] for r in each)}
    for name, value in sums.items():
        kept[name] = {"name": name, "value": value, "unit": "", **shared}
    lines = ",\n".join("  " + json.dumps(kept[name], separators=(",", ":")) for name in sorted(kept))
    RESULTS.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
