"""Writes a tenth of a second of sound in every format that libsndfile writes into tests/media/seeds,
from where the fuzzer of sounds starts. Needs libsndfile.so.1.
"""

import ctypes
import math
import os

DEFAULT_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/media/seeds")
# name: (format as in sndfile.h, rate, channels)
FORMATS = {
    "pcm16.wav": (0x010002, 16000, 1),
    "float_stereo.wav": (0x010006, 8000, 2),
    "adpcm.wav": (0x010012, 16000, 1),
    "pcm24.rf64": (0x220003, 8000, 1),
    "pcm16.aiff": (0x020002, 8000, 1),
    "pcm16.flac": (0x170002, 16000, 2),
    "vorbis.ogg": (0x200060, 16000, 1),
    "opus.ogg": (0x200064, 16000, 1),
    "layer3.mp3": (0x230082, 16000, 1),
}
WRITE = 0x20


class Info(ctypes.Structure):
    _fields_ = [("frames", ctypes.c_int64), ("samplerate", ctypes.c_int), ("channels", ctypes.c_int),
                ("format", ctypes.c_int), ("sections", ctypes.c_int), ("seekable", ctypes.c_int)]


def main():
    library = ctypes.CDLL("libsndfile.so.1")
    library.sf_open.restype = ctypes.c_void_p
    library.sf_writef_float.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    library.sf_close.argtypes = [ctypes.c_void_p]
    os.makedirs(DEFAULT_FOLDER, exist_ok=True)
    for name, (kind, rate, channels) in FORMATS.items():
        path = os.path.join(DEFAULT_FOLDER, name)
        info = Info(samplerate=rate, channels=channels, format=kind)
        file = library.sf_open(path.encode(), WRITE, ctypes.byref(info))
        if not file:
            raise SystemExit(f"{name}: libsndfile has no encoder for it")
        n = rate // 10
        tone = [0.4 * math.sin(2 * math.pi * 440 * (i // channels) / rate) for i in range(n * channels)]
        library.sf_writef_float(file, (ctypes.c_float * len(tone))(*tone), n)
        library.sf_close(file)
    print(f"{len(FORMATS)} files in tests/media/seeds")


if __name__ == "__main__":
    main()
