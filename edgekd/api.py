"""The Python API: each step of the road as one function, for scripts that bring their own networks and data."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd import bench as _bench
from edgekd import recipe as _recipe
from edgekd import runtime
from edgekd.data.dataset import Dataset, Split
from edgekd.errors import DataError, ModelError, RecipeError, unknown_name
from edgekd.pipeline import Progress
from edgekd.pipeline import load_data as _load_data
from edgekd.records import Artifact, Comparison, EpochRecord, ExportCheck, Measurement, Sensitivity, Task

if TYPE_CHECKING:  # importing it would import TensorFlow, which happens when work begins
    import keras
    import tensorflow as tf

    from edgekd.diff import Difference
    from edgekd.distill.learners import Learners
    from edgekd.distill.objective import Objective
    from edgekd.distill.teacher import TeacherSource
    from edgekd.export import CSource
    from edgekd.golden.records import ConversionCheck
    from edgekd.inspect import Inspection
    from edgekd.verify.records import Verification


def load_data(dataset: str = "embedded", *, task: Task = "classification", **options: Any) -> Dataset:
    """Returns a dataset in three splits.

    Args:
      dataset: embedded, synthetic, tfds:NAME, idx:DIR, image_folder:DIR or npz:FILE.
      task: what networks are to give for a sample: its class, or with "reconstruction" the sample itself.
      **options: keys of a recipe's data section, such as `validation_fraction` or `train_limit`, and the source's own.

    Raises:
      RecipeError: an unknown source or option.
      DataError: data that is missing, unreadable or inconsistent.
    """
    return _load_data(_recipe.section(_recipe.Data, {"dataset": dataset, **options}), task=task)


def create_model(architecture: str, data: Dataset, *, seed: int = 0, **arguments: Any) -> "keras.Model":
    """Returns a network of the zoo's architectures, or of `package.module:function`, that fits the data.

    Raises:
      RecipeError: an unknown architecture or argument.
      ModelError: the network cannot be built for samples of this shape.
    """
    from edgekd import architectures

    return architectures.create(
        architecture,
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        seed=seed,
        arguments=arguments,
        output_shape=data.output_shape,
    )


def train_model(
    model: "keras.Model",
    data: Dataset,
    *,
    seed: int = 0,
    strategy: "tf.distribute.Strategy | None" = None,
    **settings: Any,
) -> tuple[EpochRecord, ...]:
    """Trains a network on labels, in place, and returns its learning curve.

    It ends with the weights of the epoch with the best validation accuracy. On data of task reconstruction it learns
    to give back its inputs, and the least validation loss decides.

    Args:
      model: takes samples of the data's shape, gives logits, or the samples.
      data: its training split is learned from, its validation split selects the epoch.
      seed: decides order and views.
      strategy: a MirroredStrategy or MultiWorkerMirroredStrategy that shares each step out, see docs/workers.md.
      **settings: keys of a recipe's training section (`epochs`, `optimizer`, `learning_rate`, ...), `batch_size`,
        `mixup` and `augment`, a mapping such as {"shift": 2, "flip": True}.

    Raises:
      RecipeError: an unknown or invalid setting.
      ModelError: the model does not take the data's samples, or does not give a logit for each of its classes.
      NonFiniteError: the loss became NaN or infinite.
    """
    from edgekd.distill import fitting
    from edgekd.distill.objective import Objective

    training, batches = _settings(settings)
    _require_dataset(data)
    fitting.check(model, data, role="model")
    data = dataclasses.replace(data, train=data.labelled_train)
    return _fit(
        model,
        data,
        Objective(label_smoothing=training.label_smoothing),
        None,
        training,
        batches,
        seed,
        strategy=strategy,
    )


def distill_model(
    student: "keras.Model",
    teacher: Any,
    data: Dataset,
    *,
    losses: Sequence[Mapping[str, Any]] | None = None,
    labels_weight: float | Mapping[str, Any] | None = None,
    ensemble: Mapping[str, Any] | None = None,
    cache: Mapping[str, Any] | None = None,
    seed: int = 0,
    strategy: "tf.distribute.Strategy | None" = None,
    **settings: Any,
) -> tuple[EpochRecord, ...]:
    """Trains the student, in place, taught by one or several frozen teachers, and returns its learning curve.

    Args:
      student: takes samples of the data's shape, gives logits, or the samples where the data's task is reconstruction.
      teacher: the same classes; it sees exactly the views that the student sees. A Keras network, the path of a Keras,
        tf_keras, TFLite or ONNX file or of a SavedModel folder, a function from [batch, ...] float32 images to
        [batch, classes] logits, or a mapping from names to several of these: then taps begin with a teacher's name and
        a slash. A list is the mapping with the names teacher, teacher_2, ...
      data: as for `train_model`.
      losses: terms as in a recipe: {"loss": name, "weight": w, "taps": [[student layer, teacher layer], ...], ...};
        soft logits at temperature 4 with weight 0.9 by default. With task reconstruction only losses on taps can be, by
        default feature_mse on the layers called `reconstruction`, with weight 1.
      labels_weight: weight of the cross-entropy with the labels, 0.1 by default, or of the mean squared error to the
        inputs, 1 by default; a number or a schedule.
      ensemble: how several teachers become one, as in a recipe.
      cache: keeps the teachers' outputs, as in a recipe: {} for the defaults, None to ask them at every step.
      seed: decides order and views, and the initial weights of adapters.
      strategy: as for `train_model`.
      **settings: as for `train_model`.

    Raises:
      RecipeError: an unknown or invalid loss or setting.
      ModelError: a tap that does not exist (the message lists the known ones), or shapes that do not fit.
      NonFiniteError: the loss became NaN or infinite.
    """
    from edgekd.distill import objective
    from edgekd.pipeline import teaching

    training, batches = _settings(settings)
    _require_dataset(data)
    section = _distill_section("offline", losses, labels_weight, data.task, ensemble=dict(ensemble or {}), cache=cache)
    goal = objective.from_recipe(section, label_smoothing=training.label_smoothing).on(data)
    teachers = _named_teachers(teacher)
    learners = teaching.of_student(student, goal)
    _check(learners, data)
    for name, each in teachers.items():
        _require_apart(student, each, name)
    opened = {
        name: teaching.opened(each, goal, data, name=name, names=tuple(teachers)) for name, each in teachers.items()
    }
    with teaching.prepared(
        section, batches, data, goal, learners, opened, seed=seed, epochs=training.epochs, progress=Progress()
    ) as (source, views):
        return _fit(learners, data, goal, source, training, batches, seed, views=views, strategy=strategy)


def distill_peers(
    models: "Sequence[keras.Model]",
    data: Dataset,
    *,
    losses: Sequence[Mapping[str, Any]] | None = None,
    labels_weight: float | Mapping[str, Any] | None = None,
    seed: int = 0,
    strategy: "tf.distribute.Strategy | None" = None,
    **settings: Any,
) -> tuple[EpochRecord, ...]:
    """Trains networks together, in place, each taught by all others, and returns the first one's learning curve.

    All end with the weights of the epoch in which the first one's validation accuracy was best.

    Args:
      models: two or more, of any architectures with the same inputs and classes.
      data: as for `train_model`.
      losses: terms as for `distill_model`; a term is the mean over the other networks. By default soft logits at
        temperature 1 with weight 1.
      labels_weight: weight of each network's cross-entropy with the labels, 1 by default.
      seed: decides order and views.
      strategy: as for `train_model`.
      **settings: as for `train_model`.

    References:
      Zhang et al., Deep Mutual Learning, 2017 (arXiv:1706.00384).
    """
    from edgekd.distill import objective
    from edgekd.distill.learners import Peers

    training, batches = _settings(settings)
    section = _distill_section("online", losses, labels_weight)
    _require_dataset(data)
    goal = objective.from_recipe(section, label_smoothing=training.label_smoothing).on(data)
    learners = Peers(models, goal.student_taps, goal.teacher_taps)
    _check(learners, data)
    return _fit(learners, data, goal, None, training, batches, seed, strategy=strategy)


def distill_self(
    model: "keras.Model",
    data: Dataset,
    *,
    exits: Sequence[str],
    losses: Sequence[Mapping[str, Any]] | None = None,
    labels_weight: float | Mapping[str, Any] | None = None,
    seed: int = 0,
    strategy: "tf.distribute.Strategy | None" = None,
    **settings: Any,
) -> tuple[EpochRecord, ...]:
    """Trains a network with early exits that its own logits teach, in place, and returns its learning curve.

    The exits are dropped afterwards. The network itself learns from labels alone, with weight 1.

    Args:
      model: takes samples of the data's shape, gives logits.
      data: as for `train_model`.
      exits: taps of feature maps, where classifiers are added while training.
      losses: terms of each exit as for `distill_model`; `features` is what logits are computed from, of an exit and of
        the network. By default soft logits at temperature 3 with weight 0.3, and feature_mse on `features` with 0.03.
      labels_weight: weight of each exit's cross-entropy with the labels, 0.7 by default.
      seed: decides order, views and the exits' initial weights.
      strategy: as for `train_model`.
      **settings: as for `train_model`.

    References:
      Zhang et al., Be Your Own Teacher, 2019 (arXiv:1905.08094).
    """
    from edgekd.distill import objective
    from edgekd.distill.learners import Exits

    training, batches = _settings(settings)
    section = _distill_section("self", losses, labels_weight)
    _require_dataset(data)
    goal = objective.from_recipe(section, label_smoothing=training.label_smoothing).on(data)
    if data.reconstructs:
        raise RecipeError("exits are classifiers, which task reconstruction has not: use distill_model.")
    if isinstance(exits, str) or not exits:
        raise RecipeError(f"exits is {exits!r}: expected a list of taps, such as ['stage1', 'stage2'].")
    learners = Exits(model, exits, input_shape=data.input_shape, seed=seed)
    _check(learners, data)
    return _fit(learners, data, goal, None, training, batches, seed, strategy=strategy)


def sparsify_model(
    model: "keras.Model",
    teacher: Any,
    data: Dataset,
    *,
    prune: Mapping[str, Any] | None = None,
    cluster: Mapping[str, Any] | None = None,
    shrink: Mapping[str, Any] | None = None,
    exclude: Sequence[str] = (),
    seed: int = 0,
    **settings: Any,
) -> "keras.Model":
    """Returns the sparse network of a trained one: pruned, clustered or shrunk, taught on, and plain again.

    Args:
      model: a built functional or sequential network, trained; it stays as it is.
      teacher: as for `distill_model`, `model` itself too; or None, to train on labels.
      data: as for `train_model`.
      prune: as in a recipe: {"sparsity": 0.8} or {"pattern": "2:4"}, with a "ramp"; one of the three is given.
      cluster: as in a recipe, such as {"clusters": 16}.
      shrink: as in a recipe, such as {"amount": 0.5, "of": "macs"}.
      exclude: names of layers that stay as they are.
      seed: as for `distill_model`.
      **settings: other arguments of `distill_model`, or of `train_model` where there is no teacher; by default 4 epochs
        with a learning rate of 0.01.

    Raises:
      RecipeError: an unknown or invalid setting.
      ModelError: a network that cannot be made sparse like that, or as for `distill_model`.
      NonFiniteError: the loss became NaN or infinite.
    """
    from edgekd.data.batches import steps_per_epoch
    from edgekd.pipeline import sparsifying

    _require_dataset(data)
    taught = {key: settings.pop(key) for key in _NOT_OF_TRAINING if key in settings}
    ways = {"prune": prune, "cluster": cluster, "shrink": shrink}
    section = _recipe.section(_recipe.Sparsify, {**settings, **ways, "exclude": list(exclude)})
    _, batches = _settings({key: taught[key] for key in _BATCHES if key in taught})
    train = data.train if teacher is not None else data.labelled_train
    steps = section.epochs * steps_per_epoch(train, batch_size=batches.batch_size)
    network = sparsifying.transformed(model, section, steps=steps, seed=seed)
    training = section.model_dump(mode="json", include=set(_recipe.Training.model_fields))
    if teacher is None:
        train_model(network, data, seed=seed, **taught, **training)
    else:
        distill_model(network, teacher, data, seed=seed, **taught, **training)
    return sparsifying.result(network, section)


def quantize_model(
    model: "keras.Model",
    data: Dataset,
    *,
    exclude: Sequence[str] = (),
    calibration: str = "min_max",
    samples: int = 512,
    ranges: str = "moving_average",
    freeze_after: int | None = None,
    seed: int = 0,
    **settings: Any,
) -> "keras.Model":
    """Returns the int8 network of a float one: it computes in float32 what its int8 file will compute.

    Give it to `export_model` with the scheme int8, as it is or after training: `train_model` and `distill_model` train
    it like any other network, with the rounding in place (quantisation-aware training).

    Args:
      model: a built functional or sequential network, which stays as it is.
      data: its training split shows the ranges of activations.
      exclude: names of layers that stay in float.
      calibration: how ranges are found; see `edgekd list calibrations`.
      samples: how many training samples show them.
      ranges: in training, `moving_average` follows the batches, `learned` trains the ranges.
      freeze_after: training steps after which moving averages stay as they are.
      seed: chooses the samples, and is that of dropout without a seed of its own.
      **settings: of the calibration.

    Raises:
      RecipeError: an unknown layer, calibration or setting.
      ModelError: layers that integers cannot compute; the message names them all.
      DataError: unusable calibration samples.
    """
    from edgekd.data.calibration import calibratable, calibration_samples
    from edgekd.quantize import aware

    _require_dataset(data)
    _, images = calibration_samples(data.train, samples=min(samples, calibratable(data.train)), seed=seed)
    return aware.quantize_aware(
        model,
        images,
        exclude=exclude,
        calibration=calibration,
        seed=seed,
        ranges=ranges,
        freeze_after=freeze_after,
        **settings,
    )


def analyse_sensitivity(
    model: "keras.Model",
    data: Dataset,
    folder: Path | str,
    *,
    max_accuracy_drop: float = 0.005,
    images: int = 1000,
    exclude: Sequence[str] = (),
    calibration: str = "min_max",
    samples: int = 512,
    seed: int = 0,
    processes: int = 5,
    **settings: Any,
) -> Sensitivity:
    """Returns which layers of a classifier suffer from int8, and keeps the cheapest file that loses little enough.

    Each layer, with its batch normalisation and ReLU, is rounded alone, and all but it, and judged on validation
    images. Where full int8 loses more accuracy than allowed, layers stay in float until a file fits.

    Args:
      model: a built functional or sequential network that gives logits; it stays as it is.
      data: its training split calibrates, its validation split judges. The test split is read once, when the file is
        chosen, and only for the record's `test`.
      folder: gets model-sensitivity.json, model-float32.tflite, model-int8.tflite and, where layers stay in float,
        model-mixed.tflite.
      max_accuracy_drop: the accuracy of the float network minus that of a file may be at most this.
      images: how many validation images judge; all of them where there are fewer.
      exclude: names of layers that stay in float in any case.
      calibration: how ranges are found; see `edgekd list calibrations`.
      samples: how many training samples show them.
      seed: chooses both kinds of images.
      processes: fresh processes that measure the latency of each file.
      **settings: of the calibration.

    Raises:
      RecipeError: a budget, number, layer, calibration or setting that cannot be.
      ModelError: no classifier of this data, a quantised network, or layers that integers cannot compute.
      DataError: unusable calibration samples.
      StorageError: the folder cannot be written to.
    """
    from edgekd.pipeline import sensitivity

    _require_dataset(data)
    return sensitivity.analyse(
        model,
        data,
        Path(folder),
        name="model",
        max_accuracy_drop=max_accuracy_drop,
        images=images,
        exclude=exclude,
        calibration=calibration,
        samples=samples,
        seed=seed,
        processes=processes,
        **settings,
    )


def export_model(
    model: Any,
    path: Path | str,
    *,
    scheme: str = "float32",
    data: Dataset | None = None,
    samples: int = 512,
    seed: int = 0,
    **options: Any,
) -> Artifact:
    """Writes a model as TFLite or ONNX, by the path's suffix, opens the file in its runtime and returns its record.

    Args:
      model: a network of Keras 3 or tf_keras, a TensorFlow function with a signature, or the path of a .keras or .h5
        file or of a SavedModel folder.
      path: ends in .tflite or .onnx.
      scheme: such as float32 or int8; see `edgekd list schemes`.
      data: its training split calibrates schemes that need it.
      samples: how many training samples calibrate.
      seed: chooses them.
      **options: `batch` (None for dynamic), `shape` of a sample, `input_names`, `output_names`, `input_dtype`,
        `output_dtype`, `preprocessing` (`inside`, `outside` or `fold`), `origin`, and the format's own.

    Raises:
      RecipeError: an unknown scheme, format or option, or one that does not fit.
      DataError: int8 without data, or unusable calibration samples.
      ModelError: the model cannot be converted.
    """
    from edgekd import quantize
    from edgekd.data.calibration import calibratable, calibration_samples
    from edgekd.export import export_model as export_file
    from edgekd.teachers.exportable import open_model

    path = Path(path)
    calibration = None
    if data is not None and quantize.needs_calibration(scheme, options.get("layers")):
        _, calibration = calibration_samples(data.train, samples=min(samples, calibratable(data.train)), seed=seed)
    network = open_model(model) if isinstance(model, Path | str) else model
    return export_file(
        network,
        path,
        format=path.suffix.removeprefix("."),
        scheme=scheme,
        name=path.name,
        source=network.name,
        calibration=calibration,
        **options,
    )


def check_export(
    model: Any,
    *,
    targets: Sequence[str] | None = None,
    schemes: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    **options: Any,
) -> ExportCheck:
    """Returns what of a model its targets cannot carry, layer by layer, and what to write instead.

    The model need not be trained: it is converted to a temporary folder, calibrated on made-up samples.

    Args:
      model: as for `export_model`; or the path of a .tflite file, whose operators are looked at.
      targets: some of qat, tflite, onnx, tflite-micro and Ethos-Us such as ethos-u55-128; all but the Ethos-Us by
        default.
      schemes: of the files; float32 and int8 by default.
      exclude: layers that stay in float in quantisation-aware training.
      **options: of `export_model`, such as `batch`, `shape` of a sample or `opset`.

    Raises:
      RecipeError: an unknown target, scheme, option or layer, or ones that do not go together.
      ModelError: nothing that can be exported, an open size, or the package ethos-u-vela is not installed.
      StorageError: there is no such file.
    """
    from edgekd import portability
    from edgekd.storage import require_file
    from edgekd.teachers.exportable import open_model

    if isinstance(model, Path | str):
        if Path(model).suffix.lower() == ".tflite":
            further = {"schemes": schemes, "exclude": exclude, **options}
            given = [name for name, value in further.items() if value]
            if given:
                raise RecipeError(f"{', '.join(given)}: a .tflite file is checked as it is, so leave them out.")
            return portability.check_file(require_file(Path(model), "TFLite file"), targets=targets)
        model = open_model(model)
    return portability.check_model(model, targets=targets, schemes=schemes, exclude=exclude, **options)


def inspect_model(path: Path | str, *, delegates: bool = True, arena: bool = False) -> "Inspection":
    """Returns what is in a TFLite, ONNX or Keras file: operators, sizes, arithmetic, memory, scales, provenance.

    Args:
      path: the file.
      delegates: whether LiteRT prepares a TFLite file, in a child process, to see which operators its delegate takes.
      arena: whether TFLM runs a TFLite file to find the smallest tensor arena; it needs the package tflite-micro.

    Raises:
      StorageError: there is no such file.
      ModelError: it is damaged or of another kind; for `arena`, TFLM is missing or cannot run it.
    """
    from edgekd.inspect import inspect_model as inspect

    return inspect(path, delegates=delegates, arena=arena)


def diff_models(old: Path | str, new: Path | str) -> "Difference":
    """Returns what changed between two TFLite or two ONNX files: interface, operators, quantisation, weights, metadata.

    Raises:
      StorageError: there is no such file.
      ModelError: one is damaged, or they are of two formats.
    """
    from edgekd.diff import diff_models as diff

    return diff(old, new)


def write_c_source(path: Path | str, folder: Path | str, *, name: str | None = None) -> "CSource":
    """Writes a TFLite file as C for microcontrollers: the array, the operators to register, the arena's size.

    Args:
      path: a .tflite file; tflite-micro must be installed (`pip install edgekd[microcontroller]`).
      folder: where NAME.h, NAME.c and NAME_resolver.h go.
      name: of the array; by default the file's.

    Raises:
      RecipeError: a name that C cannot take.
      ModelError: TFLM lacks an operator, or cannot run the file.
    """
    from edgekd.export import write_c_source as write

    return write(path, folder, name=name)


def verify_model(
    reference: "keras.Model | Path | str",
    candidate: Path | str,
    split: Split,
    *,
    dataset: str = "the given samples",
    task: Task = "classification",
) -> Comparison:
    """Returns how far a file is from its reference on real samples: accuracy drop, agreement and output errors.

    Args:
      reference: a network, or the path of a Keras, tf_keras, TFLite or ONNX file or of a SavedModel folder.
      candidate: the path of such a file or folder, with `@RUNTIME` behind it or not.
      split: samples and labels, such as `data.test`.
      dataset: what to call them in the record.
      task: with "reconstruction" outputs are compared by value alone, and labels are not read.

    Raises:
      ModelError: a file that cannot be opened or does not take these samples.
      NonFiniteError: NaN or infinite outputs.
    """
    from edgekd.teachers.runnable import open_runnable
    from edgekd.verify import comparison

    images, labels = split.read(np.arange(len(split)))
    if isinstance(reference, Path | str):
        with open_runnable(reference).runner as runner:
            outputs, name = runtime.predict(runner, images), Path(reference).name
    else:
        from edgekd.distill.evaluate import Predictor

        outputs, name = Predictor(reference).logits(split), reference.name
    with open_runnable(candidate).runner as runner:
        names = (name, Path(candidate).name)
        by_class = task == "classification"
        return comparison.compare(
            outputs, runner, images, labels if by_class else None, names=names, dataset=dataset, by_class=by_class
        )


def verify_models(
    reference: Any,
    candidates: "Sequence[Any]",
    *,
    data: Dataset | Split | Path | str | None = None,
    seeded: int | None = None,
    seed: int = 0,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    runtimes: Sequence[str] = (),
    matrix: bool = False,
    signature: str | None = None,
    classes: str | None = None,
    paired: Mapping[str, str] | None = None,
    batch_size: int = 64,
    reset_every: int = 1,
    layers: bool = False,
    **limits: Any,
) -> "Verification":
    """Returns whether each candidate is its reference, within derived tolerances: true where all are.

    Args:
      reference: a network of Keras 3 or tf_keras; or the path of a .keras, .h5, .tflite or .onnx file or of a
        SavedModel folder, with `@RUNTIME` behind it or not.
      candidates: of the same kinds; there need be none for a matrix of one file in several runtimes.
      data: a dataset or its name, a split, an .npz file with an array for each input, or a folder of images. Seeded
        samples by default.
      seeded: how many of these, 64 by default.
      seed: decides them.
      ranges: {input: (low, high)} of seeded samples, where it is not the one that a file declares.
      shapes: {input: shape with the batch}, for inputs with open sizes.
      runtimes: run each TFLite and ONNX candidate in each of these that can, such as litert_builtin; "all" of them.
      matrix: compare every pair of models, the reference in every runtime too.
      signature: which one of TFLite files and SavedModels to run.
      classes: the output whose argmax is the class, where several may be.
      paired: {an input's or output's name of the reference: the candidates' name}; else by name or by position.
      batch_size: samples per run of models whose batch may vary.
      reset_every: samples between two resets of models with a state.
      layers: compare the pairs operator by operator too, on the first 32 samples; they must be .keras, .tflite or .onnx
        files. What is returned is then a `LayeredVerification`.
      **limits: `epsilons`, `max_abs`, `max_lsb`, `max_mismatch`, `min_sqnr_db`, `max_accuracy_drop`, `min_agreement`,
        `expect`, `by_interval`; see `edgekd.verify.tolerances.Limits`.

    Raises:
      RecipeError: unknown or contradictory options.
      ModelError: a model that cannot be opened or run, or models that do not fit together.
      DataError: data that is missing, damaged or empty.
    """
    from edgekd.pipeline import verification
    from edgekd.verify.tolerances import Limits

    known = [field.name for field in dataclasses.fields(Limits)]
    for name in limits:
        if name not in known:
            raise RecipeError(unknown_name("limit", name, known))
    return verification.verify_models(
        reference,
        candidates,
        data=data,
        seeded=seeded,
        seed=seed,
        ranges=ranges or {},
        shapes=shapes or {},
        runtimes=runtimes,
        matrix=matrix,
        signature=signature,
        limits=Limits(**limits),
        classes=classes,
        paired=paired or {},
        batch_size=batch_size,
        reset_every=reset_every,
        layers=layers,
    )


def check_conversion(model: Path | str, golden: Path | str, **options: Any) -> "ConversionCheck":
    """Returns whether an exported file is still what its golden record says, and within its budgets.

    A missing record is written, and the check has failed. In pytest the fixture `conversion` does this, see docs/ci.md.

    Args:
      model: a .tflite or .onnx file, with `@RUNTIME` behind it or not.
      golden: the JSON file of the record.
      **options: see `edgekd.golden.checking.check_conversion`.

    Raises:
      RecipeError: options that do not go together.
      ModelError: a file that cannot be read or run.
      NonFiniteError: NaN or infinite outputs.
      StorageError: a file that is missing, or a golden record that is damaged.
    """
    from edgekd.golden import checking

    return checking.check_conversion(model, golden, **options)


def bench_models(
    paths: Sequence[Path | str], *, raw_folder: Path | str, num_threads: Sequence[int] = (1,), **settings: Any
) -> tuple[Measurement, ...]:
    """Measures latency and memory of TFLite and ONNX files on this machine, their runs interleaved.

    Args:
      paths: the files.
      raw_folder: folder for the raw samples.
      num_threads: numbers of threads, each measured on its own.
      **settings: the target's own, such as `processes=10`; see `edgekd list targets`.

    Raises:
      RecipeError: an unknown target or setting.
      ModelError: a file that cannot be measured.
    """
    return _bench.measure(
        [Path(path) for path in paths], raw_folder=Path(raw_folder), num_threads=num_threads, **settings
    )


# Settings of `distill_model` and `train_model` that are no keys of a training section.
_BATCHES = ("batch_size", "augment", "mixup")
_NOT_OF_TRAINING = (*_BATCHES, "losses", "labels_weight", "ensemble", "cache", "strategy")


def _settings(settings: Mapping[str, Any]) -> tuple[_recipe.Training, _recipe.Data]:
    batches = {key: settings[key] for key in _BATCHES if key in settings}
    training = {key: value for key, value in settings.items() if key not in batches}
    return _recipe.section(_recipe.Training, training), _recipe.section(_recipe.Data, batches)


def _distill_section(
    way: str,
    losses: Sequence[Mapping[str, Any]] | None,
    labels_weight: float | Mapping[str, Any] | None,
    task: Task = "classification",
    **further: Any,
) -> _recipe.Distill:
    document = {**_recipe.default_objective(way, task), **further}
    if isinstance(losses, str | Mapping) or not all(isinstance(loss, Mapping) for loss in losses or ()):
        raise RecipeError(f"losses is {losses!r}: expected a list of mappings, such as [{{'loss': 'soft_logits'}}].")
    if losses is not None:
        document["losses"] = [dict(loss) for loss in losses]
    if labels_weight is not None:
        document["labels_weight"] = labels_weight
    return _recipe.section(_recipe.Distill, document)


def _check(learners: "Learners", data: Dataset) -> None:
    from edgekd.distill import fitting

    _require_dataset(data)
    for model, role in zip(learners.models, ("student", *learners.names[1:]), strict=False):
        fitting.check(model, data, role=role)


def _require_dataset(data: Any) -> None:
    if not isinstance(data, Dataset):
        raise DataError(
            f"data is a {type(data).__name__}: expected what edgekd.load_data returns. Arrays are loaded from an .npz "
            "file: numpy.savez('mine.npz', x_train=..., y_train=...), then load_data('npz:mine.npz')."
        )


def _named_teachers(teacher: Any) -> dict[str, Any]:
    if isinstance(teacher, Mapping):
        return dict(teacher)
    if isinstance(teacher, list | tuple):
        return {"teacher" if number == 1 else f"teacher_{number}": each for number, each in enumerate(teacher, start=1)}
    return {"teacher": teacher}


def _require_apart(student: "keras.Model", teacher: Any, name: str) -> None:
    own = {id(variable) for variable in student.variables}
    shared = [variable.path for variable in getattr(teacher, "variables", ()) if id(variable) in own]
    if shared:
        raise ModelError(
            f"{name} shares variables with the student ({shared[0]}, ...), so it would not stay as it is: give it "
            "weights of its own, such as keras.models.clone_model(model) with set_weights(model.get_weights())."
        )


def _fit(
    student: "keras.Model | Learners",
    data: Dataset,
    objective: "Objective",
    teacher: "TeacherSource | None",
    training: _recipe.Training,
    batches: _recipe.Data,
    seed: int,
    views: int | None = None,
    strategy: "tf.distribute.Strategy | None" = None,
) -> tuple[EpochRecord, ...]:
    from edgekd.data.augment import Augmentation
    from edgekd.distill.loop import fit
    from edgekd.quantize import aware

    models = getattr(student, "models", (student,))
    if training.precision != "float32" and any(aware.is_quantize_aware(model) for model in models):
        raise RecipeError(
            f"precision is {training.precision!r}, but rounding to int8 must be computed in float32: remove precision."
        )
    state = fit(
        student,
        data,
        objective=objective,
        training=training,
        teacher=teacher,
        augmentation=Augmentation(**batches.augment.model_dump()),
        mixup=batches.mixup,
        views=views,
        batch_size=batches.batch_size,
        seed=seed,
        strategy=strategy,
    )
    for model in models:
        if aware.is_quantize_aware(model):
            aware.round_biases(model)
    return tuple(state.curve)
