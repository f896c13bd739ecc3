"""The whole check of a network, or of a file that was exported already."""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd import flatbuffer
from edgekd.errors import RecipeError
from edgekd.microcontroller import vela
from edgekd.portability import aware as aware_
from edgekd.portability import ethos_u, micro
from edgekd.portability.advice import instead
from edgekd.portability.owners import Owners
from edgekd.portability.shown import Shown, made_up, tried_with
from edgekd.portability.targets import AWARE, ETHOS_U, MICRO, OF_FILES, ONNX, TARGETS, TFLITE, carried, schemes_for
from edgekd.portability.wanted import Wanted, merged, problems
from edgekd.records import ExportCheck, Finding

_SCHEMES = ("float32", "int8")
_OPSET = "opset"
_OF_AWARE = ("preprocessing", "input_dtype", "output_dtype")  # the options that a file of an int8 network has too
_ON_DEVICES = (MICRO, *ETHOS_U)


def default_targets(model: Any) -> tuple[str, ...]:
    """Returns what a model is checked for where nothing is asked for: all but the NPUs, of which one must be chosen.

    Args:
      model: as for `check_model`.
    """
    import keras

    trainable = isinstance(model, keras.Model) and not _is_int8(model)
    return (*((AWARE,) if trainable else ()), TFLITE, ONNX, MICRO)


def check_model(
    model: Any,
    *,
    targets: Collection[str] | None = None,
    schemes: Collection[str] | None = None,
    exclude: Collection[str] = (),
    shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    **options: Any,
) -> ExportCheck:
    """Returns what of a model the targets cannot carry. It need not be trained; calibration samples are made up.

    Files are really written, to a temporary folder, by the converters that `export_model` uses. TFLM runs its file
    where tflite-micro is installed, and Vela compiles for Ethos-U.

    Args:
      model: as for `edgekd.export.export_model`.
      targets: some of `TARGETS`; see `default_targets`.
      schemes: of the files, for the targets that carry them; float32 and int8 by default.
      exclude: layers that stay in float, for the target `qat`.
      shape: one sample's shape, for a model that leaves sizes open.
      **options: of `export_model`: batch, opset, preprocessing, allow_select_tf_ops, ... Whether preprocessing can be
        folded depends on what is shown: it can be where it can for floats or for bytes.

    Raises:
      RecipeError: an unknown target, scheme, option or excluded layer, no target, or one that was asked for and carries
        none of the schemes. One that was not asked for is left out then, and a note says so.
      ModelError: nothing that can be exported, an open size, no preprocessing to take out of the graph, or Vela is not
        installed.
      NonFiniteError: a weight is NaN or infinite.
    """
    from edgekd.export import _source, check_preprocessing

    chosen = tuple(default_targets(model) if targets is None else dict.fromkeys(targets))
    _require_some(chosen)
    for key, given, target in ((_OPSET, _OPSET in options, ONNX), ("exclude", exclude, AWARE)):
        if given and target not in chosen:
            raise RecipeError(f"{key} is for target {target!r}, which is not among {', '.join(chosen)}.")
    wanted = tuple(_wanted(model, chosen, schemes, options, required=targets is not None))
    if any(target in ETHOS_U for target in chosen):
        vela.require_installed()
    preprocessing = options.get("preprocessing", "inside")
    check_preprocessing(model, preprocessing)
    source = _source.chosen(_source.source_of(model), shape=shape)
    _source.check_weights(source)
    if AWARE in chosen:
        _require_float(model)
    owners = Owners(model)
    shown = made_up([_source.sample_shape(spec) for spec in source.inputs], bytes_too=preprocessing == "fold")
    tried = {each.target for each in wanted} | {AWARE}
    left_out = [target for target in chosen if target not in tried]
    chosen = tuple(target for target in chosen if target in tried)
    _require_some(chosen)
    found: list[Finding] = []
    notes = [f"{target}: not checked, since it carries none of {', '.join(schemes or ())}" for target in left_out]
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        if AWARE in chosen:
            own = {"shape": shape} | {key: options[key] for key in _OF_AWARE if key in options}
            refused, said = tried_with(
                shown,
                lambda samples: aware_.findings(model, samples, Path(folder), exclude=exclude, **own),
                what=AWARE,
            )
            found += refused
            notes += said
        for number, each in enumerate(wanted):
            path = Path(folder) / f"{number}.{each.format}"
            refused, said = _tried(model, each, path, shown=shown, owners=owners, shape=shape)
            found += refused
            notes += said
    return ExportCheck(model=source.name, targets=chosen, findings=tuple(merged(found)), notes=tuple(notes))


