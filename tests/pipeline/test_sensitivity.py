"""Which layers suffer from int8, on networks in which one was made to."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import edgekd
from edgekd import architectures, recipe, runtime
from edgekd.cli import _tables
from edgekd.cli.quantize import _show
from edgekd.data.dataset import Dataset, Split
from edgekd.errors import DataError, ModelError, RecipeError, ShapeError, StorageError
from edgekd.pipeline import Progress, excluding
from edgekd.pipeline.folder import Identity, RunFolder
from edgekd.records import Sensitivity

CLASSES = 3
DEAD = 5  # a channel of the body that is always zero


def blobs(count: int, *, seed: int) -> np.ndarray:
    """Bright spots of many sizes and places on noise."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:8, 0:8]
    centre, width = generator.uniform(0, 8, (count, 2, 1, 1)), generator.uniform(1, 4, (count, 1, 1))
    spots = np.exp(-((rows - centre[:, 0]) ** 2 + (columns - centre[:, 1]) ** 2) / width**2)
    images = 0.7 * spots * generator.uniform(0.3, 1, (count, 1, 1)) + 0.3 * generator.random((count, 8, 8))
    return (255 * images[..., None]).astype(np.uint8)


def labelled_by(model: keras.Model) -> Dataset:
    """Data whose validation labels are what the float network says: every wrong prediction is the rounding's.

    The other splits' labels are all wrong.
    """

    def split(count: int, *, seed: int, wrong: bool) -> Split:
        images = blobs(count, seed=seed)
        logits = model(images.astype(np.float32) / 255, training=False).numpy()
        return Split(images, (logits.argmax(-1).astype(np.int64) + wrong) % CLASSES)

    return Dataset(
        name="blobs",
        train=split(200, seed=1, wrong=True),
        validation=split(400, seed=2, wrong=False),
        test=split(50, seed=3, wrong=True),
        class_names=tuple("abc"),
    )


@pytest.fixture(scope="module")
def suffering() -> keras.Model:
    """A classifier whose layer `hidden` has one huge weight, on an input that is always zero.

    Dense kernels have one scale: beside that weight all others are rounded to zero.
    """
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="stem")(inputs)
    x = layers.Conv2D(32, 3, strides=2, use_bias=False, name="body_conv")(x)
    x = layers.ReLU(name="body")(layers.BatchNormalization(name="body_bn")(x))
    x = layers.GlobalMaxPooling2D(name="largest")(x)
    x = layers.Dense(8, activation="tanh", name="hidden")(x)
    model = keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x), name="suffering")
    norm, hidden, logits = (model.get_layer(name) for name in ("body_bn", "hidden", "logits"))
    norm.beta.assign(np.where(np.arange(32) == DEAD, -100.0, 0.0))
    kernel = hidden.kernel.numpy()
    kernel[DEAD, 0] = 1000.0
    hidden.kernel.assign(kernel)
    images = blobs(200, seed=0).astype(np.float32) / 255
    before = keras.Model(inputs, hidden.output)(images).numpy()
    logits.kernel.assign(4 * logits.kernel.numpy())
    logits.bias.assign(-(before @ logits.kernel.numpy()).mean(0))
    return model


@pytest.fixture(scope="module")
def data(suffering) -> Dataset:
    return labelled_by(suffering)


