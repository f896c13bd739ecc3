"""What the layers of Keras come to in integer arithmetic: each call becomes one step or several."""

import dataclasses
import enum
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from edgekd.quantize.aware.affine import factor_and_shift
from edgekd.quantize.aware.graph import Call, Value
from edgekd.quantize.aware.layers import Affine


class Kind(enum.Enum):
    """How a step's output is quantised."""

    KERNEL = "a kernel and a sum of 32 bits; a batch normalisation after it is folded into it"
    NORM = "a batch normalisation"
    RELU = "an activation that is computed together with the step before it"
    ARITHMETIC = "values in a range of their own"
    FIXED = "values in a known range"
    SAME = "some of the input's values"
    MEAN = "means of the input's values, in the input's range"
    BETWEEN = "values between the input's values, in the input's range"
    JOIN = "several arrays in one range"
    TRAINING = "its input, except in training"
    PASSED = "its input, not rounded yet"
    FLOAT = "left in float"


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One step of integer arithmetic.

    Attributes:
      kind: see Kind.
      layer: the Keras layer that computes it.
      inputs: what it takes.
      outputs: what it gives: one array, unless it is left in float.
      name: of the layer; the last step of a call has the call's name.
      call: what it is a step of.
      weights: of the layer, in its order.
      fixed: the range of its output, where it is known.
    """

    kind: Kind
    layer: Any
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    name: str
    call: Call
    weights: tuple[np.ndarray[Any, Any], ...] = ()
    fixed: tuple[float, float] | None = None

    @property
    def output(self) -> Value:
        """Its only output."""
        (output,) = self.outputs
        return output


SUPPORTED = (
    "Conv1D, Conv2D, DepthwiseConv1D, DepthwiseConv2D, SeparableConv1D, SeparableConv2D, Conv2DTranspose, Dense, "
    "BatchNormalization, ReLU, LeakyReLU, Softmax, the activations relu, relu6, leaky_relu, sigmoid, tanh, softmax, "
    "silu, hard_silu and hard_sigmoid, Add, Multiply, Subtract, Concatenate, pooling, UpSampling2D, padding, cropping, "
    "Reshape, Flatten, Permute, RepeatVector, Rescaling, Normalization and what acts in training only, such as Dropout"
)

# What the converter gives them: steps of 1/256 from 0, and of 1/128 around 0.
_FIXED = {"sigmoid": (0.0, 255 / 256), "softmax": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}

KERNELS = {
    layers.Conv1D,
    layers.Conv2D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.Conv2DTranspose,
    layers.Dense,
}
_SEPARABLE = {
    layers.SeparableConv1D: (layers.DepthwiseConv1D, layers.Conv1D),
    layers.SeparableConv2D: (layers.DepthwiseConv2D, layers.Conv2D),
}
# Layers that stay as they are.
_UNCHANGED: tuple[tuple[set[Any], Kind], ...] = (
    (
        {
            layers.MaxPooling1D,
            layers.MaxPooling2D,
            layers.GlobalMaxPooling1D,
            layers.GlobalMaxPooling2D,
            layers.ZeroPadding1D,
            layers.ZeroPadding2D,
            layers.Cropping1D,
            layers.Cropping2D,
            layers.Reshape,
            layers.Flatten,
            layers.Permute,
            layers.RepeatVector,
            layers.UpSampling1D,
        },
        Kind.SAME,
    ),
    ({layers.AveragePooling1D, layers.AveragePooling2D}, Kind.MEAN),
    ({layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D}, Kind.ARITHMETIC),
    ({layers.Concatenate}, Kind.JOIN),
    (
        {
            layers.Dropout,
            layers.SpatialDropout1D,
            layers.SpatialDropout2D,
            layers.GaussianNoise,
            layers.GaussianDropout,
            layers.ActivityRegularization,
        },
        Kind.TRAINING,
    ),
)
# Layers after which an array is in the range that it was in before.
KEEPS_RANGE = frozenset().union(
    *(kinds for kinds, kind in _UNCHANGED if kind in (Kind.SAME, Kind.TRAINING)), [layers.Activation]
)
MERGES = {"Add": layers.Add, "Multiply": layers.Multiply, "Subtract": layers.Subtract}
_KERAS_OPERATIONS = "keras.src.ops."
_KERAS_FUNCTIONS = ("keras.src.activations.", _KERAS_OPERATIONS)
_KNOWN = {"linear", "relu", "sigmoid", "tanh", "softmax", "silu", "hard_silu", "hard_sigmoid"}
# Operations of keras.ops that a functional network may hold.
_OPERATIONS = {
    "Relu": "relu",
    "Relu6": "relu6",
    "LeakyRelu": "leaky_relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softmax": "softmax",
    "Silu": "silu",
    "HardSilu": "hard_silu",
    "HardSigmoid": "hard_sigmoid",
}


class Lowering:
    """Turns calls into steps. What a layer becomes is made once, so that its calls go on sharing weights."""

    def __init__(self, names: Iterable[str], *, seed: int) -> None:
        """Starts with nothing made.

        Args:
          names: that layers have already.
          seed: of what acts at random in training.
        """
        self._made: dict[tuple[int, str], Any] = {}
        self._names, self._seed = set(names), seed

    def left_in_float(self, call: Call) -> list[Step]:
        """Returns a call as one step as it is."""
        return self._chain(call).whole(Kind.FLOAT).steps()

    def _chain(self, call: Call) -> "_Chain":
        return _Chain(self._made, self._names, call, seed=self._seed)

    def steps(self, call: Call) -> list[Step] | None:
        """Returns the steps of a call, or None where it has no integer form."""
        if len(call.outputs) != 1 or not _takes_arrays_alone(call):
            return None
        chain = self._chain(call)
        return chain.steps() if _lower(call.operation, chain) else None


def _lower(operation: Any, chain: "_Chain") -> bool:
    """Adds the steps of an operation to a chain; returns whether it has an integer form."""
    kind = type(operation)
    meaning = next((meaning for kinds, meaning in _UNCHANGED if kind in kinds), None)
    fits = True
    if meaning is not None:
        chain.whole(meaning)
    elif kind is layers.UpSampling2D:
        chain.whole(Kind.SAME if operation.interpolation == "nearest" else Kind.BETWEEN)
        fits = operation.interpolation in ("nearest", "bilinear")
    elif kind is layers.BatchNormalization:
        chain.whole(Kind.NORM)
        fits = not operation.renorm and operation.axis in (-1, len(operation.input.shape) - 1)
    elif kind in (layers.Rescaling, layers.Normalization):
        fits = _lower_affine(operation, chain)
    elif kind in KERNELS or kind in _SEPARABLE:
        (_kernel if kind in KERNELS else _separable)(operation, chain)
        fits = _lower_activation(operation.activation, chain)
    elif _merge_of(kind) is not None and len(chain.inputs) > 1:
        _merge(_merge_of(kind), chain)
    else:
        fits = _lower_activation(operation, chain)
    # Losses on activities would be computed before the activation, or not at all.
    return fits and getattr(operation, "activity_regularizer", None) is None


def _merge_of(kind: type) -> Any:
    """Returns the merging layer that a layer or an operation of Keras is; the user's own are something else."""
    own = MERGES.get(kind.__name__)
    return own if kind is own or kind.__module__.startswith(_KERAS_OPERATIONS) else None


