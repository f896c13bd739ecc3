"""The sections on distillation: what the student should be near to, who teaches, and what is kept of the teacher."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import pydantic

from edgekd import registry, schedules
from edgekd.errors import RecipeError
from edgekd.recipe.networks import Peer
from edgekd.recipe.section import (
    ADAPTERS,
    LOSSES,
    Items,
    NonNegativeFloat,
    Positive,
    PositiveFloat,
    Scheduled,
    Section,
    TapPair,
    check_plugin,
    invalid,
)
from edgekd.records import Task

NO_ADAPTER = "none"


class Adapter(Section):
    """The trainable helper of a term, dropped after training. Further keys are its own options."""

    PLUGIN_ARGUMENTS = True

    adapter: str
    """A name of `edgekd list adapters`, or `none`."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _name_alone(cls, received: Any) -> Any:
        return {"adapter": received} if isinstance(received, str) else received

    @pydantic.model_validator(mode="after")
    def _check_adapter(self) -> Self:
        if self.adapter == NO_ADAPTER and self.arguments:
            raise invalid(f"adapter {NO_ADAPTER!r} takes no options; got {', '.join(self.arguments)}.")
        if self.adapter != NO_ADAPTER:
            check_plugin(self, ADAPTERS, self.adapter, entry="build", own=("seed",))
        return self


class Loss(Section):
    """One weighted distillation term. Further keys are the loss's own hyper-parameters."""

    PLUGIN_ARGUMENTS = True

    loss: str
    """A name of `edgekd list losses`."""
    weight: Scheduled = 1.0
    """What the loss is multiplied with: a number, or a schedule such as `{schedule: linear, from: 0, to: 1,
    end_epoch: 20}`. So may every hyper-parameter that is one float."""
    taps: Items[TapPair] = ()
    """Pairs of layers whose outputs are compared, `[student's, teacher's]`; none where logits are."""
    adapter: Adapter | None = None
    """The trainable helper between taps and loss; by default the loss's own."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _default_adapter(cls, received: Any) -> Any:
        if not isinstance(received, Mapping) or received.get("adapter") is not None:
            return received
        name = received.get("loss")
        if not isinstance(name, str) or name not in registry.discover(LOSSES):
            return received  # what is wrong with it is said later
        adapter = registry.describe(LOSSES, name, entry=name).constants.get("ADAPTER")
        return received if adapter is None else {**received, "adapter": adapter}

    @pydantic.model_validator(mode="after")
    def _check_loss(self) -> Self:
        needs: tuple[str, ...] = ()
        if self.loss in registry.discover(LOSSES):
            needs = tuple(registry.describe(LOSSES, self.loss, entry=self.loss).constants.get("NEEDS", ()))
        plugin = check_plugin(self, LOSSES, self.loss, entry=self.loss, own=needs, scheduled=True)
        self._check_taps(plugin.constants["COMPARES"])
        self._check_supplies(tuple(need for need in needs if need != "labels"))
        return self

    def _check_taps(self, compares: str) -> None:
        if compares == "logits":
            if self.taps:
                raise invalid(f"loss {self.loss!r} compares logits: remove its taps.")
            if self.adapter is not None and self.adapter.adapter != NO_ADAPTER:
                raise invalid(f"loss {self.loss!r} compares logits, which no adapter changes: remove its adapter.")
        elif not self.taps:
            raise invalid(
                f"loss {self.loss!r} compares {compares.replace('_', ' ')}: give taps, pairs of [student layer, "
                "teacher layer] such as [[stage1, stage1]]."
            )
        elif compares == "flows" and len(self.taps) < 2:
            raise invalid(f"loss {self.loss!r} compares how features change between two taps: give at least two pairs.")

    def _check_supplies(self, needs: tuple[str, ...]) -> None:
        if not needs:
            return
        name = self.adapter.adapter if self.adapter else NO_ADAPTER
        supplies: tuple[str, ...] = ()
        if name != NO_ADAPTER:
            supplies = tuple(registry.describe(ADAPTERS, name, entry="build").constants.get("SUPPLIES", ()))
        missing = [need for need in needs if need not in supplies]
        if missing:
            raise invalid(f"loss {self.loss!r} needs {', '.join(missing)}, which adapter {name!r} does not give.")

    @property
    def compares(self) -> str:
        """What the loss takes: logits, feature maps, features or flows."""
        compares: str = registry.describe(LOSSES, self.loss, entry=self.loss).constants["COMPARES"]
        return compares

    @property
    def needs_labels(self) -> bool:
        """Whether the loss looks at the true class."""
        return "labels" in registry.describe(LOSSES, self.loss, entry=self.loss).constants.get("NEEDS", ())


class Ensemble(Section):
    """How several teachers become one: the mean of their soft targets or of their logits."""

    combine: Literal["soft_targets", "logits"] = "soft_targets"
    """What of the teachers is averaged."""
    weights: Items[NonNegativeFloat] = ()
    """One for each teacher; equal by default."""
    temperature: PositiveFloat | None = None
    """Where soft targets are averaged; by default the one that the losses on logits have in common."""

    @pydantic.model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.weights and not sum(self.weights):
            raise invalid(f"weights is {list(self.weights)}: at least one teacher must count.")
        return self


class Cache(Section):
    """Keeps the teacher's outputs on disk, to be shared by all runs with the same teacher, data and views."""

    views: Positive | None = None
    """How many augmented views of each image there are: epoch e shows view e modulo `views`; by default as many
    as epochs."""
    dtype: Literal["float16", "float32"] = "float16"
    """How outputs are stored."""
    fill: bool = True
    """`false` uses what is there: the teacher is opened and tried, but not run on the data."""
    folder: str | None = None
    """Where caches are kept; by default the user's cache folder, see `edgekd cache --help`."""


