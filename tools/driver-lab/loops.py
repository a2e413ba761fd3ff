#!/usr/bin/env python3
"""Instructions of a product's main loop for each weight and column, from the compilers' listings.

  tools/driver-lab/run.py --listings ...; tools/driver-lab/loops.py [LAB]

Every loop is found by its backward branch. What is in a loop but in none within it is counted once
a round; the rounds of a loop within another follow from the weight type, unless the compiler
unrolled it. An instruction is a line of the listing, waits included.
"""

import json
import pathlib
import re
import sys

from devices import BY_NAME

# Elements that one round of the outer loop takes of a row, and rounds of the loop within it.
STEPS = {"f32": (32, 1), "f16": (32, 1), "bf16": (32, 1), "q8_0": (32, 1), "q4_0": (32, 1),
         "q4_k": (256, 8), "q6_k": (256, 4)}
LABELS = {"amd": re.compile(r"^(BB\d+):"), "intel": re.compile(r"^(L\d+):"),
          "nvidia": re.compile(r"^block\S* \d+ (L\d+) ")}
BRANCHES = {"amd": re.compile(r"^\ts_c?branch\S* (BB\d+)"),
            "intel": re.compile(r"^\S*\s+while .*\b(L\d+)"),
            "nvidia": re.compile(r"\bbra\b.* (L\d+)\b")}
INSTRUCTIONS = {"amd": re.compile(r"^\t\w"), "intel": re.compile(r"^(\([Wf]\S*\))?\s+[a-z]"),
                "nvidia": re.compile(r"// delay=")}
FILES = {"amd": "Assembly", "intel": "GEN_Assembly", "nvidia": "NAK_assembly"}


def find_loops(vendor, lines):
    """[(first line, last line)], one for each backward branch."""
    labels, loops = {}, {}
    for i, line in enumerate(lines):
        if match := LABELS[vendor].match(line):
            labels[match.group(1)] = i
        if (match := BRANCHES[vendor].search(line)) and match.group(1) in labels:
            loops[labels[match.group(1)]] = i  # several branches to one label: the last
    return sorted(loops.items())


def per_weight(vendor, name, constants, lines):
    """Instructions of the main loop for each weight and column."""
    kind = re.match(r"mat\w+?_(\w+?)(_int8)?:", name).group(1)
    elements, inner_rounds = STEPS[kind]
    rows, columns = 64 // constants[1], constants[2]
    count = [bool(INSTRUCTIONS[vendor].match(line) if vendor != "nvidia"
                  else INSTRUCTIONS[vendor].search(line)) for line in lines]
    loops = find_loops(vendor, lines)
    # The main loop is the one with most instructions; those of the epilogue are short.
    first, last = max(loops, key=lambda loop: sum(count[loop[0]:loop[1] + 1]))
    within = [(a, b) for a, b in loops if first < a and b < last]
    outer = sum(count[first:last + 1])
    inner = sum(sum(count[a:b + 1]) for a, b in within)
    total = outer - inner + inner_rounds * inner
    return total / (elements * rows * columns)


def main():
    here = pathlib.Path(__file__).resolve().parents[2]
    lab = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "build/driver-lab"
    found = {}
    for device, models in json.loads((lab / "listed.json").read_text()).items():
        vendor = BY_NAME[device].vendor
        for model, pipelines in models.items():
            folder = lab / "listings" / device / model
            for i, (name, constants) in enumerate(pipelines):
                if not re.match(r"matvec_(q4_0|q8_0|q4_k|q6_k)(_int8)?:split", name):
                    continue
                if constants[8] or constants[9] or constants[2] not in (1, 4, 8):
                    continue  # experts and gated products have the same loop
                text = (folder / f"{i:04}.{FILES[vendor]}.txt").read_text()
                key = device, name.split(":")[0].removeprefix("matvec_"), constants[2]
                value = per_weight(vendor, name, constants, text.splitlines())
                found[key] = max(value, found.get(key, 0))
    print("| device | weights | " + " | ".join(f"{n} columns" for n in (1, 4, 8)) + " |")
    print("|---|---|---|---|---|")
    for device, kind in dict.fromkeys(key[:2] for key in found):
        cells = [f"{found.get((device, kind, n), float('nan')):.2f}" for n in (1, 4, 8)]
        print(f"| {device} | {kind} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
