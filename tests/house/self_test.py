"""The house checks find what they are there for: each planted violation, and nothing in a clean tree."""

import hashlib
import json
import os
import tempfile
import unittest

import check_catalogue
import check_layers
import check_prebuilt
import check_sizes
import check_tree

CLEAN = {
    "README.md": "`src/base` and `src/kernels/K.cpp`\n",
    "ARCHITECTURE.md": "`src/base` `src/vk` `src/text` `src/kernels` `src/runtime`\n",
    "LICENSE": "", "CMakeLists.txt": "", "CMakePresets.json": "", "vcpkg.json": "",
    "third_party/CMakeLists.txt": "", "tools/run.sh": "#!/bin/bash\n",
    "include/kimberlite/engine.hpp": "#include <string>\n",
    "apps/main.cpp": '#include "kimberlite/engine.hpp"\n',
    "src/CMakeLists.txt": "kimberlite_layer(vk DEPENDS base LIBRARIES x)\n"
                          "kimberlite_layer(text DEPENDS base)\n"
                          "kimberlite_layer(kernels DEPENDS base vk)\n"
                          "kimberlite_layer(runtime DEPENDS base vk text kernels)\n",
    "src/base/os_posix.cpp": "#include <unistd.h>\nchar* f() { return std::getenv(name); }\n",
    "src/vk/device.cpp": '#include <volk.h>\n#include "base/result.hpp"\n',
    "src/text/utf8.cpp": '#include "base/result.hpp"  // getenv("X")\n',
    "src/runtime/engine.cpp": '#include "kimberlite/engine.hpp"\n',
    "src/kernels/norm.cpp": '#include "shaders/norm.h"\nconst KernelDesc kNorm = {};\n',
    "shaders/norm.comp": "void main() {}\n", "shaders/norm.h": "",
    "shaders/manifest.cmake": "kimberlite_module(norm_fast SOURCE norm.comp DEFINES A)\n",
    "shaders/README.md": "| kernel | what |\n|---|---|\n| `norm` | y = x |\n",
    "tests/kernels/norm_test.cpp": "",
}
LONG_BODY = "".join(f"  a{i} = b{i} + {i};\n" for i in range(60))


