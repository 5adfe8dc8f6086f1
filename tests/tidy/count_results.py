#!/usr/bin/env python3
"""scripts/count-results counts what it should: every wrong count would be a wrong last line of scripts/test."""

import json
import subprocess
import sys
import tempfile

CMOCKA = "[==========] Running 2 test(s).\n[ RUN      ] a\n[       OK ] a\n[ RUN      ] b\n"

# (result, output, passed failed skipped)
CASES = [
    ("OK", "whatever\n", "1 0 0"),
    ("FAIL", "whatever\n", "0 1 0"),
    ("SKIP", "", "0 0 1"),
    ("OK", CMOCKA + "[       OK ] b\n", "2 0 0"),
    ("FAIL", CMOCKA + "[  FAILED  ] b\n[  FAILED  ] 1 test(s), listed below:\n", "1 1 0"),
    ("OK", CMOCKA + "[  SKIPPED ] b\n[  SKIPPED ] 1 test(s), listed below:\n", "1 0 1"),
    ("ERROR", CMOCKA, "1 1 0"),
    ("FAIL", CMOCKA + "[       OK ] b\n", "2 1 0"),
    ("OK", "...\n10 passed in 0.12s\n", "10 0 0"),
    ("OK", "==== 3 passed, 2 skipped in 1.20s ====\n", "3 0 2"),
    ("FAIL", "=== 1 failed, 3 passed, 1 warning in 61.20s (0:01:01) ===\n", "3 1 0"),
    ("FAIL", "1 failed, 3 passed, 1 error in 0.2s\n", "3 2 0"),
    ("TIMEOUT", "collected 5 items\n", "0 1 0"),
]


def count(program, tests):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as log:
        for result, output in tests:
            log.write(json.dumps({"name": "t", "result": result, "stdout": output}) + "\n")
        log.flush()
        return subprocess.run([program, log.name], capture_output=True, text=True,
                              check=True).stdout.strip()


def main():
    program = sys.argv[1]
    wrong = 0
    for result, output, wanted in CASES:
        found = count(program, [(result, output)])
        if found != wanted:
            wrong += 1
            print(f"{result} {output!r}: wanted {wanted}, counted {found}")
    every = count(program, [(result, output) for result, output, _ in CASES])
    sums = " ".join(str(sum(int(w.split()[i]) for _, _, w in CASES)) for i in range(3))
    if every != sums:
        wrong += 1
        print(f"all together: wanted {sums}, counted {every}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
