"""The tiny models: real structure, small widths. tools/synthetic/shapes.cpp holds the same table.

Field names are those of the golden files' "shape" object.
"""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Shape:
    name: str
    n_layers: int
    hidden: int
    ffn: int
    n_heads: int
    n_kv_sliding: int
    n_kv_full: int
    vocab: int
    window: int
    head_dim_sliding: int = 256
    head_dim_full: int = 512
    full_period: int = 6
    context: int = 262144
    rope_theta_sliding: float = 1e4
    rope_theta_full: float = 1e6
    partial_rotary: float = 0.25
    softcap: float = 30.0
    eps: float = 1e-6

    def is_full(self, layer):
        """Every full_period-th layer, and always the last one."""
        return layer % self.full_period == self.full_period - 1 or layer == self.n_layers - 1

    def to_json(self):
        return asdict(self)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("tiny12", 7, 96, 192, 4, 2, 1, 517, 16),
        Shape("tiny12-odd", 6, 160, 224, 4, 2, 1, 523, 20),
        Shape("tiny12-k", 6, 256, 512, 4, 2, 1, 517, 24),
        Shape("tiny31", 12, 64, 128, 8, 4, 2, 541, 24),
    )
}
