"""quantize and show --verify as users meet them: from a model to one that runs, and every refusal."""

import json
import os
import signal
import struct
import subprocess
import time
import unittest

import cli_test

try:
    import resource
except ImportError:  # Windows
    resource = None


class Quantize(cli_test.CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = cls.folder / "k.gguf"
        cls.make(cls.source, "tiny12-k", "bf16")

    @staticmethod
    def make(path, shape, kind, *more):
        subprocess.run([os.environ["MAKE_MODEL"], "--shape", shape, "--type", kind, "--seed", "7",
                        *map(str, more), str(path)], check=True, capture_output=True)

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())

    def logits(self, model):
        path = self.folder / "logits.bin"
        self.ok("eval", "logits", model, "--tokens", "2,300,17", "--output", path)
        data = path.read_bytes()
        return struct.unpack(f"<{len(data) // 4}f", data)

    def test_every_preset_runs(self):
        expected = self.logits(self.source)
        scale = sum(x * x for x in expected)
        # Random weights forgive less than trained ones. About 1.5 times what is measured.
        for kind, allowed in [("f16", 0.001), ("Q8_0", 0.03), ("q6_k", 0.1), ("q5_k_m", 0.25),
                              ("q5_k_s", 0.25), ("q4_k_m", 0.5), ("q4_k_s", 0.5),
                              ("q3_k_m", 0.7), ("q2_k", 1.1), ("q5_0", 0.25), ("q5_1", 0.25),
                              ("q4_0", 0.5), ("q4_1", 0.5), ("iq4_nl", 0.5), ("iq4_xs", 0.5),
                              ("mxfp4", 0.65)]:
            with self.subTest(kind):
                out = self.folder / f"{kind}.gguf"
                report = self.ok_json("quantize", self.source, out, "--type", kind, "--json")
                shown = self.ok_json("show", out, "--json", "--verify")
                self.assertTrue(shown["supported"], shown["unsupported"])
                self.assertEqual(report["types"], shown["types"])
                self.assertEqual(report["bytes"], shown["bytes"])
                self.assertEqual(shown["verify"]["bad_numbers"], 0)
                got = self.logits(out)
                error = sum((a - b) ** 2 for a, b in zip(expected, got)) / scale
                self.assertLess(error ** 0.5, allowed)
                self.assertGreater(error, 0)
                out.unlink()

    def test_the_whole_family_runs(self):
        for shape in ("tiny-e2b", "tiny-e4b", "tiny26", "tiny31"):
            with self.subTest(shape):
                source = self.folder / "family.gguf"
                out = self.folder / "family-q4.gguf"
                self.make(source, shape, "f32")
                self.ok("quantize", source, out, "--type", "q4_k_m", "--force")
                self.assertEqual(len(self.logits(out)), len(self.logits(source)))

    def test_options(self):
        out = self.folder / "o.gguf"
        done = cli_test.run("quantize", self.source, out, "--type", "q4_k_m", "--embedding-type",
                            "Q4_0", "--threads", 1)
        self.assertEqual((done.returncode, done.stdout), (0, b""))
        self.assertIn(b"o.gguf: ", done.stderr)
        tensors = self.ok_json("show", out, "--json", "--tensors")["tensors"]
        self.assertEqual(tensors[0]["type"], "q4_0")
        self.fails(1, "quantize", self.source, out, "--type", "q4_0",
                   says=["exists already", "--force"])
        self.ok("quantize", self.source, out, "--type", "q4_0", "--force")

    def test_refusals(self):
        out = self.folder / "refused.gguf"
        before = self.names()
        self.fails(1, "quantize", self.source, out, says=["--type"])
        self.fails(1, "quantize", self.source, out, "--type", "q9_z", says=["q9_z", "q4_k_m"])
        self.fails(1, "quantize", self.source, out, "--type", "q4_km",
                   says=["q4_km", "did you mean q4_k_m?"])
        self.fails(1, "quantize", self.source, out, "--type", "q4_0", "--embedding-type", "q9_z",
                   says=["q9_z"])
        self.fails(1, "quantize", self.source, out, "--type", "q4_0", "--embedding-type",
                   "iq2_xxs", says=["iq2_xxs"])
        self.fails(1, "quantize", self.source, out, "--type", "q4_0", "--threads", 0, says=["0"])
        self.fails(1, "quantize", self.source, self.source, "--type", "q4_0", "--force",
                   says=["input"])
        self.fails(2, "quantize", self.folder / "nowhere.gguf", out, "--type", "q4_0",
                   says=["nowhere.gguf"])
        self.fails(2, "quantize", self.source, self.folder / "no" / "out.gguf", "--type", "q4_0",
                   says=["out.gguf.partial", "cannot create: No such file"])
        (self.folder / "taken").mkdir()
        self.fails(1, "quantize", self.source, self.folder / "taken", "--type", "q4_0", "--force",
                   says=["taken", "not a regular file"])
        self.fails(1, "quantize", self.source, "", "--type", "q4_0", says=["no name"])
        for name, text in (("picture.png", b"\x89PNG\r\n\x1a\n"), ("empty.gguf", b""),
                           ("words.txt", b"no model at all")):
            (self.folder / name).write_bytes(text)
            self.fails(2, "quantize", self.folder / name, out, "--type", "q4_0", says=[name])
        self.fails(2, "quantize", self.folder, out, "--type", "q4_0",
                   says=[self.folder, "not a regular file"])
        cut = self.changed("cut.gguf", lambda b: b[:-1])
        self.fails(2, "quantize", cut, out, "--type", "q4_0", says=["cut.gguf"])
        qat = self.folder / "qat.gguf"
        self.make(qat, "tiny12-k", "q4_0")
        self.fails(2, "quantize", qat, out, "--type", "q4_k_m", says=["q4_0", "twice"])
        self.fails(2, "quantize", qat, out, "--type", "q4_0", says=["--embedding-type q4_0"])
        self.assertEqual(self.names(), sorted(before + [
            "cut.gguf", "empty.gguf", "picture.png", "qat.gguf", "taken", "words.txt"]))
        self.ok("quantize", qat, out, "--type", "q4_0", "--embedding-type", "q4_0")
        self.assertEqual(qat.read_bytes(), out.read_bytes())

    def test_other_names_are_no_misspellings(self):
        done = cli_test.run("quantize", self.folder / "nowhere.gguf", self.folder / "never.gguf",
                            "--type", "q4_k")
        self.assertEqual(done.returncode, 2)
        self.assertNotIn(b"did you mean", done.stderr)

    @unittest.skipIf(resource is None, "needs a limit on the size of files")
    def test_full_disk(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))

        before = self.names()
        done = subprocess.run([cli_test.KIMBERLITE, "quantize", self.source,
                               self.folder / "full.gguf", "--type", "q8_0"], preexec_fn=limit,
                              capture_output=True, timeout=cli_test.TIMEOUT)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"is the disk full?", done.stderr)
        self.assertEqual(self.names(), before)

    def test_interrupt(self):
        source = self.folder / "large.gguf"
        self.make(source, "tiny12-k", "bf16", "--vocab", 120000)
        before = self.names()
        process = subprocess.Popen([cli_test.KIMBERLITE, "quantize", source,
                                    self.folder / "stopped.gguf", "--type", "iq4_nl",
                                    "--embedding-type", "iq4_nl", "--threads", "1"],
                                   stderr=subprocess.PIPE)
        partial = self.folder / "stopped.gguf.partial"
        deadline = time.time() + 60
        while not partial.exists() and process.poll() is None and time.time() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 130, errors)
        self.assertEqual(self.names(), before)


