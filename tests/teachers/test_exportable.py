"""Files from outside that export takes: opened as carefully as teachers, and exported as what they compute."""

import keras
import numpy as np
import pytest

from edgekd.errors import ModelError, StorageError
from edgekd.export import export_model
from edgekd.runtime import open_runner
from edgekd.teachers.exportable import open_model


def network(library):
    image = library.Input((6, 6, 2), name="image")
    x = library.layers.Conv2D(3, 3, activation="relu", name="conv")(image)
    return library.Model(image, library.layers.GlobalAveragePooling2D(name="pool")(x))


def saved(kind, folder):
    """Returns a network and where it was saved."""
    if kind == "tf_keras":
        import tf_keras

        model = network(tf_keras)
        model.save(folder / "legacy.h5", save_format="h5")
        return model, folder / "legacy.h5"
    model = network(keras)
    if kind == "SavedModel":
        model.export(str(folder / "saved"), verbose=False)
        return model, folder / "saved"
    model.save(folder / f"network.{kind}")
    return model, folder / f"network.{kind}"


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("kind", ["keras", "h5", "tf_keras", "SavedModel"])
def test_a_saved_network_is_exported_as_what_it_computes(kind, tmp_path):
    model, path = saved(kind, tmp_path)
    artifact = export_model(
        open_model(path), tmp_path / "m.tflite", format="tflite", scheme="float32", name="m", source="m"
    )
    sample = np.random.default_rng(0).random((1, 6, 6, 2), np.float32)
    with open_runner(tmp_path / "m.tflite", check=False) as runner:
        (received,) = runner.run([sample])
    np.testing.assert_allclose(received, model(sample), atol=1e-5)
    assert artifact.inputs[0].shape == (1, 6, 6, 2)
    assert artifact.outputs[0].name == "logits"


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    with pytest.raises(ModelError, match=r"m\.h5"):
        open_model(tmp_path / "m.h5")
    with pytest.raises(StorageError, match="does not exist"):
        open_model(tmp_path / "absent.keras")


def test_an_exported_file_is_not_exported_again(tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"anything")
    with pytest.raises(ModelError, match="has been exported already: give the"):
        open_model(tmp_path / "m.tflite")