def _kernel(layer: keras.Layer, chain: "_Chain") -> None:
    chain.add(
        Kind.KERNEL,
        lambda name: _copied(layer, name=name, activation="linear"),
        part="kernel",
        weights=layer.get_weights(),
    )


def _separable(layer: Any, chain: "_Chain") -> None:
    """A depthwise and a pointwise convolution, with an array between them that is rounded too."""
    depthwise, pointwise = _SEPARABLE[type(layer)]
    ones = (1,) * len(layer.kernel_size)
    shared = {"padding": layer.padding, "data_format": layer.data_format}
    chain.add(
        Kind.KERNEL,
        lambda name: depthwise(
            layer.kernel_size,
            strides=layer.strides,
            dilation_rate=layer.dilation_rate,
            depth_multiplier=layer.depth_multiplier,
            use_bias=False,
            trainable=layer.trainable,
            depthwise_regularizer=layer.depthwise_regularizer,
            depthwise_constraint=layer.depthwise_constraint,
            name=name,
            **shared,
        ),
        part="depthwise",
        weights=[layer.depthwise_kernel.numpy()],
    )
    bias = [layer.bias.numpy()] if layer.use_bias else []
    chain.add(
        Kind.KERNEL,
        lambda name: pointwise(
            layer.filters,
            ones,
            use_bias=layer.use_bias,
            trainable=layer.trainable,
            bias_regularizer=layer.bias_regularizer,
            bias_constraint=layer.bias_constraint,
            kernel_regularizer=layer.pointwise_regularizer,
            kernel_constraint=layer.pointwise_constraint,
            name=name,
        ),
        part="pointwise",
        weights=[layer.pointwise_kernel.numpy(), *bias],
    )


