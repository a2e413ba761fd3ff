"""budgets.json: per device and kernel, instructions and cycles of its pipelines together."""

import json

ALLOWED = 1.05


def write(path, table):
    """Replaces what is known of the devices in the table."""
    known = json.loads(path.read_text()) if path.exists() else {}
    known.update({device: dict(sorted(table.sums(device).items())) for device in table.rows})
    devices = []
    for device, kernels in sorted(known.items()):
        lines = [f"  {json.dumps(name)}: {json.dumps(sums)}" for name, sums in kernels.items()]
        devices.append(f" {json.dumps(device)}: {{\n" + ",\n".join(lines) + "\n }")
    path.write_text("{\n" + ",\n".join(devices) + "\n}\n")


def exceeded(path, table):
    """What costs more than it may. Sums are of the same pipelines only where their number is."""
    known = json.loads(path.read_text()) if path.exists() else {}
    problems = []
    for device in table.rows:
        for name, now in table.sums(device).items():
            before = known.get(device, {}).get(name)
            if before is None:
                problems.append(f"{device} {name}: no budget; run with --update")
                continue
            if before[0] != now[0]:
                problems.append(f"{device} {name}: {now[0]} pipelines, the budget is of "
                                f"{before[0]}; run with --update")
                continue
            problems += [f"{device} {name}: {now[i]} {what}, the budget is {before[i]}"
                         for i, what in ((1, "instructions"), (2, "cycles"))
                         if now[i] > before[i] * ALLOWED]
    return problems
