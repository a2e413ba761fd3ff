"""The stages of the training: what is learnt, for how many steps, in batches of which size."""

from dataclasses import dataclass

import world
from example import Generator
from packing import BatchShape


@dataclass(frozen=True)
class Stage:
    name: str
    mixture: dict[Generator, float]
    steps: int
    size: BatchShape
    rate: float  # the highest learning rate
    last_rate: float
    warmup: int = 150

    def learning_rate(self, step: int) -> float:
        """Up to `rate` over the warm-up, then down in a straight line to `last_rate`."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        done = (step - self.warmup) / (self.steps - self.warmup)
        return self.rate + (self.last_rate - self.rate) * done


_SHORT = BatchShape(rows=24, length=288, labels=2048)


def _mix(*parts: tuple[float, dict[Generator, float]]) -> dict[Generator, float]:
    """Each part gets its share of the examples."""
    return {
        maker: share * weight / sum(part.values())
        for share, part in parts
        for maker, weight in part.items()
    }


STAGES = (
    Stage("text", world.TEXT, 1800, _SHORT, 3e-3, 1e-3),
    Stage("pictures", _mix((0.5, world.TEXT), (0.5, world.PICTURES)), 1800, _SHORT, 2e-3, 8e-4),
    Stage(
        "sounds",
        _mix((0.45, world.TEXT), (0.2, world.PICTURES), (0.35, world.SOUNDS)),
        1000,
        _SHORT,
        1.5e-3,
        5e-4,
    ),
    Stage(
        "long",
        _mix((0.4, world.TEXT), (0.25, world.PICTURES), (0.2, world.SOUNDS), (0.15, world.LONG)),
        600,
        BatchShape(rows=6, length=1024, labels=2048),
        8e-4,
        2e-5,
        warmup=50,
    ),
)

DRAFTER = Stage(
    "drafter",
    _mix((0.7, world.TEXT), (0.2, world.PICTURES), (0.1, world.SOUNDS)),
    450,
    _SHORT,
    4e-3,
    2e-4,
)
