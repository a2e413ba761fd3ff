"""The tiny models: real structure, small widths. tools/synthetic/shapes.cpp holds the same table.

Field names are those of the golden files' "shape" object.
"""

from dataclasses import asdict, dataclass, fields


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
    k_is_v: bool = True  # full layers have no V projection
    n_shared_kv: int = 0  # layers at the end that read an earlier layer's keys and values
    double_wide: bool = False  # whether those layers have twice the ffn
    per_layer: int = 0  # width of the per-layer inputs
    n_experts: int = 0
    n_experts_used: int = 0  # by one token
    expert_ffn: int = 0
    target: str = ""  # of a drafter: the model for which it drafts
    target_hidden: int = 0
    n_clusters: int = 0  # of its sparse head; 0: a dense one
    n_clusters_used: int = 0  # by one token

    def is_full(self, layer):
        """Every full_period-th layer, and always the last one."""
        return layer % self.full_period == self.full_period - 1 or layer == self.n_layers - 1

    def owns_kv(self, layer):
        return layer < self.n_layers - self.n_shared_kv

    def to_json(self):
        """The fields from k_is_v on only where they differ from a dense model's."""
        values = asdict(self)
        names = [field.name for field in fields(self)]
        for field in fields(self)[names.index("k_is_v") :]:
            if values[field.name] == field.default:
                del values[field.name]
        return values


def _per_layer(name, **sizes):
    """E2B and E4B: V projections everywhere, a tail without keys and values."""
    return Shape(name, context=131072, k_is_v=False, **sizes)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("tiny12", 7, 96, 192, 4, 2, 1, 517, 16),
        Shape("tiny12-odd", 6, 160, 224, 4, 2, 1, 523, 20),
        Shape("tiny12-k", 6, 256, 512, 4, 2, 1, 517, 24),
        Shape("tiny31", 12, 64, 128, 8, 4, 2, 541, 24),
        _per_layer(
            "tiny-e2b",
            n_layers=10,
            hidden=256,
            ffn=512,
            n_heads=8,
            n_kv_sliding=1,
            n_kv_full=1,
            vocab=517,
            window=16,
            full_period=5,
            n_shared_kv=5,
            double_wide=True,
            per_layer=256,
        ),
        _per_layer(
            "tiny-e4b",
            n_layers=12,
            hidden=64,
            ffn=256,
            n_heads=8,
            n_kv_sliding=2,
            n_kv_full=2,
            vocab=531,
            window=20,
            full_period=4,
            n_shared_kv=4,
            per_layer=64,
        ),
        Shape(
            "tiny26",
            n_layers=6,
            hidden=256,
            ffn=192,
            n_heads=8,
            n_kv_sliding=4,
            n_kv_full=1,
            vocab=547,
            window=24,
            n_experts=48,
            n_experts_used=4,
            expert_ffn=64,
        ),
    )
}


def _drafter(target, **sizes):
    """Four layers without keys and values of their own: those of the target's last sliding and
    last full layer that have some."""
    model = SHAPES[target]
    return Shape(
        f"{target}-drafter",
        n_layers=4,
        full_period=4,
        n_shared_kv=4,
        softcap=None,
        n_kv_sliding=model.n_kv_sliding,
        n_kv_full=model.n_kv_full,
        vocab=model.vocab,
        window=model.window,
        context=model.context,
        k_is_v=model.k_is_v,
        target=target,
        target_hidden=model.hidden,
        **sizes,
    )


DRAFTERS = {
    shape.name: shape
    for shape in (
        _drafter("tiny12", hidden=64, ffn=160, n_heads=6),
        _drafter("tiny31", hidden=96, ffn=192, n_heads=12),
        _drafter("tiny26", hidden=128, ffn=224, n_heads=8),
        _drafter(
            "tiny-e2b", hidden=64, ffn=256, n_heads=4, n_clusters=47, n_clusters_used=5
        ),
        _drafter(
            "tiny-e4b", hidden=32, ffn=192, n_heads=6, n_clusters=9, n_clusters_used=2
        ),
    )
}
