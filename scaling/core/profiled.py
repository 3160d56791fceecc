"""Runtime as a tabulated prompt time plus a linear time of generation: as many parameters as prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from scaling.core.law import FloatArray, Law, Param
from scaling.core.prompt_times import BETA, OVERHEAD, PROMPT, prompt_name, prompt_shares
from scaling.core.support import POSITIVE
from scaling.errors import UsageError

INTERPOLATED = "additive"
"""The objective whose prompt times are joined by straight lines instead of scaled from above."""


class Profiled(Law):
    """`T(p, o) = overhead + prompt(p) + (o - 1) beta` with prompt(p) known at profiled lengths.

    By the published rule prompt(p) is the time of the smallest profiled length q >= p, times p / q; beyond
    the largest length it grows in proportion. So it falls just above each profiled length. Where prompt
    times are interpolated, they are joined by straight lines, flat below the smallest length. A request
    that generates nothing takes prompt(p).
    """

    interpolated: bool = False

    def fitted(self, names: Sequence[str], objective: str) -> Profiled:
        """The law with these prompt lengths.

        Raises:
            UsageError: for a name that is none of its parameters, or none of a prompt length.
        """
        lengths = sorted(float(m[1]) for m in map(PROMPT.fullmatch, names) if m)
        known = [BETA, *([OVERHEAD] if OVERHEAD in names else []), *map(prompt_name, lengths)]
        if sorted(known) != sorted(names) or not lengths or lengths[0] <= 0:
            msg = (
                f"law '{self.name}' has the parameters {BETA}, {prompt_name(512)} for each profiled prompt "
                f"length, and {OVERHEAD} where it is told apart, not {sorted(names)}"
            )
            raise UsageError(msg)
        out = replace(self, params=tuple(param(name) for name in known))
        object.__setattr__(out, "interpolated", objective == INTERPOLATED)
        return out

    @property
    def lengths(self) -> FloatArray:
        """Profiled prompt lengths, increasing."""
        return np.array([float(m[1]) for m in map(PROMPT.fullmatch, self.names) if m])

    def design(self, p: Any, o: Any, xp: Any = np) -> list[Any]:
        """What each parameter is multiplied with; `xp` is NumPy or JAX's."""
        p, o = xp.broadcast_arrays(xp.asarray(p, dtype=float), xp.asarray(o, dtype=float))
        each = prompt_shares(self.lengths, p, interpolated=self.interpolated, xp=xp)
        ones = [xp.ones_like(p)] * (OVERHEAD in self.names)
        return [xp.maximum(o - 1.0, 0.0), *ones, *each]

    @cached_property
    def _value(self) -> Callable[..., list[Any]]:
        def value(*given: FloatArray) -> list[FloatArray]:
            *theta, p, o = given
            parts = self.design(p, o)
            return [sum(t * part for t, part in zip(theta, parts, strict=True))]

        return value

    @cached_property
    def _gradient(self) -> Callable[..., list[Any]]:
        return lambda *given: self.design(given[-2], given[-1])

    def jax_value(self) -> Callable[..., Any]:
        """The output as a JAX function of (params of shape (p,), p, o)."""
        import jax.numpy as jnp

        return lambda params, p, o: jnp.tensordot(
            params, jnp.stack(self.design(p, o, xp=jnp)), axes=1
        )


def param(name: str) -> Param:
    """The declaration of one parameter by its name."""
    meaning = {
        BETA: "seconds of a further generated token",
        OVERHEAD: "seconds of a request besides its tokens",
    }.get(name, "seconds of reading a prompt of that many tokens and generating the first token")
    typical = {BETA: (0.01, 0.1), OVERHEAD: (0.05, 0.5)}.get(name, (0.02, 0.2))
    return Param(name, POSITIVE, meaning, typical, unit="s")
