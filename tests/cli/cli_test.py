"""The command line as users meet it: every command once, every error with its exit code.

Runs against the programs named by KIMBERLITE, MAKE_MODEL and README_EXAMPLE, on the Vulkan driver
that VK_ICD_FILENAMES selects.
"""

import json
import math
import os
import pathlib
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

KIMBERLITE = os.environ["KIMBERLITE"]
SOURCE = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT = 300


def run(*arguments, stdin=b"", env=None):
    """The finished process; stdin is empty unless given, never a terminal."""
    return subprocess.run([KIMBERLITE, *map(str, arguments)], input=stdin, capture_output=True,
                          timeout=TIMEOUT, env={**os.environ, **(env or {})})


class CliTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="kimberlite-cli-"))
        cls.model = cls.folder / "tiny.gguf"
        subprocess.run([os.environ["MAKE_MODEL"], "--shape", "tiny12", "--type", "f32", "--seed",
                        "13", str(cls.model)], check=True, capture_output=True)
        cls.model_bytes = cls.model.read_bytes()

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def changed(self, name, change):
        """A copy of the model whose bytes went through `change`."""
        path = self.folder / name
        path.write_bytes(change(self.model_bytes))
        return path

    def ok(self, *arguments, **options):
        done = run(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done.stdout

    def ok_json(self, *arguments, **options):
        return json.loads(self.ok(*arguments, **options))

    def fails(self, code, *arguments, says=(), **options):
        """Exit code `code`, nothing on stdout, one line on stderr that has every text of `says`."""
        done = run(*arguments, **options)
        errors = done.stderr.decode(errors="replace")
        self.assertEqual(done.returncode, code, errors)
        self.assertEqual(done.stdout, b"")
        self.assertTrue(errors.startswith("kimberlite: "), errors)
        self.assertEqual(errors.count("\n"), 1, errors)
        for text in says:
            self.assertIn(str(text), errors)


class Run(CliTest):
    def test_answer_goes_to_stdout_alone(self):
        done = run("run", self.model, "Hello", "-n", 8, "--temp", 0)
        self.assertEqual(done.returncode, 0)
        self.assertNotEqual(done.stdout.strip(), b"")
        self.assertEqual(done.stderr, b"")

    def test_prompt_sources_agree(self):
        path = self.folder / "prompt.txt"
        path.write_text("Hello there\n")
        rest = ["-n", 6, "--seed", 7, "--json"]
        expected = self.ok_json("run", self.model, "Hello", "there", *rest)["tokens"]
        self.assertEqual(len(expected), 6)
        for given in (["-p", "Hello there"], ["-f", path]):
            self.assertEqual(self.ok_json("run", "-m", self.model, *given, *rest)["tokens"],
                             expected)
        piped = self.ok_json("run", self.model, *rest, stdin=b"Hello there\n")
        self.assertEqual(piped["tokens"], expected)

    def test_json(self):
        out = self.ok_json("run", self.model, "Hi", "-n", 3, "--seed", 5, "--json")
        self.assertEqual(list(out), ["text", "tokens", "reason", "seed", "timings", "mtp",
                                     "warnings"])
        self.assertEqual((len(out["tokens"]), out["reason"], out["seed"]), (3, "max_tokens", 5))
        for key in ("load_seconds", "prompt_seconds", "first_token_seconds", "generated_seconds"):
            self.assertGreater(out["timings"][key], 0)

    def test_options_of_llama_cpp(self):
        done = run("run", self.model, "Hi", "-n", 2, "-c", "4k", "-ngl", "all", "-dev", 0, "-ctk",
                   "q8_0", "-sys", "Be brief.", "--top-k", 40, "--top-p", 0.9, "--min-p", 0.05,
                   "--repeat-penalty", 1.1, "--presence-penalty", 0.1, "--frequency-penalty", 0.1,
                   "-v")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"context of 4096 positions", done.stderr)
        self.assertIn(b"7 of 7 layers", done.stderr)
        self.assertIn(b"tokens/s", done.stderr)

    def test_any_bytes_are_a_prompt(self):
        out = self.ok_json("run", self.model, "-n", 2, "--json", stdin=b"caf\xff\x00\xe2\x96")
        self.assertEqual(len(out["tokens"]), 2)

    def test_precise_and_validation(self):
        done = run("run", self.model, "Hi", "-n", 2, "--precise", "--validation")
        if b"kimberlite: " in done.stderr and b"VK_LAYER" in done.stderr:
            self.skipTest("the validation layer is not installed")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"validation: 0 messages", done.stderr)

    def test_timing_kernels_changes_no_token_and_is_remembered(self):
        cache = self.folder / "timed"
        env = {"XDG_CACHE_HOME": str(cache)}
        ask = ("run", self.model, "Hi", "-n", 4, "--temp", 0, "--json")
        plain = self.ok_json(*ask, "--no-autotune", env=env)
        self.assertEqual(list(cache.rglob("tuning-*.json")), [])
        timed = self.ok_json(*ask, "--autotune", env=env)
        self.assertEqual(timed["tokens"], plain["tokens"])
        file, = cache.rglob("tuning-*.json")
        known = file.read_bytes()
        self.assertEqual(self.ok_json(*ask, "--autotune", env=env)["tokens"], plain["tokens"])
        self.assertEqual(file.read_bytes(), known)

    def test_no_turn_tokens(self):
        path = self.changed("plain.gguf", lambda b: b.replace(b"<|turn>", b"<|tuxn>"))
        done = run("run", path, "Hi", "-n", 2, "--temp", 0)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"no turn tokens", done.stderr)
        self.assertEqual(done.stdout, self.ok("run", path, "Hi", "-n", 2, "--temp", 0, "--raw"))



