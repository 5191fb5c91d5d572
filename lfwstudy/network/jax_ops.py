"""JAX's operations."""

from collections.abc import Callable
from typing import Any

import jax

from lfwstudy.network.operations import Built, Operations, Tensor


class JaxOperations(Operations):
    """`Operations` for JAX: Keras' own."""

    def build(self, make: Callable[[], Built]) -> Built:
        """Initial values come from one program: one for each operation would be most of a training's start."""
        made: list[Any] = []

        def values() -> list[Tensor]:
            made.append(make())
            return [variable.value for variable in made[0].variables]

        for value, variable in zip(jax.jit(values)(), made[0].variables):
            variable.assign(value)
        return made[0]
