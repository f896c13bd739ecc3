"""What cannot teach is refused in words, and no code in a file is run."""

import json
import shutil
import subprocess
import sys
import warnings

import h5py
import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
import tf_keras

from edgekd.errors import ModelError, ShapeError, StorageError
from edgekd.teachers import kind_of, saved_model


@pytest.mark.parametrize("name", ["no.keras", "no.h5", "no.tflite", "no.onnx"])
def test_a_missing_file_is_named(name, tmp_path, opened):
    with pytest.raises(StorageError, match=f"{name}' does not exist"):
        opened(tmp_path / name)


@pytest.mark.parametrize("name", ["text.keras", "text.h5", "text.tflite", "text.onnx"])
def test_a_text_file_is_refused_whatever_its_name(name, tmp_path, opened):
    (tmp_path / name).write_text("no network at all\n")
    with pytest.raises(ModelError, match=name):
        opened(tmp_path / name)


@pytest.mark.parametrize("name", ["network.h5", "legacy.h5"])
@pytest.mark.parametrize("kept", [0.2, 0.9])
def test_a_truncated_h5_file_is_refused(name, kept, folder, tmp_path, opened):
    content = (folder / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ModelError, match="is damaged"):
        opened(tmp_path / name)


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bytes_of_an_h5_file_are_run_or_refused(seed, folder, tmp_path, opened):
    rng = np.random.default_rng(seed)
    content = np.frombuffer((folder / "network.h5").read_bytes(), np.uint8).copy()
    content[rng.integers(100, len(content), 60)] = rng.integers(0, 256, 60)
    (tmp_path / "flipped.h5").write_bytes(content.tobytes())
    try:
        opened(tmp_path / "flipped.h5")
    except ModelError as error:
        assert "flipped.h5" in str(error)  # noqa: PT017 - a file that still runs is as good


def test_weights_without_a_network_are_refused(network, tmp_path, opened):
    network.save_weights(tmp_path / "only.weights.h5")
    with pytest.raises(ModelError, match="holds no network"):
        opened(tmp_path / "only.weights.h5")


def test_an_h5_file_that_reads_other_files_is_refused(folder, tmp_path, opened):
    shutil.copy(folder / "network.h5", tmp_path / "linked.h5")
    with h5py.File(tmp_path / "linked.h5", "a") as file:
        file["model_weights/elsewhere"] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.raises(ModelError, match="refers to another file at model_weights/elsewhere"):
        opened(tmp_path / "linked.h5")


