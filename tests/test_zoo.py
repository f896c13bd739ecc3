"""The zoo: every recipe is found by its name, is accepted, and its networks have the layers that it names.

tools/smoke_zoo.py, which continuous integration runs, takes each down its whole road.
"""

from pathlib import Path

import pytest

from edgekd import recipe, registry

MODELS = Path(__file__).parents[1] / "models"
NAMES = sorted(path.parent.relative_to(MODELS).as_posix() for path in MODELS.rglob("recipe.yaml"))


def test_the_zoo_is_the_recipes_that_lie_in_models():
    assert {"quickstart", "fashion_mnist/resnet8", "tutorials/light_cnn/regressor"} <= set(NAMES)
    assert sorted(recipe.zoo()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_is_and_has_a_folder_and_files_of_its_own(name):
    loaded = recipe.load(name)
    assert loaded.name == name.replace("/", "-")  # so that no two share a run's folder
    assert len(recipe.summary(recipe.find(name))) > 20
    assert {"float32", "int8"} <= {export.scheme for export in loaded.export}
    assert recipe.smoke(loaded).student.epochs == 1


def test_recipes_of_one_folder_find_the_teacher_that_comes_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    teachers = {name: recipe.load(name).teacher[0].model for name in NAMES if name.startswith("fashion_mnist/")}
    assert len(teachers) == 4
    for model in teachers.values():
        assert Path(model).resolve() == (MODELS / "fashion_mnist" / "teacher.keras").resolve()
        assert Path(model).is_file()


# Shapes of samples and numbers of classes; those that a user brings are as MLPerf Tiny has them.
DATA = {
    "embedded": ((28, 28, 1), 10),
    "tfds:fashion_mnist": ((28, 28, 1), 10),
    "tfds:mnist": ((28, 28, 1), 10),
    "tfds:cifar10": ((32, 32, 3), 10),
    "npz:keywords.npz": ((49, 10, 1), 12),
    "npz:sounds.npz": ((640,), 2),
    "image_folder:vww": ((96, 96, 3), 2),
}
_built: dict[str, set[str]] = {}


def layers_of(network, shape, classes, *, reconstructs):
    """Returns the names of the layers of a recipe's network; several recipes have the same ones."""
    from edgekd import architectures

    key = f"{network.model or network.architecture} {network.arguments} {shape} {classes}"
    if key not in _built:
        if network.model:
            model = architectures.load_model(Path(network.model))
        else:
            model = architectures.create(
                network.architecture, input_shape=shape, num_classes=classes, seed=0, arguments=network.arguments
            )
        assert model.output_shape == (None, *(shape if reconstructs else (classes,)))
        _built[key] = {layer.name for layer in model.layers}
    return _built[key]


@pytest.mark.parametrize("name", NAMES)
def test_the_networks_of_a_recipe_are_built_for_its_data_and_have_the_layers_that_its_losses_name(name):
    loaded = recipe.load(name)
    shape, classes = DATA[loaded.data.dataset]
    (teacher,) = loaded.teacher
    reconstructs = loaded.task == "reconstruction"
    ours, theirs = (layers_of(each, shape, classes, reconstructs=reconstructs) for each in (loaded.student, teacher))
    for loss in loaded.distill.losses:
        assert {student for student, _ in loss.taps} <= ours, loss
        assert {guide for _, guide in loss.taps} <= theirs, loss


def test_the_students_of_mlperf_tiny_are_the_benchmarks_networks():
    """Their families as they are by default, whose published costs tests/architectures/test_published_counts.py has."""
    students = {
        "anomaly_detection": "autoencoder",
        "image_classification": "resnet",
        "keyword_spotting": "ds_cnn",
        "visual_wake_words": "mobilenet_v1",
    }
    assert {f"mlperf_tiny/{name}" for name in students} == {name for name in NAMES if name.startswith("mlperf_tiny/")}
    for name, family in students.items():
        loaded = recipe.load(f"mlperf_tiny/{name}")
        plugin = registry.describe("edgekd.architectures", family, entry="build")
        published = plugin.constants["INPUT_SHAPE"], plugin.constants["NUM_CLASSES"]
        assert DATA[loaded.data.dataset] == published
        assert loaded.student.architecture == family
        by_default = {
            key: list(value) if isinstance(value, tuple) else value for key, value in plugin.parameters.items()
        }
        assert loaded.student.arguments == by_default
        (int8,) = (export for export in loaded.export if export.scheme == "int8")
        assert (int8.input_dtype, int8.output_dtype) == ("int8", "int8")
