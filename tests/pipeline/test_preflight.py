"""What a recipe asks for is tried before anything is trained or written, all of it at once, and not twice."""

import shutil

import keras
import pytest
from keras import layers

from edgekd import architectures, recipe
from edgekd.errors import ModelError, RecipeError
from edgekd.pipeline import load_data, preflight, run

BEFORE_TRAINING = {"teacher", "student_labels", "student_distilled", "student_quantized", "export"}


@pytest.fixture(scope="module")
def offender(tmp_path_factory):
    """A student of which integers and ONNX lack layers."""
    image = keras.Input((16, 16, 1), name="image")
    x = layers.Conv2D(4, 3, strides=4, activation="elu", name="stem")(image)
    x = layers.Activation("gelu", name="soft")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    path = tmp_path_factory.mktemp("offender") / "offender.keras"
    architectures.save_model(keras.Model(image, layers.Dense(3, name="classes")(x)), path)
    return path


@pytest.fixture
def document(tiny_recipe, offender):
    tiny_recipe["student"] = {"model": str(offender), "epochs": 1}
    tiny_recipe["distill"] = {"losses": [{"loss": "soft_logits"}]}
    return tiny_recipe


def checked(document):
    read = recipe.from_document(document)
    preflight.check(read, load_data(read.data), stages=BEFORE_TRAINING)


def test_a_run_that_cannot_end_stops_before_it_trains_or_writes_and_says_everything(document, tmp_path):
    document["quantize"] = {}
    with pytest.raises(ModelError) as caught:
        run(recipe.from_document(document), out=tmp_path / "run")
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert message.startswith("this recipe asks for what its student cannot become: (1) qat: stem (Conv2D): ")
    assert "(2) qat: soft (Activation): cannot be trained quantisation-aware" in message
    assert "(3) student-float32.onnx: soft (Erfc): ONNX has no operator for it. Instead: use keras." in message
    assert not (tmp_path / "run").exists()


def test_files_that_are_calibrated_are_tried_too(document):
    with pytest.raises(ModelError) as caught:
        checked(document)
    assert "student-int8.tflite: stem (ELU): has no integer kernel. Instead: use ReLU or" in str(caught.value)


def test_what_was_not_asked_for_stands_in_nobodys_way(document):
    document["export"] = [{"format": "tflite", "scheme": "float32"}]
    checked(document)


def test_excluded_layers_may_stay_in_float(document):
    document["quantize"] = {"exclude": ["stem", "soft"]}
    document["export"] = [{"format": "tflite", "scheme": "int8"}]
    checked(document)
    document["quantize"] = {"exclude": ["stem", "sofd"]}
    with pytest.raises(RecipeError, match=r"layer to exclude 'sofd'. Did you mean 'soft'"):
        checked(document)


def test_an_opset_out_of_range_is_found_before_training(document):
    document["export"] = [{"format": "onnx", "opset": 19}]
    with pytest.raises(RecipeError, match="opset 19 cannot be written: choose 13 to 18"):
        checked(document)


def test_a_run_that_goes_on_does_not_try_its_exports_again(finished_copy, tiny_recipe, monkeypatch):
    class EnoughError(Exception):
        pass

    tried = []

    def check(recipe, data, *, stages):
        tried.append("export" in stages)
        raise EnoughError

    monkeypatch.setattr(preflight, "check", check)
    (finished_copy / "student_distilled" / "stage.json").unlink()
    shutil.rmtree(finished_copy / "export")
    for document in (tiny_recipe, {**tiny_recipe, "export": [{"format": "onnx"}]}):
        with pytest.raises(EnoughError):
            run(recipe.from_document(document), out=finished_copy)
    assert tried == [False, True]


def test_folding_that_the_first_layer_cannot_take_is_found_before_training(tiny_recipe, tmp_path):
    image = keras.Input((16, 16, 1), name="image")
    x = layers.MaxPooling2D(4, name="largest")(layers.Rescaling(2.0, name="twice")(image))
    network = keras.Model(image, layers.Dense(3, name="classes")(layers.Flatten()(x)))
    architectures.save_model(network, tmp_path / "pooling.keras")
    tiny_recipe["student"] = {"model": str(tmp_path / "pooling.keras"), "epochs": 1}
    tiny_recipe["distill"] = {"losses": [{"loss": "soft_logits"}]}
    fold = {"format": "tflite", "preprocessing": "fold"}
    tiny_recipe["export"] = [fold]
    with pytest.raises(ModelError, match=r"cannot be folded into 'largest' \(MaxPooling2D\)"):
        checked(tiny_recipe)
    tiny_recipe["export"] = [{**fold, "scheme": "int8", "input_dtype": "uint8"}]  # into the scale of the bytes
    checked(tiny_recipe)
    tiny_recipe["quantize"] = {}
    checked(tiny_recipe)
