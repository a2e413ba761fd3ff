"""Draws the loss and the held-out scores of a training's log.jsonl as an SVG.

plot.py FOLDER/log.jsonl curves.svg
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 900, 200, 60, 30, 60
_COLOURS = "#4053d3 #ddb310 #b51d14 #00beff #fb49b0 #00b25d #cacaca #7a5195 #ef5675".split()


def read_log(path: Path) -> tuple[list[dict[str, Any]], list[tuple[str, int]]]:
    """The lines with "at", the step counted over all stages, and (stage, its first "at"). Where a
    run was resumed, what it did again replaces what it had done."""
    latest: dict[tuple, dict[str, Any]] = {}
    names: list[str] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if line["stage"] not in names:
            names.append(line["stage"])
        latest[line["stage"], line["step"], "loss" in line] = line
    starts, begin = [], 0
    for name in names:
        starts.append((name, begin))
        steps = [step for stage, step, _ in latest if stage == name]
        for (stage, step, _), line in latest.items():
            if stage == name:
                line["at"] = begin + step
        begin += max(steps)
    return sorted(latest.values(), key=lambda line: line["at"]), starts


def _line(points: list[tuple[float, float]], colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#444") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'


def _panel(top: int, title: str, marks: list[tuple[float, str]]) -> list[str]:
    """Frame, title and the marks (height 0 to 1, label) of the upright axis."""
    parts = [
        f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" '
        'stroke="#999"/>',
        _text(_LEFT, top - 8, title),
    ]
    for height, label in marks:
        y = top + _HEIGHT * (1 - height)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>'
        )
        parts.append(_text(_LEFT - 6, y + 4, label, "end"))
    return parts


def draw(lines: list[dict[str, Any]], starts: list[tuple[str, int]]) -> str:
    end = max(line["at"] for line in lines)
    low, high = 0.01, 10.0

    def x_of(at: int) -> float:
        return _LEFT + _WIDTH * at / end

    def loss_height(loss: float) -> float:
        share = math.log(max(loss, low) / low) / math.log(high / low)
        return _TOP + _HEIGHT * (1 - share)

    below = _TOP + _HEIGHT + _GAP
    marks = [(i / 3, f"{low * 10**i:g}") for i in range(4)]
    parts = _panel(_TOP, "loss of the answers (mean of 20 steps)", marks)
    parts += _panel(
        below, "held-out answers that are right", [(i / 4, f"{25 * i} %") for i in range(5)]
    )
    losses = [line for line in lines if "loss" in line]
    parts.append(
        _line([(x_of(line["at"]), loss_height(line["loss"])) for line in losses], _COLOURS[0])
    )
    scores: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for task, share in line.get("held_out", {}).items():
            scores.setdefault(task, []).append((x_of(line["at"]), below + _HEIGHT * (1 - share)))
    for i, (task, points) in enumerate(sorted(scores.items())):
        colour = _COLOURS[i % len(_COLOURS)]
        parts.append(_line(points, colour))
        parts.append(
            _text(_LEFT + 95 * (i % 10), below + _HEIGHT + 40 + 16 * (i // 10), task, colour=colour)
        )
    for name, begin in starts:
        x = x_of(begin)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{below + _HEIGHT}" stroke="#bbb"/>'
        )
        parts.append(_text(x + 4, _TOP + 14, name))
    parts.append(_text(_LEFT + _WIDTH, below + _HEIGHT + 18, f"step {end}", "end"))
    height = below + _HEIGHT + 90
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 20}" height="{height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        + "\n".join(parts)
        + "</svg>\n"
    )


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(*read_log(Path(sys.argv[1]))), encoding="utf-8")
