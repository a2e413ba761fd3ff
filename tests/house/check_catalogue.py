"""The kernel catalogue: every kernel has its shader, descriptor, test and row, and nothing is left over.

shaders/README.md holds tables. The first cell of a kernel's row is its name (matmul); its shaders are
K.comp and every other X.comp that the row names. A row that says "part of `X`" is a step of X: it
shares the source and the test of X.
"""

import re
import sys

import repo

PART = re.compile(r"\bpart of `(\w+)`")
ROW = re.compile(r"^\|\s*`?(?!kernel\b)([a-z]\w*)`?\s*\|(.*)$", re.M)
SOURCE = re.compile(r"^\s*kimberlite_(?:module|prebuilt)\(\s*\S+\s+SOURCE\s+(\S+?\.comp)", re.M)
CATALOGUE, MANIFEST = "shaders/README.md", "shaders/manifest.cmake"


def rows(root):
    """kernel -> (the shader files that its row names, the kernel whose source and test it shares)."""
    return {name: (set(re.findall(r"\b(\w+\.comp)\b", rest)), (PART.findall(rest) or [name])[0])
            for name, rest in ROW.findall(repo.read(root, CATALOGUE))}


def below(names, folder, suffix):
    """Base names of the files directly in a folder that end with suffix."""
    return {match.group(1) for match in
            (re.fullmatch(re.escape(folder) + r"/(\w+)" + re.escape(suffix), n) for n in names)
            if match}


def check_catalogue(root):
    names = repo.files(root)
    catalogue = rows(root)
    shaders = below(names, "shaders", ".comp")
    sources = below(names, "src/kernels", ".cpp")
    tests = below(names, "tests/kernels", "_test.cpp")
    problems = []
    owned = set()
    for kernel, (named, owner) in sorted(catalogue.items()):
        own = {f"{kernel}.comp"} if kernel in shaders else set()
        owned |= named | own
        problems += [f"{CATALOGUE}: kernel {kernel} names {shader}, which does not exist"
                     for shader in sorted(named) if shader[:-5] not in shaders]
        if not named | own:
            problems.append(f"{CATALOGUE}: kernel {kernel} has no shaders/{kernel}.comp")
        if owner not in sources:
            problems.append(f"{CATALOGUE}: kernel {kernel} has no src/kernels/{owner}.cpp")
        if owner not in tests:
            problems.append(f"{CATALOGUE}: kernel {kernel} has no tests/kernels/{owner}_test.cpp")
    problems += [f"shaders/{shader}.comp: no row in {CATALOGUE} names it"
                 for shader in sorted(shaders) if f"{shader}.comp" not in owned]
    owners = {owner for _, owner in catalogue.values()}
    for source in sorted(sources - owners):
        path = f"src/kernels/{source}.cpp"
        if re.search(r"\bKernelDesc\s+(make_)?\w+\s*(\(\)|=|\{)", repo.read(root, path)):
            problems.append(f"{path}: has a descriptor but no row in {CATALOGUE}")
    return problems


def check_manifest(root):
    shaders = below(repo.files(root), "shaders", ".comp")
    built = {source[:-5] for source in SOURCE.findall(repo.read(root, MANIFEST))}
    return ([f"{MANIFEST}: builds {s}.comp, which does not exist" for s in sorted(built - shaders)]
            + [f"shaders/{s}.comp: {MANIFEST} does not build it" for s in sorted(shaders - built)])


if __name__ == "__main__":
    sys.exit(repo.main(check_catalogue, check_manifest))