def _merge(kind: Any, chain: "_Chain") -> None:
    """Two arrays at a time: each sum or product is rounded."""
    total, *others = chain.inputs
    for number, other in enumerate(others, start=1):
        total = chain.add(Kind.ARITHMETIC, lambda name: kind(name=name), (total, other), part=f"merge{number}")


def _lower_affine(layer: Any, chain: "_Chain") -> bool:
    found = factor_and_shift(layer)
    if found is not None:
        chain.add(Kind.ARITHMETIC, lambda name: Affine(*found, name=name))
    return found is not None


def _lower_activation(activation: Any, chain: "_Chain") -> bool:
    """Adds an activation: a function, or a layer or operation that is one."""
    name, slope, most = _activation(activation)
    if name in ("linear", None):
        if not chain:
            chain.add(Kind.TRAINING, lambda given: layers.Activation("linear", name=given))
        return name is not None
    if name == "relu" and slope:
        chain.add(Kind.ARITHMETIC, lambda given: layers.LeakyReLU(slope, name=given), part="leaky_relu")
    elif name == "relu":
        # A range that ends at the most is the same as clipping there.
        fixed = None if most in (None, 6.0) else (0.0, most)
        chain.add(
            Kind.RELU, lambda given: layers.ReLU(6.0 if most == 6.0 else None, name=given), part="relu", fixed=fixed
        )
    elif name in _FIXED:
        chain.add(Kind.FIXED, lambda given: layers.Activation(name, name=given), part=name, fixed=_FIXED[name])
    elif name == "hard_sigmoid":
        _hard_sigmoid(chain)
    else:  # silu, hard_silu: the input times one of the above
        given = chain.end
        if name == "silu":
            gate = chain.add(
                Kind.FIXED,
                lambda given: layers.Activation("sigmoid", name=given),
                part="sigmoid",
                fixed=_FIXED["sigmoid"],
            )
        else:
            gate = _hard_sigmoid(chain)
        chain.add(Kind.ARITHMETIC, lambda given: layers.Multiply(name=given), (given, gate), part="gated")
    return True


def _hard_sigmoid(chain: "_Chain") -> Value:
    """x/6 + 1/2, whose range of 0 to 1 does the clipping."""
    return chain.add(
        Kind.ARITHMETIC, lambda given: Affine(1 / 6, 1 / 2, name=given), part="hard_sigmoid", fixed=(0.0, 1.0)
    )


def _activation(given: Any) -> tuple[str | None, float, float | None]:
    """Returns an activation's name (None: there is no integer form), its negative slope and its largest value."""
    if type(given) is layers.Activation:
        given = given.activation
    name, slope, most = getattr(given, "__name__", None), 0.2, None  # the slope is keras.activations.leaky_relu's
    if type(given) is layers.ReLU:
        slope, most = float(given.negative_slope), None if given.max_value is None else float(given.max_value)
        name = None if given.threshold or (slope and most is not None) else "leaky_relu"
    elif type(given) is layers.LeakyReLU:
        name, slope = "leaky_relu", float(given.negative_slope)
    elif type(given) is layers.Softmax:
        name = "softmax" if given.axis == -1 else None
    elif isinstance(given, keras.Operation):
        own = type(given).__module__.startswith(_KERAS_OPERATIONS) and getattr(given, "axis", -1) == -1
        name = _OPERATIONS.get(type(given).__name__) if own else None
        slope = float(getattr(given, "negative_slope", 0.0))
    elif not f"{getattr(given, '__module__', '')}.".startswith(_KERAS_FUNCTIONS):
        name = None  # the user's own function, whatever it is called
    if name == "leaky_relu":
        return "relu", slope, most
    if name == "relu6":
        return "relu", 0.0, 6.0
    return (name if name in _KNOWN else None), 0.0, None