class Terminal(CliTest):
    """The program on a pseudo-terminal."""

    ARGUMENTS = []

    def setUp(self):
        import pty
        self.terminal, inside = pty.openpty()
        self.process = subprocess.Popen([KIMBERLITE, *map(str, self.ARGUMENTS)], stdin=inside,
                                        stdout=inside, stderr=inside, start_new_session=True,
                                        env={**os.environ, "TERM": "dumb"})
        os.close(inside)
        self.seen = b""

    def tearDown(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.terminal)

    def expect(self, text):
        """Reads until `text` has come; what came before it and it are forgotten."""
        deadline = time.time() + 120
        while text not in self.seen:
            self.assertLess(time.time(), deadline, (text, self.seen))
            if select.select([self.terminal], [], [], 1)[0]:
                self.seen += os.read(self.terminal, 4096)
        before, self.seen = self.seen.split(text, 1)
        return before

    def type(self, text):
        os.write(self.terminal, text)

    def wait_for_reply(self):
        """Until the model has written something: not the progress of reading, not white space."""
        while not re.sub(rb"reading the prompt +\d+ %|\s", b"", self.seen):
            self.seen += os.read(self.terminal, 4096)


@unittest.skipIf(os.name == "nt", "needs a pseudo-terminal")
class Chat(Terminal):
    def setUp(self):
        self.ARGUMENTS = ["run", self.model, "--temp", 0, "-n", 4, "-c", "4k"]
        super().setUp()

    def test_turns_commands_and_end(self):
        self.expect(b">>> ")
        self.type(b"Hello\n")
        self.expect(b">>> ")
        self.type(b"/stats\n")
        self.expect(b"answer: 4 tokens")
        self.type(b"/set temperature 9999\n")
        self.expect(b"expected 0 to 1000")
        self.type(b"/set predict 3\n")
        self.type(b'"""two\nlines"""\n')
        self.expect(b"... ")
        self.expect(b">>> ")
        self.type(b"/stats\n")
        stats = self.expect(b"answer: 3 tokens")
        self.assertNotIn(b"(0 cached)", stats)  # the second turn keeps the first
        self.type(b"/nonsense\n")
        self.expect(b"no command is called")
        self.type(b"/system Be brief.\n/clear\n/?\n")
        self.expect(b"/bye")
        self.expect(b">>> ")
        time.sleep(1)  # before the line editor reads, the key means nothing
        self.type(b"\x04")
        self.assertEqual(self.process.wait(timeout=60), 0)

    def test_interrupt_stops_the_reply_alone(self):
        self.expect(b">>> ")
        self.type(b"/set predict 0\n")
        self.expect(b">>> ")
        time.sleep(1)  # what is typed before the line editor reads is echoed twice
        self.type(b"Hi\n")
        self.expect(b"Hi\r\n")
        self.wait_for_reply()
        self.process.send_signal(signal.SIGINT)
        self.expect(b">>> ")
        self.type(b"/stats\n")
        self.expect(b"stopped by cancelled")
        self.expect(b">>> ")
        self.process.send_signal(signal.SIGINT)
        self.expect(b"Ctrl-D or /bye leaves")
        self.type(b"/bye\n")
        self.assertEqual(self.process.wait(timeout=60), 0)


