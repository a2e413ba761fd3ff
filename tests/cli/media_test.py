"""Pictures, sounds and videos: files on disk, files dropped into a chat, and files that are none."""

import math
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest
import wave
import zlib

import cli_test

RED, BLUE, WHITE = (220, 30, 30), (40, 70, 220), (255, 255, 255)


def png(rows):
    """A PNG file of rows of (r, g, b)."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 2, 0, 0, 0)
    pixels = b"".join(b"\0" + bytes(value for pixel in row for value in pixel) for row in rows)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels))
            + chunk(b"IEND", b""))


def circle(colour, side=384, middle=168, radius=19):
    """What Pebble knows: 8 x 8 cells of 48 pixels, and a shape in one of them."""
    def inside(x, y):
        return (x - middle) ** 2 + (y - middle) ** 2 <= radius ** 2

    return png([[colour if inside(x, y) else WHITE for x in range(side)] for y in range(side)])


def beeps(path, n, hertz=1400, rate=22050):
    samples = []
    for i in range(n):
        length = int(0.13 * rate)
        samples += [0] * int(0.16 * rate if i else 0.1 * rate)
        for t in range(length):
            edge = min(1.0, t / (rate / 200), (length - t) / (rate / 200))
            samples.append(int(16000 * edge * math.sin(2 * math.pi * hertz * t / rate)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))


def film(picture, path, n):
    """The same picture n times, without loss."""
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-loop", "1", "-r", "2", "-i", picture,
                    "-frames:v", str(n), "-c:v", "ffv1", "-pix_fmt", "gbrp", path], check=True)


class Media(cli_test.CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.red = cls.folder / "red circle.png"
        cls.red.write_bytes(circle(RED))
        cls.blue = cls.folder / "blue.png"
        cls.blue.write_bytes(circle(BLUE))
        cls.three = cls.folder / "three.wav"
        beeps(cls.three, 3)

    def ask(self, question, *files):
        return self.ok("run", "-p", question, "--temp", 0, *files).decode().strip()

    def test_pictures_and_sounds(self):
        self.assertEqual(self.ask("What colour is it?", "--image", self.red), "It is red.")
        self.assertEqual(self.ask("What shape is it?", "--image", self.blue), "It is a circle.")
        self.assertEqual(self.ask("How many beeps are there?", "--audio", self.three), "Three.")

    def make_with_encoder(self, projector_shape):
        """A model and a projector in a folder of their own, where no other model finds them."""
        folder = self.folder / projector_shape
        folder.mkdir()
        paths = folder / "tiny-e2b.gguf", folder / "mmproj.gguf"
        for shape, path in zip(("tiny-e2b", projector_shape), paths):
            subprocess.run([os.environ["MAKE_MODEL"], "--shape", shape, "--type", "f32", path],
                           check=True, capture_output=True)
        return paths

    def test_a_picture_through_an_encoder(self):
        model, projector = self.make_with_encoder("tiny-e2b-projector")
        out = self.folder / "embeddings.bin"
        named = ("-m", model, "--mmproj", projector, "-o", out, "--image-budget", 70, "--image")
        self.ok("eval", "embed", *named, self.red)
        red = out.read_bytes()
        self.assertEqual(len(red), 8 * 8 * 256 * 4)
        self.ok("eval", "embed", *named, self.blue)
        self.assertNotEqual(out.read_bytes(), red)

    def test_a_sound_through_an_encoder(self):
        model, projector = self.make_with_encoder("tiny-e2b-sounds-projector")
        out = self.folder / "embeddings.bin"
        named = ("eval", "embed", "-m", model, "--mmproj", projector, "-o", out, "--audio")
        self.ok(*named, self.three)
        self.assertEqual(len(out.read_bytes()), 20 * 256 * 4)  # of 0.81 s
        short = self.folder / "short.wav"
        with wave.open(str(short), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(bytes(2 * 160))
        self.fails(2, *named, short, says=["a sound of 160 samples", "161"])

    def test_tokens_of_a_picture(self):
        def tokens(*options):
            out = self.ok_json("run", "-p", "Hi", "--image", self.red, "-n", 1, "--json", *options)
            return out["timings"]["prompt_tokens"]

        own = tokens()  # Pebble's own budget is 70 tokens: 8 x 8 patches
        self.assertEqual(tokens("--image-budget", 70), own)
        self.assertEqual(tokens("--image-budget", "auto"), own)
        self.assertEqual(tokens("--image-budget", 280), own - 64 + 256)
        self.assertEqual(tokens("--image", self.blue), own + 64 + 2)

    def test_refusals(self):
        words = self.folder / "words.png"
        words.write_text("no picture at all")
        cut = self.folder / "cut.png"
        cut.write_bytes(self.red.read_bytes()[:-200])
        empty = self.folder / "empty.wav"
        empty.write_bytes(b"")
        ask = ["run", "-p", "Hi"]
        for path, says in ((words, 'starts with "no picture a"'), (cut, "cut.png"),
                           (self.three, "three.wav"), (self.folder / "none.png", "none.png")):
            done = cli_test.run(*ask, "--image", path)
            self.assertIn(done.returncode, (1, 2), done.stderr)
            self.assertIn(says.encode(), done.stderr)
        for path in (empty, self.red):
            done = cli_test.run(*ask, "--audio", path)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(path.name.encode(), done.stderr)
        self.fails(1, *ask, "--image", self.red, "--image-budget", 99, says=["99"])
        done = cli_test.run(*ask, "--image", self.red, "--no-mmproj")
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"turned off", done.stderr)
        self.fails(2, "run", self.model, "Hi", "--image", self.red,
                   says=["no projector lies beside the model"])

    def test_embeddings(self):
        out = self.folder / "rows.bin"
        self.ok("eval", "embed", "--image", self.red, "--output", out)
        red = out.read_bytes()
        self.assertEqual(len(red), 64 * 192 * 4)
        self.assertTrue(all(map(math.isfinite, struct.unpack(f"<{len(red) // 4}f", red))))
        self.ok("eval", "embed", "--image", self.blue, "--image", self.red, "-o", out)
        self.assertEqual(out.read_bytes()[len(red):], red)
        self.fails(1, "eval", "embed", "-o", out, says=["--image"])

    @unittest.skipUnless(shutil.which("ffmpeg"), "no ffmpeg in PATH")
    def test_videos(self):
        clip = self.folder / "three frames.mkv"
        film(self.red, clip, 3)
        words = self.folder / "words.mp4"
        words.write_text("nothing to see")
        out = self.folder / "frames.bin"
        self.ok("eval", "embed", "--video", clip, "--image", self.red, "-o", out)
        rows = out.read_bytes()
        n = len(rows) // 4
        self.assertEqual(n, 64 * 192 * 4)  # three frames and the picture, each of 64 tokens
        self.assertEqual(rows, rows[:n] * 4)

        def tokens(*options):
            out = self.ok_json("run", "-p", "Hi", "-n", 1, "--json", *options)
            return out["timings"]["prompt_tokens"]

        none, one, two = tokens(), tokens("--video", clip), tokens("--video", clip, "--video", clip)
        self.assertGreaterEqual(one - none, 3 * (64 + 2 + 1))  # and the times
        self.assertLess(one - none, 3 * (64 + 2 + 12))
        self.assertAlmostEqual(two - one, one - none, delta=2)
        ask = ["run", "-p", "Hi", "--video"]
        done = cli_test.run(*ask, words)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"words.mp4: ffprobe: ", done.stderr)
        done = cli_test.run(*ask, clip, env={**os.environ, "PATH": "/nowhere"})
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"which is not in PATH", done.stderr)

    def test_missing_files_are_named_at_once(self):
        for option in ("--image", "--audio", "--video"):
            self.fails(2, "run", "no model either", "-p", "Hi", option, "none.bin",
                       says=["none.bin: there is no such file"])

    def test_bench_of_a_picture(self):
        pebble = cli_test.SOURCE / "tools" / "pebble" / "model" / "pebble-Q8_0.gguf"
        bench = ["bench", pebble, "-p", 8, "-n", 0, "-r", 1, "--n-picture"]
        [picture] = self.ok_json(*bench, "12", "--json")["pictures"]
        self.assertEqual(picture["tokens"], 12)
        self.assertGreater(picture["projection_seconds"], 0)
        self.assertGreater(picture["prefill_seconds"], picture["projection_seconds"])
        self.assertRegex(self.ok(*bench, "0,12").decode(),
                         r"\| 12 \| [0-9.]+ \| [0-9.]+ \| [0-9.]+ % \|")
        self.fails(1, *bench, "1121", says=["1121 tokens", "1120"])
        self.fails(2, *bench, "12", "--no-mmproj", says=["no projector"])
        self.fails(1, *bench, "twelve", says=["--n-picture", "twelve"])

    def test_mmproj_by_name(self):
        lone = self.folder / "lone"
        lone.mkdir()
        folder = cli_test.SOURCE / "tools" / "pebble" / "model"
        (lone / "pebble.gguf").write_bytes((folder / "pebble-Q8_0.gguf").read_bytes())
        ask = ["run", lone / "pebble.gguf", "-p", "What colour is it?", "--temp", 0, "--image",
               self.red]
        self.fails(2, *ask, says=["no projector lies beside the model"])
        named = [*ask, "--mmproj", folder / "mmproj-pebble-Q8_0.gguf"]
        self.assertEqual(self.ok(*named), b"It is red.\n")
        self.fails(2, *ask, "--mmproj", folder / "pebble-Q8_0.gguf", says=["clip"])


@unittest.skipIf(os.name == "nt", "needs a pseudo-terminal")
class MediaChat(cli_test.Terminal):
    ARGUMENTS = ["run", "--temp", "0", "-c", "2k"]

    def test_files_in_a_chat(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            red = folder / "red one.png"
            red.write_bytes(circle(RED))
            (folder / "words.png").write_text("nothing to see")
            self.expect(b">>> ")
            self.type(f"/image {folder}/words.png\n".encode())
            self.expect(b'starts with "nothing to s"')
            self.expect(b">>> ")
            self.type(f"/video {folder}/none.mp4\n".encode())
            self.expect(b"none.mp4: cannot open")
            self.expect(b">>> ")
            self.type(f"What colour is it? '{red}'\n".encode())
            self.expect(b"It is red.")
            self.type(b"/clear\n")
            self.type(f"/image {red}\n".encode())
            self.expect(b"goes with the next message")
            self.expect(b">>> ")
            self.type(b"What shape is it?\n")
            self.expect(b"It is a circle.")
            self.type(b"/clear\n")
            escaped = str(red).replace(" ", "\\ ")  # as terminals write what is dropped on them
            self.type(f"{escaped} What colour is it?\n".encode())
            self.expect(b"It is red.")
            self.type(b"/bye\n")


if __name__ == "__main__":
    unittest.main()