class _Chain:
    """The steps of one call, each on the output of the one before unless it says otherwise."""

    def __init__(self, made: dict[tuple[int, str], Any], names: set[str], call: Call, *, seed: int) -> None:
        self._made, self._names, self._call, self._seed = made, names, call, seed
        self._parts: list[dict[str, Any]] = []
        self.inputs = call.inputs
        self.end = call.inputs[0]

    def __len__(self) -> int:
        return len(self._parts)

    def whole(self, kind: Kind) -> "_Chain":
        """Adds the call's own operation."""
        operation = self._call.operation
        weights = operation.get_weights() if isinstance(operation, keras.Layer) else ()
        self.add(
            kind, lambda name: _copied(operation, name=name, **self._fresh_seed(name)), self.inputs, weights=weights
        )
        return self

    def add(
        self,
        kind: Kind,
        make: Callable[[str], Any],
        inputs: Sequence[Value] = (),
        *,
        part: str = "",
        weights: Sequence[np.ndarray[Any, Any]] = (),
        fixed: tuple[float, float] | None = None,
    ) -> Value:
        """Adds a step and returns its output.

        Args:
          kind: of the step.
          make: makes the layer, of a given name.
          inputs: what it takes; the end of the chain by default.
          part: what the layer is called while it is not the last of its call.
          weights: of the layer.
          fixed: the range of its output, where it is known.
        """
        step = {"kind": kind, "inputs": tuple(inputs) or (self.end,), "weights": tuple(weights), "fixed": fixed}
        self.end = Value()
        self._parts.append({"step": {**step, "outputs": (self.end,)}, "make": make, "part": part})
        return self.end

    def _fresh_seed(self, name: str) -> dict[str, Any]:
        """Returns a seed for a layer that would else draw one of its own, another one each time."""
        config = self._call.operation.get_config() if isinstance(self._call.operation, keras.Layer) else {}
        unseeded = "seed" in config and config["seed"] is None
        return {"seed": (self._seed + zlib.crc32(name.encode())) & 0x7FFFFFFF} if unseeded else {}

    def steps(self) -> list[Step]:
        """Returns the steps; the last has the call's name and output."""
        found = []
        for number, each in enumerate(self._parts):
            last = number == len(self._parts) - 1
            key = (id(self._call.operation), "" if last else each["part"])
            if key not in self._made:
                name = self._call.name if last else fresh(f"{self._call.name}_{each['part']}", self._names)
                self._made[key] = each["make"](name)
            name = self._call.name if last else self._made[key].name
            outputs = {"outputs": self._call.outputs} if last else {}
            found.append(Step(layer=self._made[key], name=name, call=self._call, **{**each["step"], **outputs}))
        return found


def _copied(operation: Any, *, name: str, **changes: Any) -> Any:
    """Returns a new layer of the same settings; an operation of keras.ops, which has no state, is used as it is."""
    if not isinstance(operation, keras.Layer):
        return operation
    return type(operation).from_config({**operation.get_config(), "name": name, "dtype": "float32", **changes})


def fresh(name: str, taken: set[str]) -> str:
    """Returns the name, or with underscores the next that is not taken, and takes it."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _takes_arrays_alone(call: Call) -> bool:
    """Whether all that a call takes are arrays: a number in an operation would have no range."""
    return bool(call.inputs) and all(
        isinstance(leaf, Value) for leaf in keras.tree.flatten((call.args, call.kwargs)) if leaf is not None
    )
