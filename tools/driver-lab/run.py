#!/usr/bin/env python3
"""Runs the engine on every virtual GPU of the lab and reports what their compilers say.

  tools/driver-lab/run.py [--lab FOLDER] [--devices navi31,lnl] [--models 12b-q4_0] [--update]

Each device opens each model, records and submits every pass of a session (kimberlite-dry-run), and
tells registers, spills, instructions and cycles of each pipeline. The report is FOLDER/report.md
and report.json. A pipeline that spills, a device that fails, or a kernel that costs 5 % more than
budgets.json allows is named, and the exit code is 1.
"""

import argparse
import concurrent.futures
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import sys

import budgets
import devices
import models
import report

HERE = pathlib.Path(__file__).resolve().parent
TIMEOUT = 600  # seconds of one device and model


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lab", type=pathlib.Path, default=HERE.parents[1] / "build/driver-lab")
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build/release")
    parser.add_argument("--devices", default="", help="comma-separated; all of them without")
    parser.add_argument("--models", default="", help="comma-separated; all of them without")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--listings", action="store_true", help="keep the compilers' listings")
    parser.add_argument("--update", action="store_true", help="take what is measured as budgets")
    arguments = parser.parse_args()
    arguments.lab, arguments.build = arguments.lab.resolve(), arguments.build.resolve()
    if not (arguments.lab / "versions.txt").exists():
        parser.error(f"no lab in {arguments.lab}: run tools/driver-lab/setup.sh")
    arguments.devices = pick(parser, arguments.devices, devices.BY_NAME)
    arguments.models = pick(parser, arguments.models, models.BY_NAME)
    return arguments


def pick(parser, names, known):
    chosen = names.split(",") if names else list(known)
    for name in chosen:
        if name not in known:
            parser.error(f"'{name}' is none of {', '.join(known)}")
    return [known[name] for name in chosen]


def make_models(folder, build, chosen):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for model in chosen:
        for file, arguments in model.files().items():
            subprocess.run([build / "tools/kimberlite-make-model", *arguments, folder / file],
                           check=True, stderr=subprocess.DEVNULL)


def dry_run(arguments, device, model):
    """The report of kimberlite-dry-run, or {"error": why there is none}."""
    command = [HERE / "inside.sh", arguments.lab, *device.environment(),
               arguments.build / "tools/kimberlite-dry-run", *model.arguments()]
    if arguments.listings:
        folder = arguments.lab / "listings" / device.name / model.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        command += ["--listings", folder]
    try:
        done = subprocess.run(command, cwd=arguments.lab / "models", capture_output=True,
                              text=True, timeout=TIMEOUT, errors="replace")
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {TIMEOUT} s"}
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        return {"error": f"exit code {done.returncode}: {last}"}
    return json.loads(done.stdout)


def run_all(arguments):
    """{device: {model: report}}"""
    pairs = [(device, model) for device in arguments.devices for model in arguments.models]
    reports = {device.name: {} for device in arguments.devices}
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        futures = {pool.submit(dry_run, arguments, *pair): pair for pair in pairs}
        for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
            device, model = futures[future]
            result = reports[device.name][model.name] = future.result()
            said = result.get("error") or f"{len(result['pipelines'])} pipelines"
            print(f"[{done}/{len(pairs)}] {device.name} {model.name}: {said}", file=sys.stderr)
    return reports


def main():
    arguments = parse_arguments()
    lock = open(arguments.lab / "lock", "w")  # until the process ends
    fcntl.flock(lock, fcntl.LOCK_EX)  # runs share the models
    make_models(arguments.lab / "models", arguments.build, arguments.models)
    reports = run_all(arguments)
    if arguments.listings:
        (arguments.lab / "listed.json").write_text(json.dumps({
            device: {model: [(pipeline["name"], pipeline["constants"])
                             for pipeline in result.get("pipelines", ())]
                     for model, result in results.items()}
            for device, results in reports.items()}))
    table = report.Table(reports)
    (arguments.lab / "report.json").write_text(table.as_json())
    (arguments.lab / "report.md").write_text(table.as_markdown())
    problems = table.problems()
    if len(arguments.models) == len(models.MODELS):  # sums of fewer pipelines say nothing
        if arguments.update:
            budgets.write(HERE / "budgets.json", table)
        problems += budgets.exceeded(HERE / "budgets.json", table)
    print(table.summary())
    for problem in problems:
        print(f"driver lab: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
