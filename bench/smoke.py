#!/usr/bin/env python3
"""Runs each row of drt-bench once, tiny, and looks at the shape of what it prints; never at times."""

import json
import subprocess
import sys


def main():
    bench = sys.argv[1]
    names = subprocess.run([bench, "--list", "--slow"], capture_output=True, text=True, check=True)
    expected = names.stdout.splitlines()
    run = subprocess.run(
        [bench, "--json", "--tiny", "--slow"], capture_output=True, text=True, timeout=240
    )
    try:
        result = json.loads(run.stdout)
    except ValueError:
        print(f"no JSON (status {run.returncode}): {run.stdout[:500]} {run.stderr[:500]}")
        return 1
    wrong = []
    if set(result) != {"machine", "rows"} or result["machine"]["cpus"] < 1:
        wrong.append(f"the object has {sorted(result)}")
    if [row["name"] for row in result["rows"]] != expected:
        wrong.append("the rows are not those of --list")
    for row in result["rows"]:
        if "error" in row:
            wrong.append(f"{row['name']}: {row['error']}")
        elif not {"name", "per_second", "p50_us", "p99_us", "floor_ratio"} <= set(row):
            wrong.append(f"{row['name']} has {sorted(row)}")
        elif not any(isinstance(v, float) and v > 0 for v in row.values()):
            wrong.append(f"{row['name']} has no figure")
    if run.returncode != 0 and not wrong:
        wrong.append(f"status {run.returncode}")
    print("\n".join(wrong) or f"{len(expected)} rows")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