class Verify(cli_test.CliTest):
    def planted(self, name, numbers):
        """The model with float32 `numbers` {(tensor, element): value}, and their offsets."""
        data = bytearray(self.model_bytes)
        offsets = []
        for (tensor, element), value in numbers.items():
            offsets.append(tensor_offset(self.model_bytes, tensor) + 4 * element)
            struct.pack_into("<f", data, offsets[-1], value)
        path = self.folder / name
        path.write_bytes(bytes(data))
        return path, offsets

    def test_sound(self):
        self.assertIn("weights       finite", self.ok("show", self.model, "--verify").decode())
        out = self.ok_json("show", self.model, "--verify", "--json")
        self.assertEqual(out["verify"]["bytes"], out["bytes"])
        self.assertEqual(out["verify"]["bad_tensors"], [])
        self.assertNotIn("verify", self.ok_json("show", self.model, "--json"))

    def test_truncated(self):
        for n_bytes in (100, len(self.model_bytes) // 2, len(self.model_bytes) - 100):
            path = self.changed("short.gguf", lambda b, n=n_bytes: b[:n])
            self.fails(2, "show", path, "--verify", says=["short.gguf", "the file has"])

    def test_planted(self):
        path, offsets = self.planted("planted.gguf", {
            ("blk.2.attn_q.weight", 77): float("nan"), ("blk.3.ffn_norm.weight", 5): float("-inf")})
        done = cli_test.run("show", path, "--verify", "--json")
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"2 bad numbers in 2 tensors", done.stderr)
        found = json.loads(done.stdout)["verify"]["bad_tensors"]
        self.assertEqual([(t["name"], t["bad_numbers"], t["first"]) for t in found], [
            ("blk.2.attn_q.weight", 1, [{"what": "value is NaN", "element": 77,
                                         "offset": offsets[0]}]),
            ("blk.3.ffn_norm.weight", 1, [{"what": "value is -Inf", "element": 5,
                                           "offset": offsets[1]}])])
        done = cli_test.run("show", path, "--verify")
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"byte {offsets[0]}, element 77: value is NaN", done.stdout.decode())
        self.fails(2, "quantize", path, self.folder / "never.gguf", "--type", "q8_0",
                   says=["blk.2.attn_q.weight", "element 77", "nan"])


def tensor_offset(data, wanted):
    """Where the tensor's values begin in a GGUF file, by a reader of its own."""
    at = 24
    n_tensors, n_keys = struct.unpack_from("<QQ", data, 8)
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def skip_text():
        nonlocal at
        at += 8 + struct.unpack_from("<Q", data, at)[0]

    def skip_value(kind):
        nonlocal at
        if kind == 8:
            skip_text()
        elif kind == 9:
            element, count = struct.unpack_from("<IQ", data, at)
            at += 12
            if element == 8:
                for _ in range(count):
                    skip_text()
            else:
                at += sizes[element] * count
        else:
            at += sizes[kind]

    for _ in range(n_keys):
        skip_text()
        kind = struct.unpack_from("<I", data, at)[0]
        at += 4
        skip_value(kind)
    offset = None
    for _ in range(n_tensors):
        start = at + 8
        skip_text()
        name = data[start:at].decode()
        n_dims = struct.unpack_from("<I", data, at)[0]
        at += 4 + 8 * n_dims + 4
        if name == wanted:
            offset = struct.unpack_from("<Q", data, at)[0]
        at += 8
    return (at + 31) // 32 * 32 + offset
