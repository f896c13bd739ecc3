"""Python functions teach: in memory and by name."""

import functools
import sys

import numpy as np
import pytest

from edgekd.errors import ModelError, RecipeError, ShapeError

SOURCE = """
import keras
import numpy as np

KERNEL = np.random.default_rng(0).normal(size=(72, 3)).astype("float32")


def teach(images, batch_size=32):
    flat = images.reshape(len(images), -1)
    return {"logits": flat @ KERNEL, "flat": flat}


def build(input_shape, num_classes, *, scale=1.0):
    return lambda images: scale * teach(images)["logits"]


def build_network(input_shape, num_classes):
    image = keras.Input(input_shape)
    flat = keras.layers.Flatten(name="flat")(image)
    return keras.Model(image, keras.layers.Dense(num_classes, name="logits")(flat))


class Teacher:
    def __init__(self, input_shape, num_classes):
        self.num_classes = num_classes

    def __call__(self, images):
        return teach(images)["logits"][:, : self.num_classes]


instance = Teacher((6, 6, 2), 3)
constant = 3


def fails(images):
    return 1 / 0


def three(images, labels, names):
    return images


def fails_to_build(input_shape, num_classes):
    raise OSError("no weights here")
"""


def kernel():
    return np.random.default_rng(0).normal(size=(72, 3)).astype("float32")


@pytest.fixture
def own_teachers(tmp_path, monkeypatch):
    """A folder with the user's module, which is the current one but not on Python's path."""
    (tmp_path / "own_teachers.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "own_teachers.py"
    sys.modules.pop("own_teachers", None)


@pytest.mark.usefixtures("own_teachers")
@pytest.mark.parametrize("name", ["teach", "build", "Teacher", "instance"])
def test_a_name_means_a_function_a_callable_or_what_builds_one(name, opened, images):
    path = list(sys.path)
    teacher = opened(f"own_teachers:{name}")
    assert teacher.name == f"own_teachers:{name}"
    assert teacher.loader == "Python function"
    np.testing.assert_allclose(
        teacher.outputs(images)["logits"], images.reshape(7, 72) @ kernel(), rtol=1e-4, atol=1e-5
    )
    assert sys.path == path


@pytest.mark.usefixtures("own_teachers")
def test_arguments_reach_the_function_that_builds(opened, images):
    logits = opened("own_teachers:build", arguments={"scale": 2.0}).outputs(images)["logits"]
    np.testing.assert_allclose(logits, 2 * images.reshape(7, 72) @ kernel(), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("own_teachers")
def test_a_function_may_build_a_network_which_is_then_tapped_as_one(opened, images):
    teacher = opened("own_teachers:build_network", wanted=["flat"])
    assert teacher.loader.startswith("Keras 3")
    np.testing.assert_array_equal(teacher.outputs(images)["flat"], images.reshape(7, 72))


@pytest.mark.usefixtures("own_teachers")
def test_further_keys_are_taps(opened, images):
    np.testing.assert_array_equal(
        opened("own_teachers:teach", wanted=["flat"]).outputs(images)["flat"], images.reshape(7, 72)
    )
    with pytest.raises(ModelError, match=r"returned no 'deep'. It returned: 'logits', 'flat'"):
        opened("own_teachers:teach", wanted=["deep"])


@pytest.mark.usefixtures("own_teachers")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own_teachers:absent", r"no function 'absent'. Its functions: build, build_network, fails"),
        ("own_teachers:constant", "is a builtins.int, expected a Keras network, a path, or a function"),
        ("own_teachers:fails", r"failed with ZeroDivisionError for images \[2, 6, 6, 2\]: division by zero"),
        ("own_teachers:fails_to_build", "failed with OSError: no weights here"),
        ("own_teachers:three", r"must accept \(images\).*its signature is \(images, labels, names\)"),
        ("own_absent:teach", "there is no module 'own_absent' in"),
    ],
)
def test_a_name_that_does_not_fit_is_answered_with_the_reason(name, words, opened):
    with pytest.raises(ModelError, match=words):
        opened(name)


@pytest.mark.usefixtures("own_teachers")
def test_arguments_that_nobody_takes_are_refused(network, opened):
    with pytest.raises(RecipeError, match=r"arguments \(scale\) are for a teacher that a function builds"):
        opened(network, arguments={"scale": 2.0})
    with pytest.raises(ModelError, match="is called with images only, so it takes no arguments: remove scale"):
        opened("own_teachers:teach", arguments={"scale": 2.0})
    with pytest.raises(ModelError, match=r"must accept .*\(input_shape, num_classes, width=\)"):
        opened("own_teachers:build", arguments={"width": 2})


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda n: np.zeros((n, 4)), r"logits of shape \[2, 4\] for 2 images, expected \[2, 3\]"),
        (np.zeros, r"logits of shape \[2\] for 2 images"),
        (lambda _: np.zeros((1, 3)), r"logits of shape \[1, 3\] for 2 images"),
        (lambda _: None, "as NoneType of object, expected an array of numbers"),
        (lambda n: [["a", "b", "c"]] * n, "expected an array of numbers"),
        (lambda _: [[1.0], [1.0, 2.0]], "as a list that is no array"),
        (lambda n: {"maps": np.zeros((n, 3))}, "returned no 'logits'. It returned: 'maps'"),
        (lambda n: {"logits": np.zeros((n, 3)), "tap": np.zeros(n)}, r"tap 'tap' .* has shape \[2\] for 2 images"),
    ],
)
def test_a_function_that_returns_something_else_is_told_what_is_expected(returned, words, opened):
    with pytest.raises((ModelError, ShapeError), match=words):
        opened(lambda images: returned(len(images)), wanted=["tap"] if "tap" in words else [])


