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
    """When weights or channels go: many at first and few at the end."""

    begin: NonNegativeFloat = 0.0
    """Share of the training's steps at which it begins."""
    end: NonNegativeFloat = 0.75
    """Share of the steps at which it ends."""
    updates: Positive = 20
    """In how many steps the share rises, as a polynomial of degree 3."""
    initial: Fraction = 0.0
    """What is gone at the beginning."""

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
    """Weights that become zero, those of least magnitude first."""

    pattern: str = UNSTRUCTURED
    """`unstructured`, or n:m such as `2:4`, which keeps n of every m neighbouring input channels."""
    sparsity: OpenFraction | None = None
    """Share of each kernel that becomes zero; with `unstructured` only."""
    ramp: Ramp = pydantic.Field(default_factory=Ramp)
    """When they go."""

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
    """Kernels of few distinct values, which are trained."""

    clusters: Annotated[int, pydantic.Field(ge=2)] = 16
    """How many distinct values a kernel keeps."""
    initial: Literal["linear", "density", "kmeans++"] = "linear"
    """Where k-means starts."""


class Shrink(Section):
    """Whole channels that are removed, the least important first: a smaller and faster network."""

    amount: OpenFraction
    """The share to save at least."""
    of: Literal["macs", "parameters", "channels"] = "macs"
    """Of what."""
    scope: Literal["layer", "global"] = "layer"
    """Whether each layer loses the same share, or the least important channels of all layers go."""
    importance: Literal["l1", "l2", "bn_gamma"] = "l2"
    """What a channel is judged by."""
    divisor: Positive = 8
    """Channels that are left are a multiple of this, where that is possible."""
    ramp: Ramp | None = None
    """Without one the channels go before the training; with one (`{}` has its defaults) they fade out while it
    goes on."""


class Sparsify(Training):
    """The sparse student: the distilled one pruned, clustered or shrunk, and taught on by the same teacher."""

    epochs: Positive = 4
    """As of every training."""
    learning_rate: PositiveFloat = 0.01
    """As of every training; lower, since it goes on from a trained network."""
    prune: Prune | None = None
    """Weights that become zero. One of this, `cluster` and `shrink` is given."""
    cluster: Cluster | None = None
    """Kernels of few distinct values."""
    shrink: Shrink | None = None
    """Channels that are removed."""
    exclude: Items[str] = ()
    """Layers that stay as they are."""

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
