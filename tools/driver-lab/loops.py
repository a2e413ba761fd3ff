#!/usr/bin/env python3
"""Instructions of a product's main loop for each weight and column, from the compilers' listings.

  tools/driver-lab/run.py --listings ...; tools/driver-lab/loops.py [LAB]

What is in a loop but in none within it is counted once a round. How many rounds a loop within
another takes follows from the multiply-accumulates that it has and that a round of the outer loop
must have; where they do not come out even, the table says "-". An instruction is a line of the
listing, waits included.
"""

import collections
import json
import math
import pathlib
import re
import sys

from devices import BY_NAME

# Elements that one round of the outer loop takes of a row.
STEPS = {"q8_0": 32, "q4_0": 32, "q4_k": 256, "q6_k": 256}
FILES = {"amd": "Assembly", "intel": "GEN_Assembly", "nvidia": "NAK_assembly"}
INSTRUCTIONS = {"amd": re.compile(r"^\t\w"), "intel": re.compile(r"^(\([Wf]\S*\))?\s+[a-z]"),
                "nvidia": re.compile(r"// delay=")}
DOTS = {"amd": re.compile(r"\bv_dot4"), "intel": re.compile(r"\bdp4a\b"),
        "nvidia": re.compile(r"\bidp4\b")}
# Products of a subgroup: the groups multiply to their number.
MATRICES = {"amd": (re.compile(r"\bv_wmma_i32_(\d+)x(\d+)x(\d+)"), 1),
            "intel": (re.compile(r"\bdpas\.(8)x(8) \((\d+)"), 4),
            "nvidia": (re.compile(r"\bimma\.m(\d+)n(\d+)k(\d+)"), 1)}
# A line may have two (v_dual_fmac_f32).
FMAS = {"amd": re.compile(r"\bv_(?:dual_)?(?:fma|mac|mad)\w*_f32"),
        "intel": re.compile(r"\bmad\b"), "nvidia": re.compile(r"\bffma\b")}
# Loops are in one piece: label, backward branch.
LABELS = {"amd": re.compile(r"^(BB\d+):"), "intel": re.compile(r"^(L\d+):")}
BRANCHES = {"amd": re.compile(r"^\ts_c?branch\S* (BB\d+)"),
            "intel": re.compile(r"^\S*\s+while .*\b(L\d+)")}
# Blocks are in any order, each with the numbers of those that lead to it.
BLOCK = re.compile(r"^block\S* \d+ L\d+ \[([\d, ]*)\]")


def loops_in_one_piece(vendor, lines):
    labels, loops = {}, {}
    for i, line in enumerate(lines):
        if match := LABELS[vendor].match(line):
            labels[match.group(1)] = i
        if (match := BRANCHES[vendor].match(line)) and match.group(1) in labels:
            loops[labels[match.group(1)]] = i  # several branches to one label: the last
    return [set(range(first, last + 1)) for first, last in loops.items()]


def loops_of_blocks(lines):
    """A loop is its head and all from which a later block that leads back to it can be reached."""
    starts, before = [], []
    for i, line in enumerate(lines):
        if match := BLOCK.match(line):
            starts.append(i)
            before.append([int(number) for number in re.findall(r"\d+", match.group(1))])
    ends = starts[1:] + [len(lines)]
    loops = []
    for head, sources in enumerate(before):
        todo = [block for block in sources if block >= head]
        if not todo:
            continue
        blocks = {head}
        while todo:
            block = todo.pop()
            if block not in blocks:
                blocks.add(block)
                todo += before[block]
        loops.append({i for block in blocks for i in range(starts[block], ends[block])})
    return loops


def products_of_lane(vendor, variant, lanes, line):
    if variant == "split":
        return len(FMAS[vendor].findall(line))
    if variant == "split_dot":
        return 4 * len(DOTS[vendor].findall(line))
    pattern, factor = MATRICES[vendor]
    match = pattern.search(line)
    return factor * math.prod(map(int, match.groups())) // lanes if match else 0


def per_weight(vendor, name, constants, lines):
    """Instructions of the main loop for each weight and column; None if its rounds are unknown."""
    kind, variant = re.match(r"mat\w+?_(q\d_[0k])(?:_int8)?:(\w+)", name).groups()
    lanes, columns = constants[1:3]
    n_products = STEPS[kind] * (64 // lanes) * columns  # of a round of the outer loop
    # Of a block's groups, each a round of the loop over them; with zeros in the other one where a
    # matrix product takes the elements of both.
    k, groups = constants[13:15] if variant == "split_matrix" else (0, 1)
    repeats = 2 if groups == 2 and k == 32 else 1
    if (kind, variant) == ("q4_k", "split"):
        repeats = (columns + 1) / columns  # scale and minimum are in the weight: an fma each

    def count(loop):
        """instructions, products"""
        chosen = [lines[i] for i in loop]
        return (sum(bool(INSTRUCTIONS[vendor].search(line)) for line in chosen),
                sum(products_of_lane(vendor, variant, lanes, line) for line in chosen))

    loops = loops_of_blocks(lines) if vendor == "nvidia" else loops_in_one_piece(vendor, lines)
    main = max(loops, key=lambda loop: (count(loop)[1], len(loop)))
    within = [loop for loop in loops if loop < main]
    within.sort(key=len)
    group = count(within.pop(0)) if groups == 2 and len(within) == 2 else (0, 0)
    if len(within) > 1 or not all(count(loop)[1] for loop in within):
        return None
    once = count(within[0]) if within else (0, 0)
    outer = [all - part for all, part in zip(count(main), once)]
    inner = [all + (groups - 1) * part for all, part in zip(once, group)]
    wanted = repeats * n_products
    rounds = round((wanted - outer[1]) / inner[1]) if within else 0
    products = outer[1] + rounds * inner[1]
    # A load into s[92:107] is one that LLVM cannot read back, nor then what follows it.
    hidden = 4 * sum(lines[i].startswith("(invalid instruction)") for i in main)
    # Scales are multiplied as well, but not by dot products.
    if not wanted - hidden <= products <= wanted * (1.25 if variant == "split" else 1):
        return None
    return (outer[0] + rounds * inner[0]) / n_products


def main():
    here = pathlib.Path(__file__).resolve().parents[2]
    lab = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / "build/driver-lab"
    found = collections.defaultdict(list)
    for device, models in json.loads((lab / "listed.json").read_text()).items():
        vendor = BY_NAME[device].vendor
        for model, pipelines in models.items():
            for i, (name, constants) in enumerate(pipelines):
                match = re.match(r"mat\w+?_((?:q4_0|q8_0|q4_k|q6_k)(?:_int8)?):split", name)
                if not match or constants[8] or constants[9]:
                    continue  # experts and gated products have the same loop
                listing = lab / "listings" / device / model / f"{i:04}.{FILES[vendor]}.txt"
                columns = "matrices" if "matrix" in name else constants[2]
                key = device, match.group(1), columns
                found[key].append(per_weight(vendor, name, constants,
                                             listing.read_text().splitlines()))
    print("| device | weights | 1 column | 4 columns | 8 columns | matrices, most columns |")
    print("|---|---|---|---|---|---|")
    for device, kind in dict.fromkeys(key[:2] for key in found):
        cells = []
        for n in (1, 4, 8, "matrices"):
            values = found.get((device, kind, n), [None])
            # Of many columns the least, which is of the widest tile.
            pick = min if n == "matrices" else max
            cells.append("-" if None in values else f"{pick(values):.2f}")
        print(f"| {device} | {kind} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
