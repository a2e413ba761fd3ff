"""The files of a checkout, as the house checks see them, and how a check reports.

Every check is a function (root) -> list of problems, one line each that names the file and both
values. self_test.py plants violations and expects to find them.
"""

import os
import re
import subprocess
import sys

# Lowest first: a layer may include only layers before it (and those src/CMakeLists.txt links).
LAYERS = ["base", "vk", "formats", "text", "media", "graph", "kernels", "model", "runtime"]
CODE = (".cpp", ".hpp", ".h", ".comp", ".glsl")


def files(root):
    """Paths relative to root, sorted: what git tracks or would add; every file where there is no git."""
    if os.path.exists(os.path.join(root, ".git")):
        out = subprocess.run(
            ["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z", "--cached", "--others",
             "--exclude-standard"], check=True, stdout=subprocess.PIPE)
        names = out.stdout.decode().split("\0")
        return sorted({n for n in names if n and os.path.isfile(os.path.join(root, n))})
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith("build") and f != "__pycache__"]
        found += [os.path.relpath(os.path.join(folder, n), root) for n in names]
    return sorted(f.replace(os.sep, "/") for f in found)


def read(root, name):
    """The text of a file, or "" where there is none."""
    path = os.path.join(root, name)
    if not os.path.isfile(path):
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def code_files(root, folders=None):
    """C++ and GLSL files, of all folders or only below those named."""
    return [f for f in files(root)
            if f.endswith(CODE) and (folders is None or f.split("/")[0] in folders)]


def without_comments(text):
    """The same lines with comments, string contents and preprocessor lines blanked out."""
    pattern = (r'R"\((?:.|\n)*?\)"|//[^\n]*|/\*(?:.|\n)*?\*/|"(?:\\.|[^"\\\n])*"'
               r"|(?<![\w])'(?:\\.|[^'\\\n])+'|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*")

    def blank(match):
        found = match.group(0)
        quoted = found[0] in "R\"'"
        return ('""' if quoted else "") + "\n" * found.count("\n")

    return re.sub(pattern, blank, text, flags=re.M)


def main(*checks):
    """Runs checks on the checkout named on the command line; prints what each found."""
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    problems = [p for check in checks for p in check(root)]
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problem(s) in {len(files(root))} files")
    return 1 if problems else 0
