"""Signals and streams: Ctrl-C at every stage, readers that leave, full disks, a closed stdin."""

import json
import os
import signal
import struct
import subprocess
import tempfile
import time
import unittest

from cli_test import KIMBERLITE, TIMEOUT, CliTest

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = None


def cpu_ticks(pid):
    """CPU time of all threads of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Interrupt(CliTest):
    def test_interrupt(self):
        process = subprocess.Popen([KIMBERLITE, "run", str(self.model), "Hi", "--temp", "0"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        first = process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)
        text = (first + out).decode()  # whole characters up to the end
        self.assertTrue(text.endswith("\n"))
        self.assertEqual(errors, b"")

    def test_interrupt_while_loading(self):
        for seconds in (0.02, 0.1):
            process = subprocess.Popen([KIMBERLITE, "run", str(self.model), "Hi"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
            # Before main() has begun the signal ends the process by itself.
            self.assertIn(process.returncode, (130, -signal.SIGINT))
            self.assertEqual(errors, b"")

    @unittest.skipUnless(hasattr(fcntl, "F_SETPIPE_SZ"), "needs a small pipe")
    def test_second_interrupt_ends_at_once(self):
        """The first asks the loop to stop, which cannot while nobody reads what it writes."""
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.write(writer, b"x" * 3968)
        process = subprocess.Popen([KIMBERLITE, "run", str(self.model), "Hi", "--temp", "0"],
                                   stdin=subprocess.DEVNULL, stdout=writer)
        os.close(writer)
        # Blocked: the pipe has no room for another piece, and no thread has worked for a while.
        n_waiting, spent, spent_before = -1, 0, -1
        while n_waiting < 4096 - 32 or spent != spent_before:
            self.assertIsNone(process.poll())
            time.sleep(1.5)
            n_waiting = struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, b"\0" * 4))[0]
            spent, spent_before = cpu_ticks(process.pid), spent
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=10), 130)
        os.close(reader)

    def test_interrupt_while_the_prompt_is_read(self):
        process = subprocess.Popen([KIMBERLITE, "run", str(self.model), "--raw", "-n", "1"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        process.stdin.write(b"long words here " * 8000)
        process.stdin.close()
        process.stdin = None
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)


class Progress(CliTest):
    def cold(self):
        """The environment of a first start, in which everything takes its time."""
        return {**os.environ, "XDG_CACHE_HOME": tempfile.mkdtemp(dir=self.folder)}

    def test_none_without_a_terminal(self):
        done = subprocess.run([KIMBERLITE, "run", str(self.model), "Hi", "-n", "2"],
                              env=self.cold(), stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=TIMEOUT)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertNotIn(b"\r", done.stdout)

    @unittest.skipIf(os.name == "nt", "needs a pseudo-terminal")
    def test_on_a_terminal(self):
        """Each step has its line, and none is left."""
        import pty
        terminal, inside = pty.openpty()
        process = subprocess.Popen([KIMBERLITE, "run", str(self.model), "Hi", "-n", "2", "--json"],
                                   env=self.cold(), stdin=subprocess.DEVNULL, stderr=inside,
                                   stdout=subprocess.PIPE)
        os.close(inside)
        seen = b""
        try:
            while part := os.read(terminal, 4096):
                seen += part
        except OSError:  # the other end is closed
            pass
        os.close(terminal)
        seconds = json.loads(process.stdout.read())["timings"]["load_seconds"]
        process.stdout.close()
        self.assertEqual(process.wait(timeout=60), 0)
        if seconds > 1:  # what is faster than a blink is not shown
            self.assertRegex(seen, rb"\r(checking the driver|loading weights) +\d+ %")
        self.assertNotIn(b"\n", seen)
        drawn = seen.split(b"\r")
        self.assertEqual(drawn[-1], b"")
        self.assertEqual(drawn[-2:][0].strip(), b"")


class Streams(CliTest):
    @unittest.skipUnless(os.path.exists("/dev/full"), "needs a full device")
    def test_output_that_cannot_be_written(self):
        for arguments in (["--help"], ["show", self.model], ["run", self.model, "Hi"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([KIMBERLITE, *map(str, arguments)], stdout=full,
                                      stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                      timeout=TIMEOUT)
            self.assertEqual(done.returncode, 1, arguments)
            self.assertEqual(done.stderr, b"kimberlite: cannot write to stdout\n")

    @unittest.skipIf(os.name == "nt", "needs SIGPIPE")
    def test_reader_that_leaves(self):
        """Ends without a word, as other programs do."""
        process = subprocess.Popen([KIMBERLITE, "run", str(self.model), "Hi"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, restore_signals=True)
        process.stdout.read(1)
        process.stdout.close()
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()
        self.assertEqual(process.wait(timeout=60), -signal.SIGPIPE)

    @unittest.skipIf(os.name == "nt", "closes a descriptor")
    def test_closed_stdin(self):
        close = {"preexec_fn": lambda: os.close(0)}
        done = subprocess.run([KIMBERLITE, "run", str(self.model), "Hi", "-n", "2"],
                              capture_output=True, timeout=TIMEOUT, **close)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        done = subprocess.run([KIMBERLITE, "run", str(self.model)], capture_output=True,
                              timeout=TIMEOUT, **close)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"the prompt from stdin is empty", done.stderr)


if __name__ == "__main__":
    unittest.main()