def check_file(path: Path, *, targets: Collection[str] | None = None) -> ExportCheck:
    """Returns what of a .tflite file the targets cannot carry.

    Args:
      path: the file.
      targets: tflite (operators beyond the built-in ones), tflite-micro and Ethos-Us; the first two by default.

    Raises:
      RecipeError: a target that files are not checked for.
      ModelError: the file is damaged, or Vela is not installed.
    """
    chosen = tuple((TFLITE, MICRO) if targets is None else dict.fromkeys(targets))
    _require_some(chosen)
    for target in chosen:
        if target not in OF_FILES:
            raise RecipeError(
                f"target {target!r} is for models, and {path.name!r} has been exported already: choose some of "
                f"{', '.join(OF_FILES)}, or give the model that it was made from."
            )
    owners = Owners()
    found, notes = [], []
    model = flatbuffer.read(path.read_bytes())
    if TFLITE in chosen:
        found += list(_flex_of(model))
    for target in chosen:
        if target in _ON_DEVICES:
            refused, note = _on_device(path, target, schemes=(), owners=owners)
            found += refused
            notes.append(note)
    return ExportCheck(model=path.name, targets=chosen, findings=tuple(merged(found)), notes=tuple(notes))


def _require_some(targets: Collection[str]) -> None:
    if not targets:
        raise RecipeError(f"there is no target to check for: choose some of {', '.join(TARGETS)}, or another scheme.")


def _wanted(
    model: Any, targets: Collection[str], schemes: Collection[str] | None, options: Mapping[str, Any], *, required: bool
) -> Iterator[Wanted]:
    asked = (("int8",) if _is_int8(model) else _SCHEMES) if schemes is None else tuple(schemes)
    for target in targets:
        if target not in TARGETS:
            raise RecipeError(f"unknown target {target!r}. Known: {', '.join(TARGETS)}.")
        if target == AWARE:
            continue
        # A microcontroller wants integers, unless somebody asks for floats.
        carry = schemes_for(target, ("int8",) if schemes is None and target in _ON_DEVICES else asked)
        if not carry and required:
            raise RecipeError(
                f"target {target!r} cannot carry scheme {', '.join(asked)}: choose one of {', '.join(carried(target))}."
            )
        for scheme in carry:
            own = {key: value for key, value in options.items() if key != _OPSET or target == ONNX}
            if target in _ON_DEVICES and scheme.arithmetic == "integer":
                integers = f"int{scheme.activation_bits}"
                own |= {"input_dtype": integers, "output_dtype": integers}
            yield Wanted(target, ONNX if target == ONNX else TFLITE, scheme.name, own)


def _tried(
    model: Any, wanted: Wanted, path: Path, *, shown: Sequence[Shown], owners: Owners, shape: Any
) -> tuple[list[Finding], list[str]]:
    with_shape = Wanted(wanted.target, wanted.format, wanted.scheme, {**wanted.options, "shape": shape})
    what = f"{wanted.target} ({wanted.scheme})"
    found, notes = tried_with(
        shown, lambda samples: problems(model, with_shape, path, samples=samples, owners=owners), what=what
    )
    if wanted.target not in _ON_DEVICES:
        return found, notes
    if found:
        # What floats are left to can be looked at all the same.
        floats = Wanted(
            wanted.target, wanted.format, wanted.scheme, {**with_shape.options, "allow_float_operators": True}
        )
        if problems(model, floats, path, samples=shown[0].samples, owners=owners):
            return found, [f"{what}: not tried, since there is no file"]
    refused, note = _on_device(path, wanted.target, schemes=(wanted.scheme,), owners=owners)
    # Vela says of a float operator, in its own words, what the converter says.
    return refused if wanted.target in ETHOS_U else [*found, *refused], [*notes, note]


def _on_device(path: Path, target: str, *, schemes: tuple[str, ...], owners: Owners) -> tuple[list[Finding], str]:
    if target == MICRO:
        return micro.findings(path, schemes=schemes, owners=owners)
    return ethos_u.findings(path, target, schemes=schemes, owners=owners)


def _flex_of(model: Any) -> Iterator[Finding]:
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            name = flatbuffer.operator_name(model.operatorCodes[operator.opcodeIndex])
            if name.startswith("Flex"):
                yield Finding(
                    targets=(TFLITE,),
                    operator=name,
                    output=flatbuffer.output_name(operator, graph),
                    problem="is TensorFlow's own (Flex, SELECT_TF_OPS), which no Python runtime includes",
                    advice=instead("flex", name.removeprefix("Flex"), None),
                )


def _is_int8(model: Any) -> bool:
    import keras

    from edgekd.quantize import aware

    return isinstance(model, keras.Model) and aware.is_quantize_aware(model)


def _require_float(model: Any) -> None:
    if _is_int8(model):
        raise RecipeError(
            f"model {model.name!r} is fake-quantised to int8 already: check it for other targets than {AWARE}, or give "
            "the float network that it was made from."
        )