class Files(CliTest):
    def test_show(self):
        text = self.ok("show", self.model, "--metadata", "--tensors").decode()
        for part in ("gemma4", "runs here     yes", "token_embd.weight", "[517, 96]",
                     "gemma4.block_count"):
            self.assertIn(part, text)
        out = self.ok_json("show", self.model, "--json", "--tensors", "--metadata")
        self.assertTrue(out["supported"])
        self.assertEqual(out["tensor_count"], len(out["tensors"]))
        self.assertEqual(sum(t["bytes"] for t in out["tensors"]), out["bytes"])
        self.assertIn("string[517]", {m["type"] for m in out["metadata"]})

    def test_show_says_why_not(self):
        path = self.changed("other.gguf", lambda b: b.replace(b"gemma4", b"gemma9", 1))
        self.assertIn(b"expected 'gemma4'", self.ok("show", path))
        self.fails(2, "run", path, "Hi", says=["gemma9", "gemma4"])

    def test_show_is_safe_for_terminals(self):
        path = self.changed("escape.gguf", lambda b: b.replace(b"synthetic", b"syn\x1b[31mc"))
        self.assertNotIn(b"\x1b", self.ok("show", path, "--metadata"))

    def test_tokenize(self):
        text = "Hello <|turn> w\u00f6rld"
        plain = json.loads(self.ok("tokenize", self.model, text, "--ids"))
        self.assertEqual(plain[0], 2)
        self.assertEqual(json.loads(self.ok("tokenize", self.model, "--ids",
                                            stdin=text.encode())), plain)
        self.assertEqual(json.loads(self.ok("tokenize", self.model, text, "--ids", "--no-bos")),
                         plain[1:])
        special = self.ok_json("tokenize", self.model, text, "--special", "--json")["tokens"]
        self.assertIn("<|turn>", [t["piece"] for t in special])
        self.assertLess(len(special), len(plain))

    def test_broken_files(self):
        self.fails(2, "run", self.folder / "nowhere.gguf", "Hi", says=["nowhere.gguf"])
        self.fails(2, "run", self.folder, "Hi", says=[self.folder, "not a regular file"])
        text = self.folder / "text.gguf"
        text.write_text("this is no model")
        self.fails(2, "show", text, says=["text.gguf", "GGUF"])
        empty = self.folder / "empty.gguf"
        empty.write_bytes(b"")
        self.fails(2, "tokenize", empty, "Hi", says=["empty.gguf"])
        for n_bytes in (4, 100, 5000, len(self.model_bytes) - 1):
            path = self.changed("cut.gguf", lambda b: b[:n_bytes])
            self.fails(2, "run", path, "Hi", says=["cut.gguf"])
        path = self.changed("counts.gguf", lambda b: b[:8] + b"\xff" * 16 + b[24:])
        self.fails(2, "run", path, "Hi", says=["counts.gguf"])