def test_python_code_in_an_h5_file_is_never_run(tmp_path, opened):
    # tf_keras itself runs it: its safe mode does not cover HDF5.
    trap = tmp_path / "trap"
    image = tf_keras.Input((6, 6, 2))
    x = tf_keras.layers.Lambda(lambda x, path=str(trap): (open(path, "w").close(), x)[1])(image)  # noqa: PTH123
    x = tf_keras.layers.Dense(3)(tf_keras.layers.Flatten()(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        tf_keras.Model(image, x).save(tmp_path / "lambda.h5")
    trap.unlink()
    with pytest.raises(ModelError, match=r"holds Python code \(a Lambda layer\).*package.module:function"):
        opened(tmp_path / "lambda.h5")
    assert not trap.exists()


def rewritten(source, target, change):
    """Changes the configuration of an `.h5` file's network."""
    shutil.copy(source, target)
    with h5py.File(target, "a") as file:
        config = json.loads(file.attrs["model_config"])
        change(config["config"]["layers"])
        file.attrs["model_config"] = json.dumps(config)
    return target


def test_an_h5_file_cannot_import_modules_or_call_any_function_of_tensorflow(folder, tmp_path, opened):
    def ask_for_os(layers):
        (conv,) = [layer for layer in layers if layer["class_name"] == "Conv2D"]
        conv["config"]["kernel_initializer"] = {"module": "os", "class_name": "system", "config": {}}

    def write_a_file(layers):
        (division,) = [layer for layer in layers if layer["class_name"] == "TFOpLambda"]
        division["config"]["function"] = "io.write_file"

    with pytest.raises(ModelError, match="asks for code of the Python module 'os'"):
        opened(rewritten(folder / "legacy.h5", tmp_path / "os.h5", ask_for_os))
    with pytest.raises(ModelError, match=r"calls TensorFlow's 'io\.write_file'"):
        opened(rewritten(folder / "legacy.h5", tmp_path / "write.h5", write_a_file))


def test_an_h5_file_of_keras_3_cannot_name_other_modules_either(folder, tmp_path, opened):
    def ask_for_another_module(layers):
        (conv,) = [layer for layer in layers if layer["class_name"] == "Conv2D"]
        conv["module"] = "somebodys.layers"

    with pytest.raises(ModelError, match=r"asks for code of the Python module 'somebodys\.layers'"):
        opened(rewritten(folder / "network.h5", tmp_path / "module.h5", ask_for_another_module))


def test_an_h5_file_that_neither_library_knows_gives_both_reasons(folder, tmp_path, opened):
    def use_an_unknown_layer(layers):
        layers[2]["class_name"] = "SomebodysConv"

    with pytest.raises(ModelError, match=r"cannot be loaded.*tf_keras cannot load .* either.*SomebodysConv"):
        opened(rewritten(folder / "legacy.h5", tmp_path / "own.h5", use_an_unknown_layer))


def write_summary(path):
    writer = tf.raw_ops.SummaryWriter(shared_name="trap")
    tf.raw_ops.CreateSummaryFileWriter(writer=writer, logdir=path, max_queue=1, flush_millis=1, filename_suffix=".trap")


TRAPS = {
    "WriteFile": lambda path: tf.io.write_file(path, "sprung"),
    "Save": lambda path: tf.raw_ops.Save(filename=path, tensor_names=["x"], data=[tf.ones(1)]),
    "SaveV2": lambda path: tf.raw_ops.SaveV2(
        prefix=path, tensor_names=["x"], shape_and_slices=[""], tensors=[tf.ones(1)]
    ),
    "DatasetToTFRecord": lambda path: tf.raw_ops.DatasetToTFRecord(
        input_dataset=tf.data.Dataset.from_tensors("sprung")._variant_tensor, filename=path, compression_type=""
    ),
    "MatchingFiles": tf.io.matching_files,
    "CreateSummaryFileWriter": write_summary,
}


def saved_with(trap, path, folder):
    """A SavedModel whose function springs a trap two functions and a branch down, so that only a walk finds it."""

    @tf.function(autograph=False)
    def inner():
        with tf.control_dependencies([each for each in (trap(path),) if each is not None]):
            return tf.constant(0.0)

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 6, 6, 2), tf.float32)], autograph=False)
        def __call__(self, images):
            added = tf.cond(tf.reduce_sum(images) >= 0, inner, lambda: tf.constant(0.0))
            return tf.reshape(images, (-1, 72))[:, :3] + added

    module = Module()
    tf.saved_model.save(module, folder, signatures=module.__call__)
    return folder


@pytest.mark.parametrize("operator", sorted(TRAPS))
def test_a_saved_model_that_reaches_for_files_is_refused_and_not_run(operator, tmp_path):
    trap = tmp_path / "trap"
    folder = saved_with(TRAPS[operator], str(trap), tmp_path / "saved")
    with pytest.raises(ModelError, match=rf"do more than compute \(.*\b{operator}\b"):
        saved_model.open_runner(folder)
    assert not list(tmp_path.glob("trap*"))


def test_a_saved_model_is_refused_before_anything_of_it_runs(tmp_path, opened):
    with pytest.raises(ModelError, match=r"do more than compute \(WriteFile\)"):
        opened(saved_with(TRAPS["WriteFile"], str(tmp_path / "trap"), tmp_path / "saved"))
    assert not (tmp_path / "trap").exists()


