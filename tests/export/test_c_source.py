"""C source for microcontrollers holds the file's bytes, the operators it needs and an arena that just suffices."""

import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import layers

from edgekd import architectures, cli
from edgekd.errors import ModelError, RecipeError, StorageError
from edgekd.export import export_model, write_c_source
from edgekd.microcontroller import arena_probe, methods


@pytest.fixture(scope="module")
def tflite_file(model, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("tflm") / "student-int8.tflite"
    export_model(
        model,
        path,
        format="tflite",
        scheme="int8",
        name="m",
        source="m",
        calibration=images,
        input_dtype="int8",
        output_dtype="int8",
    )
    return path


@pytest.fixture(scope="module")
def written(tflite_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources") / "new"
    return folder, write_c_source(tflite_file, folder)


def test_the_array_is_the_file_byte_for_byte(written, tflite_file):
    folder, found = written
    text = (folder / found.source).read_text()
    content = bytes(int(each, 16) for each in re.findall(r"0x([0-9a-f]{2}),", text))
    assert content == tflite_file.read_bytes()
    assert "alignas(16) const unsigned char student_int8[] = {" in text
    assert f"const unsigned int student_int8_len = {len(content)};" in text


def test_the_files_are_named_after_the_model_and_say_which_file_they_are(written, tflite_file):
    folder, found = written
    assert sorted(each.name for each in folder.iterdir()) == [
        "student_int8.c",
        "student_int8.h",
        "student_int8_resolver.h",
    ]
    header = (folder / found.header).read_text()
    assert f"#define STUDENT_INT8_ARENA_BYTES {found.arena_bytes}" in header
    assert found.sha256 in header
    assert str(folder) not in header


def test_the_resolver_has_just_the_models_operators(written):
    folder, found = written
    # The network of conftest.py: convolutions, a depthwise one, Add, mean over positions, dense.
    assert found.operators == ("AddAdd", "AddConv2D", "AddDepthwiseConv2D", "AddFullyConnected", "AddMean")
    text = (folder / found.resolver).read_text()
    assert "inline tflite::MicroMutableOpResolver<5> student_int8_resolver() {" in text
    assert re.findall(r"resolver\.(\w+)\(\);", text) == list(found.operators)


def test_the_arena_is_the_smallest_that_tflm_runs_in(written, tflite_file):
    from tflite_micro import runtime

    _, found = written
    content = tflite_file.read_bytes()
    assert found.arena_bytes % 16 == 0
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=found.arena_bytes)
    interpreter.set_input(np.zeros((1, 8, 8, 3), np.int8), 0)
    interpreter.invoke()
    with pytest.raises(RuntimeError):
        runtime.Interpreter.from_bytes(content, arena_size=found.arena_bytes - 16)
    # Three feature maps of 8x8x16 int8 live at once in the residual block.
    assert found.arena_bytes > 3 * 8 * 8 * 16


def test_the_keyword_spotting_network_of_mlperf_tiny_needs_the_published_arena(tmp_path):
    network = architectures.create("ds_cnn", input_shape=(49, 10, 1), num_classes=12, seed=0)
    samples = np.random.default_rng(0).standard_normal((4, 49, 10, 1)).astype(np.float32)
    options = {"scheme": "int8", "calibration": samples, "input_dtype": "int8", "output_dtype": "int8"}
    export_model(network, tmp_path / "kws.tflite", format="tflite", name="m", source="m", **options)
    assert write_c_source(tmp_path / "kws.tflite", tmp_path).arena_bytes == pytest.approx(24_272, rel=0.02)


def test_an_arena_in_which_tflm_crashes_is_too_small(images, tmp_path):
    # Many dense layers: their scales take the last bytes of an arena that is a little too small, which TFLM does not
    # survive.
    numbers = keras.Input((16,), name="numbers")
    x = numbers
    for number in range(4):
        x = layers.Dense(16, activation="relu", name=f"dense_{number}")(x)
    path = tmp_path / "m.tflite"
    samples = np.random.default_rng(0).random((8, 16), np.float32)
    export_model(
        keras.Model(numbers, x), path, format="tflite", scheme="int8", name="m", source="m", calibration=samples
    )
    found = write_c_source(path, tmp_path)
    script = (
        "import sys; from tflite_micro import runtime;"
        "runtime.Interpreter.from_bytes(open(sys.argv[1], 'rb').read(), arena_size=int(sys.argv[2]))"
    )
    statuses = {
        size: subprocess.run(
            [sys.executable, "-c", script, str(path), str(size)], capture_output=True, check=False
        ).returncode
        for size in (16, found.arena_bytes - 16, found.arena_bytes)
    }
    assert statuses[found.arena_bytes] == 0
    assert statuses[found.arena_bytes - 16] != 0
    assert statuses[16] < 0, "TFLM should crash in so small an arena; else this test shows nothing"


@pytest.mark.parametrize("compiler", [["cc", "-std=c11"], ["c++", "-std=c++11", "-xc++"]], ids=["c", "c++"])
def test_c_and_cpp_compilers_take_the_source(compiler, written, tmp_path):
    if shutil.which(compiler[0]) is None:  # a machine without one still has the tests above
        return
    folder, found = written
    main = (
        f'#include "{found.header}"\n#include "{found.header}"\n'
        f"int main(void) {{ return (int)((unsigned long long){found.name} % 16) || {found.name}_len != "
        f"{found.size_bytes}u || {found.name}[4] != 'T' || STUDENT_INT8_ARENA_BYTES < 16; }}\n"
    )
    (tmp_path / "main.c").write_text(main)
    binary = tmp_path / "program"
    files = [str(tmp_path / "main.c"), str(folder / found.source)]
    command = [*compiler, "-Wall", "-Werror", "-I", str(folder), *files, "-o", str(binary)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([str(binary)], check=False).returncode == 0


def test_the_same_file_gives_the_same_source(written, tflite_file, tmp_path):
    folder, found = written
    assert write_c_source(tflite_file, tmp_path, name="student_int8") == found
    for each in folder.iterdir():
        assert (tmp_path / each.name).read_bytes() == each.read_bytes()


@pytest.mark.parametrize("name", ["2nd", "my model", "class", "", "naïve"])
def test_a_name_that_c_does_not_take_is_refused(name, tflite_file, tmp_path):
    with pytest.raises(RecipeError, match="cannot name an array in C"):
        write_c_source(tflite_file, tmp_path, name=name)
    assert not list(tmp_path.iterdir())


def test_an_operator_that_tflm_lacks_is_named_before_anything_is_written(tmp_path):
    inputs = keras.Input((4,), name="numbers")
    path = tmp_path / "gelu.tflite"
    network = keras.Model(inputs, layers.Lambda(lambda x: keras.ops.power(keras.ops.abs(x) + 1.0, x))(inputs))
    export_model(network, path, format="tflite", scheme="float32", name="m", source="m")
    with pytest.raises(ModelError, match=r"Microcontrollers has no operator POW: rebuild"):
        write_c_source(path, tmp_path / "sources")
    assert not (tmp_path / "sources").exists()


def test_a_file_that_tflm_cannot_run_is_refused_with_its_own_words(model, tmp_path):
    # Weights of int8 beside float activations: TFLM has no such kernels.
    path = tmp_path / "dynamic.tflite"
    export_model(model, path, format="tflite", scheme="dynamic_int8", name="m", source="m")
    with pytest.raises(ModelError, match=r"TFLM cannot run 'dynamic\.tflite': .*Hybrid models are not supported"):
        write_c_source(path, tmp_path / "sources")
    assert not (tmp_path / "sources").exists()


def test_what_is_no_tflite_file_is_refused(tmp_path):
    with pytest.raises(StorageError, match="does not exist"):
        write_c_source(tmp_path / "m.tflite", tmp_path)
    (tmp_path / "m.tflite").write_bytes(b"text")
    with pytest.raises(ModelError, match="not a TFLite model"):
        write_c_source(tmp_path / "m.tflite", tmp_path)


# As the header micro_mutable_op_resolver.h of TFLM spells them.
SPELLED = {
    "ADD_N": "AddAddN",
    "ARG_MAX": "AddArgMax",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "BATCH_MATMUL": "AddBatchMatMul",
    "BATCH_TO_SPACE_ND": "AddBatchToSpaceNd",
    "CONCATENATION": "AddConcatenation",
    "CONV_2D": "AddConv2D",
    "CUMSUM": "AddCumSum",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "FULLY_CONNECTED": "AddFullyConnected",
    "GATHER_ND": "AddGatherNd",
    "HARD_SWISH": "AddHardSwish",
    "L2_NORMALIZATION": "AddL2Normalization",
    "L2_POOL_2D": "AddL2Pool2D",
    "LEAKY_RELU": "AddLeakyRelu",
    "LOGISTIC": "AddLogistic",
    "LOG_SOFTMAX": "AddLogSoftmax",
    "MAX_POOL_2D": "AddMaxPool2D",
    "PADV2": "AddPadV2",
    "PRELU": "AddPrelu",
    "RELU6": "AddRelu6",
    "RESIZE_NEAREST_NEIGHBOR": "AddResizeNearestNeighbor",
    "REVERSE_V2": "AddReverseV2",
    "SELECT_V2": "AddSelectV2",
    "SPLIT_V": "AddSplitV",
    "SQUARED_DIFFERENCE": "AddSquaredDifference",
    "STRIDED_SLICE": "AddStridedSlice",
    "SVDF": "AddSvdf",
    "TRANSPOSE_CONV": "AddTransposeConv",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
    "ZEROS_LIKE": "AddZerosLike",
}


@pytest.mark.parametrize("operator", SPELLED)
def test_methods_are_spelled_as_tflm_spells_them(operator):
    assert methods([operator, operator]) == (SPELLED[operator],)


def test_the_measuring_process_says_what_is_missing(tflite_file):
    child = subprocess.run(
        [sys.executable, "-m", arena_probe.__name__, str(tflite_file)], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r'\{"error": null, "kind": null, "result": \d+\}', child.stdout.strip())


def test_what_is_missing_is_said_before_anything_is_converted(tmp_path, model, monkeypatch):
    monkeypatch.setattr("edgekd.microcontroller.arena.is_installed", lambda: False)
    architectures.save_model(model, tmp_path / "student.keras")
    done = CliRunner().invoke(cli.edgekd, ["export", str(tmp_path / "student.keras"), "--c-source"])
    assert "pip install 'edgekd[microcontroller]'" in f"{done.output}{done.exception}"
    assert done.exit_code != 0
    assert [each.name for each in tmp_path.iterdir()] == ["student.keras"]


def test_the_command_line_names_the_array(tmp_path, model):
    architectures.save_model(model, tmp_path / "student.keras")
    options = ["--c-source", "--c-name", "net"]
    done = CliRunner().invoke(cli.edgekd, ["export", str(tmp_path / "student.keras"), *options])
    assert done.exit_code == 0, done.output
    assert {each.name for each in tmp_path.glob("net*")} == {"net.h", "net.c", "net_resolver.h"}
    assert "extern const unsigned char net[];" in (tmp_path / "net.h").read_text()
