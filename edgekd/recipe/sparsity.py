"""The section on sparsity: how the distilled student loses weights or channels, or shares values, and is taught on."""

import re
from typing import Annotated, Literal, Self

import pydantic

from edgekd.errors import RecipeError
from edgekd.recipe.networks import Training
from edgekd.recipe.section import (
    Fraction,
    Items,
    NonNegativeFloat,
    OpenFraction,
    Positive,
    PositiveFloat,
    Section,
    invalid,
)

UNSTRUCTURED = "unstructured"


class Ramp(Section):
    """When they go: between the shares `begin` and `end` of the training's steps, many at first and few at the end.

    The share that is gone rises from `initial` as a polynomial of degree 3, in `updates` steps.
    """

    begin: NonNegativeFloat = 0.0
    end: NonNegativeFloat = 0.75
    updates: Positive = 20
    initial: Fraction = 0.0

    @pydantic.model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.end > 1:
            raise invalid(
                f"end is {self.end:g}, which is longer than the training: it is a share of the training, from 0 to 1; "
                "for the third of four epochs give 0.75."
            )
        if self.begin >= self.end:
            raise invalid(
                f"begin is {self.begin:g} but end is {self.end:g}: both are shares of the training, and it must begin "
                "before it ends."
            )
        return self


class Prune(Section):
    """Weights that become zero, those of least magnitude first.

    `pattern` is unstructured, then `sparsity` is the share of each kernel that becomes zero; or n:m such as 2:4, which
    keeps n of every m neighbouring input channels.
    """

    pattern: str = UNSTRUCTURED
    sparsity: OpenFraction | None = None
    ramp: Ramp = pydantic.Field(default_factory=Ramp)

    @pydantic.model_validator(mode="after")
    def _check_pattern(self) -> Self:
        if self.pattern == "channels":
            raise invalid(
                "pattern 'channels' is what shrink does, which removes them from the network: give shrink: {amount: "
                "0.5, ramp: {}} instead of prune."
            )
        try:
            groups = n_of_m(self.pattern)
        except RecipeError as error:
            raise invalid(str(error)) from error
        if groups is None and self.sparsity is None:
            raise invalid(
                "pattern 'unstructured' needs a sparsity, such as 0.8: the share of weights that become zero."
            )
        if groups is not None and self.sparsity is not None:
            raise invalid(
                f"pattern {self.pattern!r} says that {self.final_sparsity:.0%} of the weights become zero: remove "
                "sparsity."
            )
        if self.ramp.initial > self.final_sparsity:
            raise invalid(
                f"ramp.initial is {self.ramp.initial:g}, above the {self.final_sparsity:g} that are zero in the end."
            )
        return self

    @property
    def final_sparsity(self) -> float:
        """The share of zeros at the end."""
        groups = n_of_m(self.pattern)
        if groups is not None:
            return 1.0 - groups[0] / groups[1]
        assert self.sparsity is not None  # noqa: S101 - it was checked
        return self.sparsity


class Cluster(Section):
    """Kernels of few distinct values, which are trained. `initial` is where k-means starts."""

    clusters: Annotated[int, pydantic.Field(ge=2)] = 16
    initial: Literal["linear", "density", "kmeans++"] = "linear"


class Shrink(Section):
    """Whole channels that are removed, the least important first: a smaller and faster network.

    `amount` is the share `of` multiply-accumulates, parameters or channels to save at least. Without a `ramp` the
    channels go before the training; with one (`ramp: {}` has its defaults) they fade out while it goes on.
    """

    amount: OpenFraction
    of: Literal["macs", "parameters", "channels"] = "macs"
    scope: Literal["layer", "global"] = "layer"
    importance: Literal["l1", "l2", "bn_gamma"] = "l2"
    divisor: Positive = 8
    ramp: Ramp | None = None


class Sparsify(Training):
    """The sparse student: the distilled one pruned, clustered or shrunk, and taught on by the same teacher and losses.

    `exclude` names layers that stay as they are.
    """

    epochs: Positive = 4
    learning_rate: PositiveFloat = 0.01
    prune: Prune | None = None
    cluster: Cluster | None = None
    shrink: Shrink | None = None
    exclude: Items[str] = ()

    @pydantic.model_validator(mode="after")
    def _check_way(self) -> Self:
        given = [name for name in ("prune", "cluster", "shrink") if getattr(self, name) is not None]
        if len(given) != 1:
            raise invalid(
                f"give exactly one of prune, cluster and shrink, such as prune: {{sparsity: 0.8}}; got "
                f"{' and '.join(given) or 'none'}."
            )
        if len(set(self.exclude)) < len(self.exclude):
            raise invalid(f"exclude is {list(self.exclude)}: give each layer once.")
        return self

    def in_words(self) -> str:
        """Returns what becomes of the network in a few words: `80 % pruned`, `2:4`, `16 clusters`, `shrunk`."""
        if self.prune is not None:
            sparsity = self.prune.sparsity
            return self.prune.pattern if sparsity is None else f"{100 * sparsity:g} % pruned"
        return "shrunk" if self.cluster is None else f"{self.cluster.clusters} clusters"


def n_of_m(pattern: str) -> tuple[int, int] | None:
    """Returns (n, m) of a pattern such as `2:4`, and None of `unstructured`.

    Raises:
      RecipeError: the pattern is neither, or n is not below m.
    """
    if pattern == UNSTRUCTURED:
        return None
    found = re.fullmatch(r"(\d+):(\d+)", pattern)
    if found is None:
        raise RecipeError(f"the sparsity pattern is {pattern!r}: expected {UNSTRUCTURED!r}, or n:m such as '2:4'.")
    n, m = int(found[1]), int(found[2])
    if not 0 < n < m:
        raise RecipeError(
            f"the sparsity pattern is {pattern!r}: n:m keeps n of every m weights, so n must be at least 1 and less "
            "than m, as in '2:4'."
        )
    return n, m