def test_a_function_that_writes_into_its_images_does_not_change_the_students(opened, images):
    def teach(received):
        received /= 255.0
        return received.reshape(len(received), -1)[:, :3] - 1.0

    before = images.copy()
    opened(teach).outputs(images)
    np.testing.assert_array_equal(images, before)


def test_a_function_that_draws_random_numbers_is_refused(opened):
    generator = np.random.default_rng(0)
    with pytest.raises(ModelError, match="other outputs when it sees the same images again"):
        opened(lambda images: generator.normal(size=(len(images), 3)))


def test_rounding_that_varies_is_accepted_but_cannot_be_cached(opened):
    calls = []

    def teach(images):
        calls.append(1)
        return images.reshape(len(images), -1)[:, :3] * np.float32(1 + 1e-6 * len(calls)) - 5

    teacher = opened(teach)
    assert teacher.sha256 is None
    assert "slightly different outputs" in teacher.uncacheable


def test_a_tap_that_draws_random_numbers_is_refused_only_where_it_is_wanted(opened):
    generator = np.random.default_rng(0)

    def teach(images):
        return {"logits": images.reshape(len(images), -1)[:, :3] - 1, "noise": generator.normal(size=(len(images), 3))}

    with pytest.raises(ModelError, match=r"other outputs when it sees the same images again \('noise' differs"):
        opened(teach, wanted=["noise"])
    first, second = opened(teach), opened(teach)
    assert first.sha256 is not None
    assert first.sha256 == second.sha256


def test_a_function_named_from_a_folder_may_import_from_it_while_it_runs(own_teachers, opened, images, monkeypatch):
    (own_teachers.parent / "own_late.py").write_text("offset = 2.0\n")
    with own_teachers.open("a") as file:
        file.write(
            "\n\ndef late(images):\n    import own_late\n    return images.reshape(len(images), -1)[:, :3] - "
            "own_late.offset\n"
        )
    path = list(sys.path)
    monkeypatch.delitem(sys.modules, "own_late", raising=False)
    teacher = opened("own_teachers:late")
    monkeypatch.delitem(sys.modules, "own_late")
    monkeypatch.chdir("/")
    np.testing.assert_allclose(teacher.outputs(images)["logits"], images.reshape(7, 72)[:, :3] - 2, rtol=1e-6)
    assert sys.path == path


@pytest.mark.parametrize(("edit", "left"), [("", 0), ("sys.path.remove(here)", 0), ("sys.path.insert(0, here)", 1)])
def test_a_module_may_edit_the_path_that_python_imports_from(edit, left, own_teachers, opened, monkeypatch):
    own_teachers.write_text(f"import os\nimport sys\nhere = os.getcwd()\n{edit}\n{SOURCE}")
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert opened("own_teachers:teach").name == "own_teachers:teach"
    assert sys.path.count(str(own_teachers.parent)) == left


def test_a_folder_that_was_on_the_path_already_stays_there(own_teachers, opened, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(own_teachers.parent)])
    path = list(sys.path)
    opened("own_teachers:teach")
    assert sys.path == path


def test_a_function_without_a_source_file_says_that_it_cannot_be_cached(opened):
    found = {}
    exec("def teach(images):\n    return images.reshape(len(images), -1)[:, :3] - 1.0", found)  # noqa: S102
    teacher = opened(found["teach"])
    assert teacher.sha256 is None
    assert "cannot be cached: put it into a module" in teacher.uncacheable


def scaled(images, *, kernel):
    return images.reshape(len(images), -1) @ kernel


def test_other_weights_or_another_source_make_another_teacher(opened):
    plain = functools.partial(scaled, kernel=kernel())
    assert opened(plain).sha256 == opened(functools.partial(scaled, kernel=kernel())).sha256
    assert opened(plain).sha256 != opened(functools.partial(scaled, kernel=kernel() * np.float32(1.001))).sha256


def with_tap(images, *, scale):
    flat = images.reshape(len(images), -1)
    return {"logits": flat[:, :3] - 1, "flat": scale * flat}


def test_a_tap_counts_as_well_as_the_logits(opened):
    one, same, other = (opened(functools.partial(with_tap, scale=scale)).sha256 for scale in (1, 1, 2))
    assert one == same
    assert one != other