class Devices(CliTest):
    def test_list(self):
        devices = self.ok_json("devices", "--json")
        self.assertEqual([d["chosen"] for d in devices].count(True), 1)
        self.assertTrue(devices[0]["usable"])
        text = self.ok("devices").decode()
        self.assertIn(devices[0]["uuid"], text)
        snapshots = self.ok_json("devices", "--snapshot")
        self.assertEqual(snapshots[0]["name"], devices[0]["name"])

    def test_unknown_device(self):
        self.fails(1, "devices", "--device", "no such card", says=["no such card"])
        self.fails(1, "run", self.model, "Hi", "-dev", "no such card", says=["no such card"])

    def test_no_driver(self):
        env = {"VK_ICD_FILENAMES": "/nonexistent", "VK_DRIVER_FILES": "/nonexistent"}
        self.fails(3, "devices", env=env, says=["Vulkan"])
        self.fails(3, "run", self.model, "Hi", env=env, says=["Vulkan"])
        self.assertNotEqual(self.ok("show", self.model, env=env), b"")
        self.assertNotEqual(self.ok("tokenize", self.model, "Hi", env=env), b"")

    def test_pipeline_cache(self):
        cache = self.folder / "cache"
        env = {"XDG_CACHE_HOME": str(cache)}
        generate = ["eval", "generate", self.model, "--tokens", "2,9", "-n", 2, "--temp", 0]
        first = self.ok(*generate, env=env)
        files = list((cache / "kimberlite").glob("pipelines-*.bin"))
        self.assertEqual(len(files), 1)
        files[0].write_bytes(b"damaged")
        self.assertEqual(self.ok(*generate, env=env), first)
        self.assertGreater(files[0].stat().st_size, 100)
        # No place for a cache costs time, not the run; empty counts as unset.
        nowhere = {"XDG_CACHE_HOME": "", "HOME": ""}
        self.assertEqual(self.ok(*generate, env=nowhere), first)


    def test_warnings(self):
        """What the probe found is named at each start, here by way of its file."""
        cache = self.folder / "warned"
        env = {"XDG_CACHE_HOME": str(cache)}
        hi = ["run", self.model, "Hi", "-n", 1]
        self.assertEqual(self.ok_json(*hi, "--json", env=env)["warnings"], [])
        file, = (cache / "kimberlite").glob("probe-*.json")
        found = json.loads(file.read_text())
        found["warnings"] = ["kernel matvec variant x: wrong", "kernel geglu variant y: \x1b[1m"]
        file.write_text(json.dumps(found))
        done = run(*hi, env=env)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stderr.decode().splitlines(),
                         ["warning: kernel matvec variant x: wrong",
                          "warning: kernel geglu variant y: \\x1b[1m"])
        self.assertEqual(self.ok_json(*hi, "--json", env=env)["warnings"], found["warnings"])
        bench = self.ok_json("bench", self.model, "-p", 8, "-n", 2, "-r", 1, "--json", env=env)
        self.assertEqual(bench["device"]["warnings"], found["warnings"])

    @unittest.skipUnless("NO_LOADER" in os.environ, "only where a library can be preloaded")
    def test_no_loader(self):
        env = {"LD_PRELOAD": os.environ.get("NO_LOADER")}
        for arguments in (["devices"], ["run", self.model, "Hi"], ["bench", self.model]):
            self.fails(3, *arguments, env=env, says=["no Vulkan loader", "libvulkan.so.1"])
        self.assertNotEqual(self.ok("show", self.model, env=env), b"")