class HouseTest(unittest.TestCase):
    def problems(self, check, changes):
        """What `check` reports on the clean tree with these files changed (None: removed)."""
        with tempfile.TemporaryDirectory() as root:
            for name, text in {**CLEAN, **changes}.items():
                if text is not None:
                    os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
                    with open(os.path.join(root, name), "w", encoding="utf-8") as file:
                        file.write(text)
            return check(root)

    def finds(self, check, changes, *words):
        """Exactly one problem, with all these words in it."""
        found = self.problems(check, changes)
        self.assertEqual(len(found), 1, found)
        for word in words:
            self.assertIn(word, found[0])

    def test_clean_tree_has_no_problem(self):
        for check in (check_layers.check_links, check_layers.check_includes,
                      check_layers.check_os, check_sizes.check_files, check_sizes.check_functions,
                      check_sizes.check_bytes, check_catalogue.check_catalogue,
                      check_catalogue.check_manifest, check_prebuilt.check_prebuilt,
                      check_tree.check_top_level,
                      check_tree.check_documents, check_tree.check_machine_paths):
            self.assertEqual(self.problems(check, {}), [], check.__name__)

    def test_include_directions(self):
        check = check_layers.check_includes
        self.finds(check, {"src/base/a.cpp": '#include "vk/device.hpp"\n'}, "src/base/a.cpp")
        self.finds(check, {"src/text/a.hpp": "#include <volk.h>\n"}, "does not know Vulkan")
        self.finds(check, {"src/vk/a.cpp": '#include "../base/a.hpp"\n'}, "..")
        self.finds(check, {"src/text/a.cpp": '#include "kimberlite/engine.hpp"\n'}, "only runtime")
        self.finds(check, {"apps/a.cpp": '#include "runtime/engine.hpp"\n'}, "apps/a.cpp")
        self.finds(check, {"include/kimberlite/a.hpp": '#include "base/result.hpp"\n'}, "include/")
        self.finds(check, {"tools/synthetic/a.cpp": '#include "vk/device.hpp"\n'}, "synthetic")
        self.finds(check_layers.check_links,
                   {"src/CMakeLists.txt": "kimberlite_layer(base DEPENDS vk)\n"}, "base links vk")

    def test_operating_system(self):
        check = check_layers.check_os
        self.finds(check, {"src/text/a.cpp": "#include <sys/mman.h>\n"}, "sys/mman.h")
        self.finds(check, {"apps/a.cpp": "#include <windows.h>\n"}, "windows.h")
        self.finds(check, {"src/vk/a.cpp": 'auto x = std::getenv("X");\n'}, "getenv")

    def test_sizes(self):
        check = check_sizes.check_files
        self.finds(check, {"src/vk/a.cpp": "\n" * 601}, "601 lines, at most 600")
        self.finds(check, {"src/vk/a.hpp": "\n" * 201}, "at most 200")
        self.finds(check, {"shaders/a.comp": "\n" * 251}, "at most 250")
        self.assertEqual(self.problems(check, {"shaders/a_coopmat.comp": "\n" * 400}), [])
        self.finds(check_sizes.check_bytes, {"src/a.bin": "x" * ((1 << 20) + 1)}, "src/a.bin")
        self.assertEqual(
            self.problems(check_sizes.check_bytes, {"tests/golden/a": "x" * (1 << 21)}), [])
        self.finds(check_sizes.check_bytes, {"tests/golden/a": "x" * ((10 << 20) + 1)}, "golden")

    def test_long_functions(self):
        check = check_sizes.check_functions
        for head in ("void f(int a) {\n", "namespace n {\nResult<T> A::f(int a,\n    int b) {\n",
                     "struct S {\n  S() : a_{1}, b_(2) {\n", "TEST_F(Suite, Name) {\n",
                     "class S : public B<int> {\n public:\n  ~S() override {\n"):
            tail = "}\n" * head.count("{\n")
            found = self.problems(check, {"src/vk/a.cpp": head + LONG_BODY + tail})
            self.assertEqual(len(found), 1, (head, found))
        cases = "".join(f"    case {i}: return {i};\n" for i in range(90))
        self.assertEqual(self.problems(check, {
            "src/vk/a.cpp": "const int t[] = {\n" + "  f(1),\n" * 90 + "};\n",
            "src/vk/b.cpp": "int f(int a) {\n  switch (a) {\n" + cases + "  }\n}\n",
            "src/vk/c.cpp": "int f() { return 1; }\n" * 90,
            "src/vk/d.cpp": 'int f() { return g("{"); }  // {\n' + "int x = 1;\n" * 90}), [])

    def test_catalogue(self):
        check = check_catalogue.check_catalogue
        self.finds(check, {"shaders/README.md": "| `norm` | |\n| `a` | `norm.comp` |\n",
                           "tests/kernels/a_test.cpp": ""}, "no src/kernels/a.cpp")
        self.finds(check, {"tests/kernels/norm_test.cpp": None}, "norm_test.cpp")
        self.finds(check, {"shaders/b.comp": ""}, "shaders/b.comp: no row")
        self.finds(check, {"shaders/norm.comp": None}, "has no shaders/norm.comp")
        self.finds(check, {"shaders/README.md": "| `norm` | `gone.comp` |\n"}, "names gone.comp")
        self.finds(check, {"src/kernels/a.cpp": "const KernelDesc kA = {};\n"}, "no row")
        self.assertEqual(self.problems(check, {
            "shaders/b.comp": "", "shaders/README.md": "| `norm` | and `b.comp` |\n"}), [])
        self.assertEqual(self.problems(check, {
            "shaders/b.comp": "", "shaders/README.md": "| norm | |\n| b | part of `norm`: x |\n"}),
            [])
        self.finds(check, {"shaders/b.comp": "", "tests/kernels/a_test.cpp": "",
                           "shaders/README.md": "| norm | |\n| b | part of `a` |\n"},
                   "no src/kernels/a.cpp")
        self.finds(check_catalogue.check_manifest, {"shaders/b.comp": ""}, "does not build it")
        self.finds(check_catalogue.check_manifest,
                   {"shaders/manifest.cmake": "kimberlite_module(norm SOURCE norm.comp)\n"
                                              "kimberlite_module(a SOURCE a.comp)\n"}, "a.comp")

    def test_prebuilt(self):
        check, folder = check_prebuilt.check_prebuilt, "shaders/prebuilt/"
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "shaders/common"))
            for name, text in (("a.comp", '#include "common/a.glsl"'), ("common/a.glsl", "x"),
                               ("manifest.cmake", "kimberlite_prebuilt(a SOURCE a.comp)")):
                with open(os.path.join(root, "shaders", name), "w", encoding="utf-8") as file:
                    file.write(text)
            sources = check_prebuilt.prebuild.digest_sources(root, "a.comp", [])
        tree = {"shaders/a.comp": '#include "common/a.glsl"', "shaders/common/a.glsl": "x",
                "shaders/manifest.cmake": "kimberlite_prebuilt(a SOURCE a.comp)",
                folder + "a.spv": "spirv", folder + "prebuilt.json": json.dumps({"modules": {"a": {
                    "sources": sources, "spirv": hashlib.sha256(b"spirv").hexdigest()}}})}
        self.assertEqual(self.problems(check, tree), [])
        self.finds(check, {**tree, "shaders/common/a.glsl": "y"}, "a.spv: sources")
        self.finds(check, {**tree, folder + "a.spv": "other"}, "a.spv: spirv")
        self.finds(check, {**tree, folder + "a.spv": None}, "is missing")
        self.finds(check, {**tree, folder + "b.spv": ""}, "b.spv: shaders/manifest.cmake has no")
        self.finds(check, {**tree, "shaders/manifest.cmake":
                           "kimberlite_prebuilt(a SOURCE a.comp DEFINES B)"}, "a.spv: sources")

    def test_tree(self):
        check = check_tree.check_top_level
        self.finds(check, {"docs/a.md": ""}, "docs/")
        self.finds(check, {"NOTES.md": ""}, "NOTES.md")
        self.finds(check, {"vcpkg.json": None}, "vcpkg.json: file is missing")
        self.finds(check_tree.check_documents, {"README.md": "`tools/gone.sh`"}, "tools/gone.sh")
        self.finds(check_tree.check_documents, {"src/media/a.cpp": ""}, "`src/media`")
        for path in ("work", "home", "root"):
            self.finds(check_tree.check_machine_paths, {"src/a.txt": f"x\n= /{path}/me\n"}, ":2:")


if __name__ == "__main__":
    unittest.main()
