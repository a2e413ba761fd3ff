"""The matrix as a table: a row for each device and pipeline."""

import collections
import json

import exceptions
import figures
from devices import BY_NAME

COLUMNS = ("registers", "spills", "spilled_scalars", "scratch", "instructions", "cycles",
           "occupancy", "subgroup_size", "seconds")


class Table:
    def __init__(self, reports):
        """`reports`: {device: {model: what kimberlite-dry-run printed, or {"error": why}}}"""
        self.reports = reports
        self.rows = {}  # device -> {(kernel:variant, constants): figures}
        for device, models in reports.items():
            rows = self.rows[device] = {}
            for model, result in models.items():
                for pipeline in result.get("pipelines", ()):
                    key = pipeline["name"], tuple(pipeline["constants"])
                    if key not in rows:
                        rows[key] = figures.row(BY_NAME[device].vendor, pipeline)
                        rows[key]["models"] = []
                    rows[key]["models"].append(model)

    def sums(self, device):
        """{kernel:variant: (pipelines, instructions, cycles)}: what budgets are about."""
        sums = collections.defaultdict(lambda: [0, 0, 0])
        for (name, _), row in self.rows[device].items():
            for i, value in enumerate((1, row["instructions"], row["cycles"])):
                sums[name][i] += int(value)
        return sums

    def problems(self):
        found = []
        for device, models in self.reports.items():
            found += [f"{device} {model}: {result['error']}"
                      for model, result in models.items() if "error" in result]
            found += [f"{device} {model}: {wrong}" for model, result in models.items()
                      if "plan" in result
                      for wrong in BY_NAME[device].wrong_choices(result["plan"])]
            found += [f"{device} {name} {list(constants)}: {row['spills']:.0f} spills, "
                      f"{row['scratch']:.0f} bytes of scratch"
                      for (name, constants), row in self.rows[device].items()
                      if (row["spills"] or row["scratch"])
                      and not exceptions.may_spill(BY_NAME[device].vendor, name)]
        return found

    def summary(self):
        n_runs = sum(len(models) for models in self.reports.values())
        n_failed = sum("error" in result for models in self.reports.values()
                       for result in models.values())
        n_pipelines = sum(map(len, self.rows.values()))
        n_spilling = sum(bool(row["spills"] or row["scratch"])
                         for rows in self.rows.values() for row in rows.values())
        return (f"{len(self.reports)} devices, {n_runs} models opened, {n_failed} failed; "
                f"{n_pipelines} pipelines, {n_spilling} spill")

    def as_json(self):
        return json.dumps({
            device: {
                "generation": BY_NAME[device].generation,
                "models": {model: {key: value for key, value in result.items()
                                   if key != "pipelines"} for model, result in models.items()},
                "pipelines": [{"name": name, "constants": constants, **row}
                              for (name, constants), row in self.rows[device].items()],
            } for device, models in self.reports.items()}, indent=1)

    def as_markdown(self):
        lines = ["# What the compilers say", "", self.summary(), ""]
        for device in self.reports:
            lines += [f"## {device} ({BY_NAME[device].generation})", "",
                      "| kernel | constants | " + " | ".join(COLUMNS) + " |",
                      "|---|---|" + "---|" * len(COLUMNS)]
            for (name, constants), row in sorted(self.rows[device].items()):
                cells = [f"{row[column]:g}" if row[column] is not None else "-"
                         for column in COLUMNS]
                lines.append(f"| {name} | {' '.join(map(str, constants))} | "
                             + " | ".join(cells) + " |")
            lines.append("")
        return "\n".join(lines)
