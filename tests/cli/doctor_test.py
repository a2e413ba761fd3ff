"""The self-test of a driver: what it says, what it remembers, what it keeps to itself."""

import json
import os
import pathlib
import re
import unittest

import cli_test


# Folders for what Kimberlite remembers are new for each test; Mesa's compiled shaders stay where
# the whole entry has them, or every test would wait for the compiler.
MESA = {"MESA_SHADER_CACHE_DIR": os.environ.get("XDG_CACHE_HOME", "")}


class Doctor(cli_test.CliTest):
    def examine(self, *arguments, code=0, env=None):
        done = cli_test.run("doctor", *arguments, env=env)
        self.assertEqual(done.returncode, code, done.stderr.decode(errors="replace"))
        return done.stdout.decode()

    def test_report(self):
        """Of what most models use: on a CPU driver the longest that it gets."""
        env = {**MESA, "XDG_CACHE_HOME": str(self.folder / "home" / "cache")}
        found = json.loads(self.examine("--json", env=env))
        self.assertTrue(found["healthy"])
        self.assertTrue(found["remembered"])
        self.assertEqual(found["switched_off"], [])
        names = [check["name"] for check in found["checks"]]
        self.assertEqual(len(names), len(set(names)))
        for kernel in ("matvec_q4_0", "matvec_f32", "matvec_bf16", "matvec_f16", "matvec_q8_0",
                       "matvec_q4_k", "matvec_q6_k", "matmul_q4_0", "experts matvec_q6_k",
                       "gated matvec_f16", "embed_q6_k", "sample", "sample_draft", "rms_norm"):
            self.assertIn(kernel, names)
        for head_dim in (256, 512):
            self.assertTrue(any(f" of {head_dim} window" in name for name in names), names)
        self.assertTrue(all(check["passed"] for check in found["checks"]))
        self.assertGreater(sum(check["seconds"] for check in found["checks"]), 0)
        self.assertGreater(found["copy_gb_per_second"], 0)
        self.assertGreater(found["matrix_gmac_per_second"]["f32"], 0)
        self.assertEqual([d["chosen"] for d in found["ranking"]].count(True), 1)
        self.assertTrue(found["device"]["heaps"])
        devices = self.ok_json("devices", "--json")
        self.assertEqual(found["device"]["uuid"], next(d for d in devices if d["chosen"])["uuid"])

    def test_text_names_no_folder(self):
        env = {**MESA, "XDG_CACHE_HOME": str(self.folder / "cache"), "HOME": str(self.folder)}
        text = self.examine(self.model, "-v", env=env)
        for part in ("All is well.", "tiny.gguf", "### Device", "copies: ", "| heap |",
                     "best first", "(checked here)", "multiply-accumulates, f32: ", "| rms_norm |"):
            self.assertIn(part, text)
        passed, total = re.search(r"(\d+) of (\d+) checks passed", text).groups()
        self.assertEqual(passed, total)
        self.assertNotIn(str(self.folder), text)
        self.assertNotIn(str(pathlib.Path.home()), text)

    def test_what_was_switched_off_stays_off_until_it_is_forgotten(self):
        cache = self.folder / "remembered"
        env = {**MESA, "XDG_CACHE_HOME": str(cache)}
        self.examine(self.model, env=env)
        file, = (cache / "kimberlite").glob("probe-*.json")
        remembered = json.loads(file.read_text())
        remembered["disabled"] = ["rms_norm:workgroup"]
        remembered["warnings"] = ["kernel rms_norm variant workgroup: \x1b[1mwrong"]
        remembered["checked"].append("of another model")
        file.write_text(json.dumps(remembered))
        text = self.examine(self.model, code=3, env=env)
        self.assertIn("gets something wrong", text)
        self.assertIn("- kernel rms_norm variant workgroup: \\x1b[1mwrong", text)
        after = json.loads(file.read_text())
        self.assertEqual(after["disabled"], ["rms_norm:workgroup"])
        self.assertIn("of another model", after["checked"])
        self.assertIn("All is well.", self.examine(self.model, "--fresh", env=env))
        after = json.loads(file.read_text())
        self.assertEqual(after["disabled"], [])
        self.assertNotIn("of another model", after["checked"])
        self.assertEqual(self.ok_json("run", self.model, "Hi", "-n", 1, "--json",
                                      env=env)["warnings"], [])

    def test_no_place_to_remember(self):
        env = {**MESA, "XDG_CACHE_HOME": "", "HOME": ""}
        self.assertFalse(json.loads(self.examine(self.model, "--json", env=env))["remembered"])

    def test_no_device(self):
        nothing = {"VK_ICD_FILENAMES": "/nonexistent", "VK_DRIVER_FILES": "/nonexistent"}
        self.fails(3, "doctor", env=nothing, says=["Vulkan"])
        self.fails(1, "doctor", "--device", "no such card", says=["no such card"])
        self.fails(2, "doctor", self.folder / "nowhere.gguf", says=["nowhere.gguf"])

    @unittest.skipUnless("NO_LOADER" in os.environ, "only where a library can be preloaded")
    def test_no_loader(self):
        self.fails(3, "doctor", env={"LD_PRELOAD": os.environ.get("NO_LOADER")},
                   says=["no Vulkan loader"])

    def test_bench_has_both_shares(self):
        out = self.ok_json("bench", self.model, "-p", 64, "-n", 4, "-r", 2, "--json")
        prompt, answer = out["rows"]
        self.assertNotIn("share_of_copy_bandwidth", prompt)
        self.assertNotIn("share_of_matrix_rate", answer)
        self.assertGreater(answer["share_of_copy_bandwidth"], 0)
        # One class of arithmetic: the share is the rate of one over that of the other.
        measured, = out["device"]["matrix_gmac_per_second"].values()
        self.assertAlmostEqual(prompt["share_of_matrix_rate"],
                               prompt["gmac_per_second"] / measured, places=6)
        self.assertGreater(prompt["share_of_matrix_rate"], 0)
        self.assertLess(prompt["share_of_matrix_rate"], 1)
        # No layer's matrices have more weights than the file; a position multiplies each once.
        per_token = prompt["gmac_per_second"] * 1e9 / prompt["best_tokens_per_second"]
        self.assertLess(per_token, out["model"]["parameters"])
        self.assertGreater(per_token, out["model"]["parameters"] / 4)
        text = self.ok("bench", self.model, "-p", 8, "-n", 2, "-r", 1).decode()
        self.assertRegex(text, r"\| pp8 \|.*\| \| \| [\d.]+ \| \d+ % \|")
        self.assertRegex(text, r"\| tg2 \|.*\| [\d.]+ \| \d+ % \| \| \|")


if __name__ == "__main__":
    unittest.main(verbosity=2)