@pytest.fixture(scope="module")
def analysed(suffering, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysed")
    record = edgekd.analyse_sensitivity(
        suffering, data, folder, max_accuracy_drop=0.03, images=200, samples=64, processes=1
    )
    return folder, record


def test_the_layer_that_was_made_to_suffer_is_ranked_first_and_alone_left_in_float(analysed):
    _, record = analysed
    units = {unit.name: unit for unit in record.units}
    assert list(units) == ["stem", "body_conv", "hidden", "logits"]
    assert units["body_conv"].layers == ("body_conv", "body_bn", "body")
    hidden = units.pop("hidden")
    assert (hidden.sqnr_rank, hidden.accuracy_rank) == (1, 1)
    assert hidden.alone.sqnr_db < 10
    assert min(unit.alone.sqnr_db for unit in units.values()) > 25
    assert max(unit.others.sqnr_db for unit in units.values()) < 10
    assert hidden.others.sqnr_db > 20
    assert hidden.alone.accuracy_drop.low > 0.1
    assert record.exclude == ("hidden",)
    assert len({frozenset(trial.units) for trial in record.trials}) == len(record.trials)
    assert record.kept == "model-mixed.tflite"


def test_accuracies_are_of_validation_images_alone(analysed):
    _, record = analysed
    assert (record.images, record.float_accuracy) == (200, 1.0)  # on the other splits it would be 0
    assert {file.comparison.samples for file in record.files} == {200}
    assert {file.comparison.dataset for file in record.files} == {"blobs validation"}


def test_the_chosen_file_is_measured_once_on_the_test_split_and_nothing_is_chosen_by_that(analysed, data):
    folder, record = analysed
    test = record.test
    assert (test.dataset, test.samples, test.candidate) == ("blobs test", 50, "model-mixed.tflite")
    with runtime.open_runner(folder / record.kept, check=False) as runner:
        predicted = runtime.predict(runner, data.test.read(np.arange(50))[0]).argmax(-1)
    assert test.candidate_accuracy == np.mean(predicted == data.test.labels)
    # All labels there are wrong: judged on them, the float network has nothing to lose, and full int8 would fit.
    assert test.reference_accuracy == 0
    assert record.kept == "model-mixed.tflite"


def test_the_command_says_how_far_its_accuracy_can_be_trusted(analysed, capsys):
    _, record = analysed
    _tables.print_sensitivity(record)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("it was chosen on the same 200 validation images as it is judged on above")
    assert "on the 50 samples of blobs test, read once for this line: accuracy 0.00 %, float32 0.00 %, drop" in last


def test_the_kept_file_computes_the_layer_in_float_and_everything_else_in_integers(analysed, data):
    folder, record = analysed
    float_file, int8_file, mixed_file = record.files
    assert int8_file.size_bytes < mixed_file.size_bytes < float_file.size_bytes
    assert [file.fits for file in record.files] == [True, False, True]
    content = edgekd.inspect_model(folder / record.kept)
    assert mixed_file.path == str(folder / record.kept)
    kernels = {each.shape: each.dtype for each in content.tensors if each.role == "constant" and len(each.shape) > 1}
    assert kernels == {
        (16, 3, 3, 1): "int8",
        (32, 3, 3, 16): "int8",
        (8, 32): "float32",
        (3, 8): "int8",
    }
    images, labels = data.validation.read(np.arange(400))
    with runtime.open_runner(folder / record.kept, check=False) as runner:
        predicted = runtime.predict(runner, images).argmax(-1)
    assert np.mean(predicted == labels) > 0.95
    with runtime.open_runner(folder / int8_file.name, check=False) as runner:
        predicted = runtime.predict(runner, images).argmax(-1)
    assert np.mean(predicted == labels) < 0.9


def test_files_are_measured_and_the_record_is_written_beside_them(analysed):
    folder, record = analysed
    files = {"model-float32.tflite", "model-int8.tflite", "model-mixed.tflite", "model-sensitivity.json"}
    assert {path.name for path in folder.iterdir()} == files
    assert Sensitivity.read(folder / "model-sensitivity.json") == record
    for file in record.files:
        assert file.measurement.latency_ms.p50 > 0
        assert file.measurement.artifact == file.comparison.candidate == file.name
        assert file.size_bytes == (folder / file.name).stat().st_size


@pytest.fixture(scope="module")
def hopeless() -> keras.Model:
    """A classifier of a single layer, which suffers: nothing else could be left rounded."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, layers.Dense(CLASSES, name="logits")(layers.Flatten(name="flat")(inputs)))
    kernel = model.get_layer("logits").kernel.numpy()
    kernel[0, 0] = 1000.0
    model.get_layer("logits").kernel.assign(kernel)
    return model


def test_the_command_says_that_nothing_fits_and_keeps_the_table(edgekd_command, hopeless, tmp_path):
    images = blobs(300, seed=1)
    images[:, 0, 0] = 0  # what the huge weight multiplies
    labels = hopeless(images.astype(np.float32) / 255).numpy().argmax(-1)
    np.savez(tmp_path / "blobs.npz", x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])
    architectures.save_model(hopeless, tmp_path / "hopeless.keras")
    for stale in ("hopeless-mixed.tflite", "hopeless-mixed.yaml"):
        (tmp_path / stale).write_text("of an earlier analysis")
    command = ("quantize", tmp_path / "hopeless.keras", "--dataset", f"npz:{tmp_path / 'blobs.npz'}", "--sensitivity")
    done = edgekd_command(*command, "--processes", 1, "--max-accuracy-drop", 0.01, "--samples", 50)
    assert done.status == 1, done.err
    assert "nothing fits" in done.out
    record = Sensitivity.read(tmp_path / "hopeless-sensitivity.json")
    assert (record.kept, record.exclude, record.test) == (None, (), None)
    assert [(unit.name, unit.others.sqnr_db) for unit in record.units] == [("logits", None)]
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {
        "blobs.npz",
        "hopeless.keras",
        "hopeless-float32.tflite",
        "hopeless-int8.tflite",
        "hopeless-sensitivity.json",
    }


def test_a_recipes_student_is_analysed_and_the_recipe_that_comes_out_excludes_what_must_be(
    edgekd_command, hopeless, tmp_path
):
    architectures.save_model(hopeless, tmp_path / "teacher.keras")
    document = {
        "name": "small",
        "data": {"dataset": "synthetic", "samples": 200, "classes": 3, "shape": [8, 8, 1]},
        "teacher": {"model": str(tmp_path / "teacher.keras")},
        "student": {"architecture": "lab_cnn", "filters": [4, 4], "epochs": 1},
        "quantize": {"exclude": ["conv1"], "calibration": "percentile", "percentile": 99.9, "aware": {"epochs": 1}},
        "calibration": {"samples": 30},
    }
    (tmp_path / "small.yaml").write_text(json.dumps(document))  # JSON is YAML
    command = ("quantize", tmp_path / "small.yaml", "--out", tmp_path / "run", "--sensitivity", "--json")
    done = edgekd_command(*command, "--processes", 1, "--max-accuracy-drop", 0.9, "--validation-images", 15)
    assert done.status == 0, done.err
    record = Sensitivity.model_validate(json.loads(done.out))
    student = architectures.load_model(tmp_path / "run" / "student_distilled" / "model.keras")
    assert record.weights_sha256 == architectures.weights_sha256(student)
    assert (record.calibration, record.calibration_samples, record.images) == ("percentile", 30, 15)
    assert record.calibration_settings == {"percentile": 99.9}
    assert (record.always_excluded, record.exclude) == (("conv1",), ("conv1",))
    assert [unit.name for unit in record.units] == ["conv2", "pool", "logits"]
    assert record.kept == "student-int8.tflite"
    assert not (tmp_path / "run" / "student_quantized").exists()
    assert not (tmp_path / "run" / "sensitivity" / "student-mixed.yaml").exists()  # nothing more must be excluded


@pytest.fixture
def spared(tmp_path, monkeypatch):
    """Analyses the student of a run that need not be trained, by a function that the test gives."""
    saved = tmp_path / "run" / "student_distilled"
    saved.mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text(Identity(recipe="quickstart", dataset="embedded").model_dump_json())
    monkeypatch.setattr(excluding, "run", lambda *_, **__: None)
    monkeypatch.setattr(architectures, "load_model", lambda _: None)
    chosen = recipe.load("quickstart")

    def analyse(work):
        monkeypatch.setattr(excluding.sensitivity, "analyse", work)
        return excluding.analyse_student(chosen, tmp_path / "run", progress=Progress())

    return analyse


def test_a_runs_folder_is_locked_while_its_student_is_analysed(spared, analysed, tmp_path):
    _, record = analysed

    def work(*_, **__):
        with pytest.raises(StorageError, match="is in use by another edgekd process"):
            RunFolder(tmp_path / "run", recipe_name="quickstart", dataset="embedded").__enter__()
        return record

    _, written = spared(work)
    assert recipe.load(str(written)).quantize.exclude == ("hidden",)
    with RunFolder(tmp_path / "run", recipe_name="quickstart", dataset="embedded"):
        pass


def test_where_full_int8_fits_no_recipe_is_left(spared, analysed, tmp_path, capsys):
    _, analysis = analysed
    stale = tmp_path / "run" / "sensitivity" / "student-mixed.yaml"
    stale.parent.mkdir()
    stale.write_text("of an earlier analysis")
    fits = analysis.model_copy(update={"kept": "model-int8.tflite", "exclude": ()})
    record, written = spared(lambda *_, **__: fits)
    assert (written, stale.exists()) == (None, False)
    _show(record, written, as_json=False)
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == "no recipe is written: int8 fits, so that no further layer must be excluded"


def test_a_recipe_for_a_saved_model_has_it_as_student_and_its_own_teacher_with_the_layers_in_float(
    analysed, suffering, tmp_path
):
    _, analysis = analysed
    record = analysis.model_copy(
        update={"calibration": "percentile", "calibration_settings": {"percentile": 99.5}},
    )
    architectures.save_model(suffering, tmp_path / "my model.keras")
    path = excluding.write_recipe_of_saved(
        tmp_path / "my model.keras", {"dataset": "synthetic", "train_limit": 50}, record, tmp_path
    )
    found = recipe.load(str(path))
    assert (found.name, path.name) == ("my-model-mixed", "my model-mixed.yaml")
    assert (found.data.dataset, found.data.train_limit) == ("synthetic", 50)
    assert found.quantize.exclude == ("hidden",)
    assert (found.quantize.calibration, found.quantize.arguments) == ("percentile", {"percentile": 99.5})
    assert found.student.model == found.teacher[0].model == str(tmp_path / "my model.keras")
    assert "hidden in float" in recipe.summary(path)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"max_accuracy_drop": -0.1}, RecipeError, "max_accuracy_drop is -0.1"),
        ({"images": 0}, RecipeError, "images is 0"),
        ({"processes": 0}, RecipeError, "processes is 0"),
        ({"exclude": ["hiden"]}, RecipeError, "Did you mean 'hidden'"),
        ({"calibration": "maximum"}, RecipeError, "unknown calibration 'maximum'"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_and_nothing_written(suffering, data, tmp_path, settings, error, words):
    with pytest.raises(error, match=words):
        edgekd.analyse_sensitivity(suffering, data, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_folders_place_is_found_before_any_work(suffering, data, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match=r"out' cannot be a folder, since '.*file' is a file"):
        edgekd.analyse_sensitivity(suffering, data, tmp_path / "file" / "out")
    assert (tmp_path / "file").read_text() == "mine"


def test_what_is_no_float_classifier_of_the_data_is_refused(suffering, data, tmp_path):
    int8 = edgekd.quantize_model(suffering, data, samples=20)
    with pytest.raises(ModelError, match="fake-quantised to int8 already"):
        edgekd.analyse_sensitivity(int8, data, tmp_path)
    maps = keras.Model(suffering.input, suffering.get_layer("body").output)
    with pytest.raises(ShapeError, match="has 3 classes"):
        edgekd.analyse_sensitivity(maps, data, tmp_path)
    with pytest.raises(DataError, match=r"expected what edgekd\.load_data returns"):
        edgekd.analyse_sensitivity(suffering, data.validation, tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--max-accuracy-drop", 0.1), "--max-accuracy-drop goes with --sensitivity"),
        (("--sensitivity", "--max-accuracy-drop", -0.1), "-0.1 is not in the range"),
        (("--sensitivity", "--validation-images", 0), "0 is not in the range"),
        (("--sensitivity", "--set", "quantize=null"), "has no quantize section"),
        (("--sensitivity", "--dataset", "embedded"), "cannot be combined with a recipe"),
    ],
)
def test_options_that_cannot_be_are_refused(edgekd_command, options, words):
    done = edgekd_command("quantize", "quickstart", *options)
    assert done.status == 2
    assert words in done.err
