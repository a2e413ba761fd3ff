"""Include directions between layers, and who may talk to the operating system (ARCHITECTURE.md)."""

import re
import sys

import repo

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.M)
LAYER_LINE = re.compile(r"^kimberlite_layer\((\w+)([^)]*)\)", re.M)
OS_HEADER = re.compile(
    r"^(windows|unistd|dlfcn|fcntl|pthread|io|direct|process|psapi|shlobj|termios|poll|sched|spawn"
    r"|dirent|pwd|winsock2?|ws2tcpip|netdb)\.h$|^(sys|netinet|arpa|linux|mach)/")
ENVIRONMENT = re.compile(r"\b(\w*getenv\w*|GetEnvironmentVariable\w*)\s*\(")
VULKAN = re.compile(r"^(volk\.h|vulkan/|vk_)")
# Layers that may include shaders/K.h and shaders/modules.hpp.
SEES_SHADERS = {"vk", "graph", "kernels", "model", "runtime"}
# The one public header that every layer shares (by way of base/result.hpp).
RESULT = "kimberlite/result.hpp"
KNOWS_NO_VULKAN = {"base", "formats", "text", "media"}


def linked_layers(root):
    """layer -> the layers that src/CMakeLists.txt links it to."""
    edges = {}
    for name, rest in LAYER_LINE.findall(repo.read(root, "src/CMakeLists.txt")):
        words = re.sub(r"\bLIBRARIES\b.*", "", rest, flags=re.S).split()
        edges[name] = set(words) - {"DEPENDS"}
    return edges


def check_links(root):
    problems = []
    for layer, depends in linked_layers(root).items():
        if layer not in repo.LAYERS:
            problems.append(f"src/CMakeLists.txt: layer {layer} is not one of {repo.LAYERS}")
            continue
        for below in sorted(depends):
            lower = repo.LAYERS[:repo.LAYERS.index(layer)]
            if below not in lower:
                problems.append(f"src/CMakeLists.txt: {layer} links {below}; lower are only {lower}")
    return problems


def allowed_folders(path, edges):
    """First folders of quoted includes that this file may use; None: anything."""
    top, *rest = path.split("/")
    if top == "src" and len(rest) > 1:
        layer = rest[0]
        folders = {layer} | edges.get(layer, set())
        if layer in SEES_SHADERS:
            folders.add("shaders")
        if layer == "runtime":
            folders.add("kimberlite")
        return folders
    if top == "include":
        return {"kimberlite"}
    if top == "apps":
        return {"kimberlite", "apps"} | {rest[0]}
    if path.startswith("tools/synthetic/"):
        return {"base", "formats", "synthetic", "tools"}
    return None


def check_includes(root):
    problems = []
    edges = linked_layers(root)
    known = set(repo.LAYERS) | {"shaders", "tests", "tools", "apps"}
    for path in repo.code_files(root, {"src", "include", "apps", "tools"}):
        allowed = allowed_folders(path, edges)
        for quote, name in INCLUDE.findall(repo.read(root, path)):
            first = name.split("/")[0]
            if ".." in name.split("/"):
                problems.append(f"{path}: includes {name}; paths start at src/")
            elif allowed is not None and first in known and "/" in name and first not in allowed:
                problems.append(f"{path}: includes {name}; may include {sorted(allowed)}")
            elif (allowed is not None and first == "kimberlite" and "kimberlite" not in allowed
                  and name != RESULT):
                problems.append(f"{path}: includes {name}; only runtime and apps may")
            layer = path.split("/")[1]
            if path.startswith("src/") and layer in KNOWS_NO_VULKAN and VULKAN.search(name):
                problems.append(f"{path}: includes {name}; {layer} does not know Vulkan")
    return problems


def talks_to_os(path):
    return path.startswith("src/vk/") or re.fullmatch(r"src/base/os_\w+\.cpp", path)


def check_os(root):
    problems = []
    for path in repo.code_files(root):
        text = repo.read(root, path)
        if not path.startswith("tests/") and not talks_to_os(path):
            problems += [f"{path}: includes {name}; only src/base/os_*.cpp and src/vk may"
                         for _, name in INCLUDE.findall(text) if OS_HEADER.search(name)]
        if not re.fullmatch(r"src/base/os_\w+\.cpp", path):
            problems += [f"{path}: calls {name}; only src/base/os_*.cpp may (os::environment)"
                         for name in ENVIRONMENT.findall(repo.without_comments(text))]
    return problems


if __name__ == "__main__":
    sys.exit(repo.main(check_links, check_includes, check_os))
