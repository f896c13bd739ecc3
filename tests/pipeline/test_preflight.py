"""What a recipe asks for is tried before anything is trained or written, all of it at once, and not twice."""

import shutil

import keras
import pytest
from keras import layers

from edgekd import architectures, recipe
from edgekd.errors import ModelError, RecipeError
from edgekd.pipeline import Progress, load_data, preflight, run

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


@pytest.mark.parametrize("until", ["student_distilled", "export"])
def test_wrong_names_of_layers_in_any_file_are_found_before_training_whatever_is_to_run(tiny_recipe, tmp_path, until):
    int8 = {"format": "tflite", "scheme": "int8"}
    tiny_recipe["export"] = [
        {**int8, "layers": {"stm": "float32", "logist": "float32"}},
        {**int8, "layers": {"logits": "float32"}},
        {**int8, "layers": {"nowhere": "float32"}},
    ]
    with pytest.raises(RecipeError) as caught:
        run(recipe.from_document(tiny_recipe), out=tmp_path / "run", until=(until,))
    message = str(caught.value)
    assert "export.0.layers: unknown layer in layers: 'logist' (did you mean 'logits'?), 'stm' (did you" in message
    assert "export.2.layers: unknown layer in layers: 'nowhere'." in message
    assert "export.1" not in message
    assert not (tmp_path / "run").exists()


def test_what_is_wrong_with_several_files_is_told_of_all(document):
    document["export"] = [{"format": "onnx", "opset": 19}, {"format": "onnx", "opset": 2}]
    with pytest.raises(RecipeError, match=r"export\.0 .*opset 19 cannot.*export\.1 .*opset 2 cannot"):
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

    class Told(Progress):
        def preflight_repeated(self, reason):
            said.append(reason)

    said = []
    monkeypatch.setattr(preflight, "check", check)
    (finished_copy / "student_distilled" / "stage.json").unlink()
    shutil.rmtree(finished_copy / "export")

    def again(document):
        with pytest.raises(EnoughError):
            run(recipe.from_document(document), out=finished_copy, progress=Told())

    again(tiny_recipe)
    again({**tiny_recipe, "export": [{"format": "onnx"}]})
    assert (tried, said) == ([False, True], [])
    (finished_copy / "preflight.json").write_text('{"key": "cut sho')
    again(tiny_recipe)
    assert tried == [False, True, True]
    assert said == ["preflight.json, which says that its exports were tried before, is damaged"]


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
