"""The golden container: NAME.json (a header) beside NAME.bin (little-endian arrays)."""

import json
import os

import numpy as np

KINDS = {"float32": "<f4", "float64": "<f8", "uint8": "|u1", "uint16": "<u2"}

def write_golden(folder, name, header, arrays):
    """`arrays`: {name: array of one of KINDS}. The header gets "arrays": {name: shape, type,
    offset in bytes}. Returns the bytes of both files."""
    header = dict(header, arrays={})
    blob = b""
    for key, values in arrays.items():
        kind = KINDS[values.dtype.name]
        header["arrays"][key] = {
            "shape": list(values.shape),
            "type": values.dtype.name,
            "offset": len(blob),
        }
        blob += np.ascontiguousarray(values).astype(kind).tobytes()
    text = _layout(header)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name + ".bin"), "wb") as file:
        file.write(blob)
    with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as file:
        file.write(text)
    return len(blob) + len(text)


def _layout(header):
    """JSON with one line per entry of the first and second level."""
    lines = []
    for key, value in header.items():
        if isinstance(value, dict):
            inner = [f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()]
            lines.append(f"  {json.dumps(key)}: {{\n" + ",\n".join(inner) + "\n  }")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