def default_objective(way: str, task: Task = "classification") -> dict[str, Any]:
    """Returns the labels_weight and the losses that a way to teach has unless others are given.

    Where networks reconstruct, the squared error to what the teacher gives back stands beside that to the inputs.

    References:
      Hinton et al. (arXiv:1503.02531), Zhang et al., Deep Mutual Learning (arXiv:1706.00384), Zhang et al., Be Your Own
      Teacher (arXiv:1905.08094).
    """
    if task == "reconstruction":
        taps = [["reconstruction", "reconstruction"]]
        return {"labels_weight": 1.0, "losses": [{"loss": "feature_mse", "weight": 1.0, "taps": taps}]}
    if way == "online":
        return {"labels_weight": 1.0, "losses": [{"loss": "soft_logits", "temperature": 1.0, "weight": 1.0}]}
    if way == "self":
        hint = {"loss": "feature_mse", "weight": 0.03, "taps": [["features", "features"]]}
        return {"labels_weight": 0.7, "losses": [{"loss": "soft_logits", "temperature": 3.0, "weight": 0.3}, hint]}
    return {"labels_weight": 0.1, "losses": [{"loss": "soft_logits", "temperature": 4.0, "weight": 0.9}]}


class Distill(Section):
    """The student's objective, labels_weight * cross-entropy + the sum of weight * loss, and who teaches."""

    way: Literal["offline", "online", "self", "born_again"] = "offline"
    """Who teaches.

    `offline`: teachers that were trained before or are given. `online`: the student and its peers, each other.
    `self`: the network's own logits, early exits. `born_again`: each generation of the same network the next.
    """
    labels_weight: Scheduled
    """Weight of the cross-entropy with the labels, a number or a schedule: 0.1 by default, 1 where `way` is
    `online`, 0.7 where it is `self`."""
    losses: Items[Loss]
    """The terms.

    By default soft logits at temperature 4 with weight 0.9; temperature and weight 1 where `way` is `online`;
    temperature 3, weight 0.3 and `feature_mse` on `features` with 0.03 where it is `self`. With task reconstruction
    `feature_mse` on `reconstruction`, with weight 1 beside a `labels_weight` of 1.
    """
    ensemble: Ensemble = pydantic.Field(default_factory=Ensemble)
    """How several teachers become one."""
    cache: Cache | None = None
    """Keeps the teacher's outputs on disk; `{}` has the defaults, without it the teacher runs at every step."""
    peers: Items[Peer] = ()
    """With `online`: the networks beside the student."""
    exits: Items[str] = ()
    """With `self`: taps where a classifier is added while training."""
    generations: Positive = 1
    """With `born_again`: how many networks are taught, one after the other; the first by the student on labels."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _add_defaults(cls, received: Any) -> Any:
        if not isinstance(received, Mapping):
            return received
        return {**default_objective(received.get("way", "offline")), **received}

    def in_words(self, own: str = "labels") -> str:
        """Returns the way and the objective in one line: `offline: 0.1 × labels + 0.9 × soft_logits (...)`.

        Args:
          own: what `labels_weight` is the weight of.
        """
        terms = [f"{_amount(self.labels_weight)} × {own}", *(_in_words(loss) for loss in self.losses)]
        return f"{self.way.replace('_', ' ')}: {' + '.join(terms)}"

    @pydantic.model_validator(mode="after")
    def _check_losses(self) -> Self:
        if not self.losses:
            raise invalid("losses is empty: a distillation needs at least one, such as {loss: soft_logits}.")
        if all(schedules.parse(loss.weight).is_zero() for loss in self.losses):
            raise invalid("the weight of every loss is zero: nothing would be learned from the teacher.")
        return self

    @pydantic.model_validator(mode="after")
    def _check_way(self) -> Self:
        belongs = {"peers": ("online", bool(self.peers)), "exits": ("self", bool(self.exits))}
        for key, (way, given) in belongs.items():
            if given and self.way != way:
                raise invalid(f"{key} is given but way is {self.way!r}: set way to {way!r}, or remove {key}.")
            if self.way == way and not given:
                raise invalid(f"way {way!r} needs {key}: name at least one.")
        if self.generations > 1 and self.way != "born_again":
            raise invalid(f"generations is {self.generations} but way is {self.way!r}: set way to 'born_again'.")
        if len(set(self.exits)) < len(self.exits):
            raise invalid(f"exits is {list(self.exits)}: give each tap once.")
        if self.cache is not None and self.way in {"online", "self"}:
            raise invalid(f"way {self.way!r} has no teacher whose outputs stay the same: remove cache.")
        return self


def _in_words(loss: Loss) -> str:
    settings = [f"{key} {_amount(value)}" for key, value in loss.arguments.items()]
    settings += [f"{ours} from {theirs}" for ours, theirs in loss.taps]
    return f"{_amount(loss.weight)} × {loss.loss}" + (f" ({', '.join(settings)})" if settings else "")


def _amount(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    points = schedules.parse(value).points
    return f"{value['schedule']} {points[0][1]:g} → {points[-1][1]:g} by epoch {points[-1][0]:g}"


def common_temperature(losses: tuple[Loss, ...]) -> float:
    """Returns the temperature of the losses on logits; 1 for one that has none.

    Raises:
      RecipeError: they differ, follow a schedule, or belong to logits that the loss has changed before: it is not clear
        where soft targets are averaged.
    """
    found = [_temperature(loss) for loss in losses if not loss.taps]
    if not found:
        return 1.0
    if any(not isinstance(each, int | float) or each != found[0] for each in found):
        raise RecipeError(
            "it is not clear at which temperature the teachers' soft targets are averaged: those of the losses are "
            f"{', '.join(map(str, found))}. Give distill.ensemble.temperature, or set distill.ensemble.combine to "
            "logits."
        )
    return float(found[0])


def _temperature(loss: Loss) -> Any:
    if loss.arguments.get("standardize"):
        return f"{loss.arguments['temperature']} of standardised logits"
    if "temperatures" in loss.arguments:
        return " and ".join(map(str, loss.arguments["temperatures"]))
    temperature = loss.arguments.get("temperature", 1.0)
    return f"a schedule ({temperature['schedule']})" if isinstance(temperature, Mapping) else temperature