class Usage(CliTest):
    def test_help_and_version(self):
        self.assertRegex(self.ok("--version").decode(), r"^kimberlite \d+\.\d+\.\d+\n$")
        for command in ([], ["run"], ["show"], ["tokenize"], ["devices"], ["doctor"], ["convert"], ["quantize"], ["bench"],
                        ["eval"], ["eval", "kl"]):
            text = self.ok(*command, "--help").decode()
            self.assertLessEqual(text.count("\n"), 45, command)

    def test_usage_errors(self):
        hi = ["run", self.model, "Hi"]
        self.fails(1, says=["--help"])
        self.fails(1, "jump", says=["'jump' is no command", "--help"])
        self.fails(1, "bnech", self.model, says=["'bnech' is no command", "did you mean bench?"])
        self.fails(1, "eval", "klx", says=["'klx' is no command of eval", "did you mean kl?"])
        self.fails(1, "run", self.model, "Hi", "--tmp", 3, says=["--tmp", "did you mean --temp?"])
        self.fails(1, "eval", "logits", self.model, "--tokns", 2, says=["did you mean --tokens?"])
        self.fails(1, "devices", "--jsn", says=["--jsn", "did you mean --json?"])
        self.fails(1, "show", self.model, "twice", says=["'twice'", "too many"])
        self.fails(1, "run", says=["the prompt", "empty"])
        self.fails(1, *hi, "-n", 0, says=["'0'", "positive"])
        self.fails(1, *hi, "--temp", -1, says=["--temp", "-1"])
        self.fails(1, *hi, "--top-p", 1.5, says=["--top-p", "1.5"])
        self.fails(1, *hi, "-c", "64x", says=["64x"])
        self.fails(1, *hi, "-ngl", "many", says=["many"])
        self.fails(1, *hi, "-ngl", 99, says=["99", "7"])
        self.fails(1, *hi, "-ctk", "q5", says=["q5"])
        self.fails(1, *hi, "-p", "again", says=["-p"])
        self.fails(1, "run", self.model, "-f", self.folder / "no.txt", says=["no.txt"])
        self.fails(1, "run", self.model, says=["stdin", "empty"])
        self.fails(1, "bench", self.model, "--kernel", "matvec", says=["either MODEL or --kernel"])
        self.fails(1, "eval", "generate", self.model, says=["--tokens"])
        self.fails(1, "eval", "generate", self.model, "--tokens", "2,x", says=["2,x"])

    def test_make_model_refuses_for_a_projector_what_models_have(self):
        path = self.folder / "mmproj.gguf"
        make = [os.environ["MAKE_MODEL"], "--shape", "tiny12-projector", str(path)]
        for option in (["--hollow"], ["--layers", "2"], ["--vocab", "600"], ["--split-experts"],
                       ["--embedding-type", "f16"]):
            done = subprocess.run([*make, *option], capture_output=True, timeout=TIMEOUT)
            self.assertEqual(done.returncode, 1, option)
            self.assertEqual(done.stderr.decode(),
                             f"kimberlite-make-model: {option[0]}: not for projectors\n")
        self.assertFalse(path.exists())
        subprocess.run([*make, "--type", "f16", "--seed", "3"], check=True, timeout=TIMEOUT)

    def test_prompt_longer_than_the_context(self):
        path = self.folder / "long.txt"
        path.write_text("word and more " * 20000)
        self.fails(1, "run", self.model, "-f", path, "-c", "4k", says=["tokens", "4096"])
        self.fails(1, "run", self.model, "-f", self.folder, says=[self.folder, "cannot read"])

    def test_context_too_small(self):
        self.fails(1, "run", self.model, "one two three four five six", "-c", 16, says=["16"])

    def test_context_beyond_the_model(self):
        self.fails(4, "run", self.model, "Hi", "-c", "300k", says=["307200", "262144"])


