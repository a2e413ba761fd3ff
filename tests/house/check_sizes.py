"""Files and functions small enough to read: the limits of CODE STYLE in ARCHITECTURE.md."""

import os
import re
import sys

import repo

SOURCE_LINES, HEADER_LINES, SHADER_LINES, COOPMAT_LINES, FUNCTION_LINES = 600, 200, 250, 400, 60
FILE_BYTES = 1 << 20
# What a folder may have in all, where its files may be larger than others: goldens, shipped weights.
FOLDER_BYTES = {"tests/golden/": 10 << 20, "tools/pebble/model/": 8_500_000}
SCOPE = re.compile(r'\b(namespace|struct|class|union|enum)\b|\bextern\s*""')
ROW = re.compile(r'^(case\b|default:|\{|"|\}\s*[,;]|\},)')


def line_limit(path):
    if path.endswith((".comp", ".glsl")):
        return COOPMAT_LINES if "coopmat" in os.path.basename(path) else SHADER_LINES
    if path.endswith((".hpp", ".h")):
        return HEADER_LINES
    return SOURCE_LINES


def check_files(root):
    problems = []
    for path in repo.files(root):
        if path.endswith(repo.CODE + (".py",)):
            n_lines = repo.read(root, path).count("\n")
            if n_lines > line_limit(path):
                problems.append(f"{path}: {n_lines} lines, at most {line_limit(path)}")
    return problems


def is_flat_table(body_lines):
    """Rows of one kind: cases, initialisers, or the same call over and over."""
    lines = [line.strip() for line in body_lines if line.strip(" \t{}")]
    if not lines:
        return False
    calls = {}
    for line in lines:
        call = re.match(r"[\w.:>-]+\(", line)
        if call:
            calls[call.group(0)] = calls.get(call.group(0), 0) + 1
    n_rows = max([sum(1 for line in lines if ROW.match(line))] + list(calls.values()))
    return n_rows >= 0.75 * len(lines)


def skip_braces(text, at):
    """Index after the brace that closes the one at `at` (the end of the text if none does)."""
    depth = 0
    for match in re.compile(r"[{}]").finditer(text, at):
        depth += 1 if match.group(0) == "{" else -1
        if depth == 0:
            return match.end()
    return len(text)


def functions(text):
    """(name, first line, body lines) of every function that is not inside another."""
    text = repo.without_comments(text)
    head, at = 0, 0  # where the declaration being read began; where reading goes on
    while True:
        match = re.compile(r"[{};]").search(text, at)
        if match is None:
            return
        at = match.end()
        before = text[head:match.start()]
        if match.group(0) != "{":
            head = at
            continue
        if SCOPE.search(before) and ")" not in re.sub(r"\balignas\([^)]*\)", "", before):
            head = at  # the inside is read like the outside
            continue
        end = skip_braces(text, match.start())
        after = text[end:].lstrip()[:1]
        if "(" in before and not before.rstrip().endswith("=") and after not in (",", "{", ";", ")"):
            first = head + len(before) - len(before.lstrip())
            name = re.search(r"([\w:~]+|operator\S+)\s*\(", before)
            yield (name.group(1) if name else "?", text.count("\n", 0, first) + 1,
                   text[first:end].split("\n"), text[match.end():end].split("\n"))
            head = end
        at = end  # Initialiser lists and tables end before their `;`: the head goes on.


def check_functions(root):
    problems = []
    for path in repo.code_files(root):
        for name, line, whole, body in functions(repo.read(root, path)):
            if len(whole) > FUNCTION_LINES and not is_flat_table(body):
                problems.append(
                    f"{path}:{line}: {name} has {len(whole)} lines, at most {FUNCTION_LINES}")
    return problems


def check_bytes(root):
    problems, in_folder = [], dict.fromkeys(FOLDER_BYTES, 0)
    for path in repo.files(root):
        n_bytes = os.path.getsize(os.path.join(root, path))
        folder = next((name for name in FOLDER_BYTES if path.startswith(name)), None)
        if folder:
            in_folder[folder] += n_bytes
        elif n_bytes > FILE_BYTES:
            problems.append(f"{path}: {n_bytes} bytes, at most {FILE_BYTES}")
    problems += [f"{folder.rstrip('/')}: {in_folder[folder]} bytes, at most {most}"
                 for folder, most in FOLDER_BYTES.items() if in_folder[folder] > most]
    return problems


if __name__ == "__main__":
    sys.exit(repo.main(check_files, check_functions, check_bytes))