def test_a_saved_model_whose_loading_would_write_files_is_refused(tmp_path):
    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([1], [2]), 0)

        @tf.function(input_signature=[tf.TensorSpec((None, 6, 6, 2), tf.float32)])
        def __call__(self, images):
            return tf.reshape(images, (-1, 72))[:, :3]

    module = Module()
    trap = tmp_path / "trap"

    def initialize():
        if tf.inside_function():
            tf.io.write_file(str(trap), "sprung")
        return tf.constant(1)

    module.table._initialize = initialize
    tf.saved_model.save(module, tmp_path / "saved", signatures=module.__call__)
    assert not trap.exists()
    with pytest.raises(ModelError, match=r"do more than compute \(.*WriteFile"):
        saved_model.open_runner(tmp_path / "saved")
    assert not trap.exists()


def test_a_damaged_saved_model_is_refused(folder, tmp_path, opened):
    broken = tmp_path / "broken"
    shutil.copytree(folder / "exported", broken)
    content = (broken / "saved_model.pb").read_bytes()
    (broken / "saved_model.pb").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"broken' is damaged"):
        opened(broken)


def test_a_folder_and_a_file_that_nothing_opens_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"is not a SavedModel: it has no file saved_model\.pb"):
        kind_of(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(ModelError, match="Give the folder that it lies in"):
        kind_of(tmp_path / "saved_model.pb")
    with pytest.raises(ModelError, match=r"net\.pt' is no teacher.*package\.module:function"):
        kind_of(tmp_path / "net.pt")
    assert kind_of(tmp_path) == "SavedModel"


@pytest.mark.parametrize("name", ["network.keras", "legacy.h5", "exported", "varying.tflite", "varying.onnx"])
def test_other_classes_and_other_images_are_refused(name, folder, opened):
    with pytest.raises(ShapeError, match=r"outputs of shape \[3\], but the data has 10 classes"):
        opened(folder / name, num_classes=10)
    with pytest.raises(ShapeError, match=r"takes images of shape \[6, 6, 2\], but the samples have \[8, 8, 2\]"):
        opened(folder / name, input_shape=(8, 8, 2))


def test_which_of_several_outputs_are_the_logits_must_be_clear(tmp_path, opened):
    value, float32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    nodes = [onnx.helper.make_node("ReduceMean", ["x"], [name], axes=[1, 2], keepdims=0) for name in ("a", "b")]
    outputs = [value(name, float32, ["n", 2]) for name in ("a", "b")]
    graph = onnx.helper.make_graph(nodes, "g", [value("x", float32, ["n", 6, 6, 2])], outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(ModelError, match=r"several outputs \(a .*, b .*\).*called 'logits'"):
        opened(tmp_path / "two.onnx", num_classes=2)


def test_a_network_that_was_never_given_weights_is_refused(opened):
    for library in (keras, tf_keras):
        with pytest.raises(ModelError, match="has no weights yet"):
            opened(library.Sequential([library.layers.Flatten(), library.layers.Dense(3)]))


def test_importing_the_package_and_telling_kinds_apart_loads_no_library(folder):
    script = (
        "import sys\n"
        "from edgekd import teachers\n"
        "kinds = [teachers.kind_of(path) for path in sys.argv[1:]]\n"
        "heavy = {'tensorflow', 'keras', 'tf_keras', 'h5py', 'onnx', 'tensorflow_model_optimization'}\n"
        "loaded = heavy & set(sys.modules)\n"
        "print(kinds, loaded)\n"
    )
    paths = [str(folder / name) for name in ("network.keras", "legacy.h5", "exported", "int8.onnx")]
    done = subprocess.run([sys.executable, "-c", script, *paths, "a.b:c"], capture_output=True, text=True, check=True)
    assert done.stdout == "['Keras file', 'HDF5 file', 'SavedModel', 'graph file', 'function'] set()\n"
