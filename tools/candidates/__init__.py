"""Candidates for faster operations on JAX, to be measured on a GPU (`python -m tools.accelerator`). Those that pay will move
into the package."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Candidates:
    """Ways to compute the same numbers, up to rounding, each of which may save time; all off by default.

    pieces: the first convolution as a product of matrices, with the pooling after it where it fits (`tower`).
    pool_first: pooling before bias and ReLU.
    pool_gradient: a gradient of pooling in one pass.
    direct_gradient: a convolution's gradient for its input as a convolution of its own.
    dense_gradient: the gradient of the dense layer's kernel in bfloat16; of mixed precision.
    penalty_in_update: the gradient of the L2 penalty is added where the optimizer reads the weights.
    scan: an epoch's steps as one compiled loop (`loop`).
    one_validation: all images of a set embedded in one program.
    """

    pieces: bool = False
    pool_first: bool = False
    pool_gradient: bool = False
    direct_gradient: bool = False
    dense_gradient: bool = False
    penalty_in_update: bool = False
    scan: bool = False
    one_validation: bool = False

    @classmethod
    def names(cls) -> list[str]:
        """The candidates' names, in order."""
        return [field.name for field in fields(cls)]

    def changes_tower(self) -> bool:
        """Whether any of those that change the tower is on."""
        return self.pieces or self.pool_first or self.pool_gradient or self.direct_gradient or self.dense_gradient
