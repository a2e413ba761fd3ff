"""Without a model the program is Pebble; with Pebble's drafter it says the same, sooner."""

import shutil
import unittest

import cli_test

MODEL = cli_test.SOURCE / "tools" / "pebble" / "model"


class Pebble(cli_test.CliTest):
    def test_no_model_is_pebble(self):
        process = cli_test.run("run", "-p", "What is 12 + 7?", "--temp", 0)
        self.assertEqual((process.returncode, process.stdout), (0, b"19\n"))
        self.assertIn(b"Pebble, a tiny demonstration model", process.stderr)
        shown = self.ok_json("show", "--json")
        self.assertEqual(shown["name"], "Pebble")
        self.assertIn("comes with Kimberlite to show", shown["description"])

    def test_drafts_change_nothing(self):
        ask = ["eval", "generate", "--tokens", "2,105,108", "-n", 96, "--ignore-end", "--json"]
        for sampling in (["--temp", 0], ["--temp", 1, "--seed", 7]):
            alone = self.ok_json(*ask, *sampling, "--no-mtp")
            self.assertEqual(alone["mtp"]["drafter"], "")
            self.assertIn("turned off", alone["mtp"]["reason"])
            for drafts in ([], ["--spec-draft-n", 3], ["--spec-draft-n-max", 2]):
                drafted = self.ok_json(*ask, *sampling, *drafts)
                self.assertEqual(drafted["tokens"], alone["tokens"], drafts)
                self.assertTrue(drafted["mtp"]["drafter"].endswith("mtp-pebble-Q8_0.gguf"))
        self.assertGreater(drafted["mtp"]["accepted"], 0)

    def test_show_names_the_drafter(self):
        text = self.ok("show").decode()
        self.assertRegex(text, r"MTP +on, drafts by .*mtp-pebble-Q8_0\.gguf\n")
        shown = self.ok_json("show", "--json")
        self.assertIn("mtp-pebble-Q8_0.gguf", shown["drafter"])
        self.assertEqual(shown["no_drafter"], "")
        alone = self.ok_json("show", self.model, "--json")
        self.assertEqual(alone["drafter"], "")
        self.assertNotEqual(alone["no_drafter"], "")

    def test_which_drafter(self):
        lone = self.folder / "lone.gguf"
        shutil.copy(MODEL / "pebble-Q8_0.gguf", lone)
        ask = ["run", lone, "--temp", 0, "-n", 8, "Hello"]
        stderr = cli_test.run(*ask, "-v").stderr.decode()
        self.assertIn("MTP off: no drafter lies beside the model", stderr)
        stderr = cli_test.run(*ask, "-v", "-md", MODEL / "mtp-pebble-Q8_0.gguf").stderr.decode()
        self.assertIn("MTP on (k=", stderr)
        self.fails(2, *ask, "-md", lone, says=["lone.gguf", "gemma4-assistant"])
        self.fails(1, "run", self.model, "-md", MODEL / "mtp-pebble-Q8_0.gguf", "Hello",
                   says=["mtp-pebble-Q8_0.gguf", "192"])
        self.fails(1, *ask, "--spec-draft-n", 8, says=["--spec-draft-n"])


if __name__ == "__main__":
    unittest.main()