class Measure(CliTest):
    def test_generate_is_deterministic(self):
        common = ["eval", "generate", self.model, "--tokens", "2,300,17", "-n", 12]
        greedy = json.loads(self.ok(*common, "--temp", 0, "--ignore-end"))
        self.assertEqual(len(greedy), 12)
        seeded = [json.loads(self.ok(*common, "--seed", 4)) for _ in range(2)]
        self.assertEqual(seeded[0], seeded[1])
        out = self.ok_json(*common, "--seed", 4, "--json")
        self.assertEqual(out["tokens"], seeded[0])
        self.fails(1, "eval", "generate", self.model, "--tokens", "2,517", says=["517"])

    def test_logits_and_perplexity_agree(self):
        ids = [2, 300, 17, 45]
        text = ",".join(map(str, ids))
        path = self.folder / "logits.bin"
        out = self.ok_json("eval", "logits", self.model, "--tokens", text, "--output", path,
                           "--json")
        self.assertEqual((out["n_tokens"], out["n_vocab"]), (4, 517))
        data = path.read_bytes()
        self.assertEqual(len(data), 4 * 517 * 4)
        nll = 0
        for i in range(3):
            row = struct.unpack_from("<517f", data, i * 517 * 4)
            top = max(row)
            nll += top + math.log(sum(math.exp(x - top) for x in row)) - row[ids[i + 1]]
        got = self.ok_json("eval", "perplexity", self.model, "--tokens", text, "--json")
        self.assertAlmostEqual(got["mean_nll"], nll / 3, places=5)
        self.assertAlmostEqual(got["perplexity"], math.exp(got["mean_nll"]), delta=1e-6 *
                               got["perplexity"])
        greedy = json.loads(self.ok("eval", "generate", self.model, "--tokens", text, "-n", 1,
                                    "--temp", 0))
        last = struct.unpack_from("<517f", data, 3 * 517 * 4)
        self.assertEqual(greedy[0], last.index(max(last)))

    def test_divergence(self):
        out = self.ok_json("eval", "kl", self.model, "--precise-vs-default", "--file", "-",
                           "--json", stdin="some words to read".encode())
        self.assertGreaterEqual(out["mean_kl"], 0)
        self.assertLess(out["mean_kl"], 0.01)
        self.assertGreaterEqual(out["max_kl"], out["mean_kl"])
        self.assertGreater(out["top1_agreement"], 0.9)

    def test_bench(self):
        out = self.ok_json("bench", "-m", self.model, "-p", "8,16", "-n", "4", "-r", "2", "-o",
                           "json", "--profile")
        self.assertEqual([r["test"] for r in out["rows"]], ["pp8", "pp16", "tg4"])
        for row in out["rows"]:
            self.assertGreater(row["tokens_per_second"], 0)
            self.assertGreaterEqual(row["best_tokens_per_second"], row["tokens_per_second"])
        self.assertGreater(out["rows"][2]["gb_per_second"], 0)
        self.assertGreater(out["device"]["copy_gb_per_second"], 0)
        self.assertEqual(out["counters"]["records_per_step"], 0)
        self.assertGreater(out["counters"]["dispatches_per_step"], 8)
        self.assertEqual(out["counters"]["dispatches_per_dense_layer"], 8)
        self.assertEqual(out["counters"]["dispatches_per_moe_layer"], 0)
        self.assertEqual(out["counters"]["allocations_per_step"], 0)
        self.assertEqual(out["counters"]["growths"], 0)
        self.assertGreater(len(out["profile"]), 10)
        lines = self.ok("bench", self.model, "-p", 8, "-n", 0, "-r", 1, "-o", "csv").decode()
        self.assertEqual([line.split(",")[0] for line in lines.split()], ["test", "pp8"])

    def test_columns(self):
        figures = self.ok_json("bench", self.model, "-p", 8, "-n", 2, "-r", 1, "--columns", "--json")
        self.assertEqual(len(figures["column_seconds"]), 8)
        self.assertGreater(min(figures["column_seconds"]), 0)
        text = self.ok("bench", self.model, "-p", 8, "-n", 2, "-r", 1, "--columns").decode()
        self.assertRegex(text, r"\| 1 \| [0-9.]+ \| 1.00 \|")

    def test_unknown_kernel(self):
        self.fails(1, "bench", "--kernel", "frobnicate", says=["frobnicate", "matvec"])


class Readme(CliTest):
    def test_example_is_the_one_in_the_readme(self):
        source = (SOURCE / "tests/api/readme_example.cpp").read_text()
        self.assertIn("```cpp\n" + source + "```\n", (SOURCE / "README.md").read_text())

    def test_example_runs(self):
        done = subprocess.run([os.environ["README_EXAMPLE"], str(self.model)], timeout=TIMEOUT,
                              capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout.decode(), r"\d+ tokens\n$")


if __name__ == "__main__":
    unittest.main(verbosity=2)
