"""Every adapter: what the training step, the checkpoint and the recipe count on.

A new adapter is picked up by its file. Each is tried on every kind of taps: it fits them, or says both shapes.
"""

import functools
import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgekd import recipe, registry
from edgekd.errors import ShapeError

PACKAGE = "edgekd.distill.adapters"
ADAPTERS = registry.discover(PACKAGE)
BATCH = 4
TAPS = {
    "maps": (((8, 8, 4), (4, 4, 6)), ((8, 8, 6), (4, 4, 8))),
    "maps of a larger teacher": (((4, 4, 4), (2, 2, 4)), ((8, 8, 4), (4, 4, 4))),
    "maps of odd sizes": (((7, 5, 3), (3, 3, 4)), ((5, 7, 4), (2, 3, 5))),
    "flat": (((6,), (5,)), ((9,), (4,))),
    "sequences": (((6, 3), (6, 4)), ((4, 5), (6, 4))),
    "a map and a flat": (((4, 4, 3), (2, 2, 3)), ((6,), (6,))),
    "volumes": (((2, 2, 2, 3), (2, 2, 2, 3)), ((2, 2, 2, 4), (2, 2, 2, 3))),
    "open": (((None, None, 3), (None, None, 3)), ((8, 8, 3), (4, 4, 3))),
    "scalars": (((), ()), ((), ())),
}


def build(name, taps, *, seed=7):
    return registry.load(PACKAGE, name).build(*TAPS[taps], seed=seed)


@functools.cache
def fits(name, taps):
    try:
        build(name, taps)
    except ShapeError:
        return False
    return True


FITTING = [(name, taps) for name in ADAPTERS for taps in TAPS if fits(name, taps)]
REFUSED = [(name, taps) for name in ADAPTERS for taps in TAPS if not fits(name, taps)]
each_fit = pytest.mark.parametrize(("name", "taps"), FITTING)
# What is slow and does not depend on the sizes is tried on one fitting kind of taps, and on flat ones.
few_fits = pytest.mark.parametrize(
    ("name", "taps"),
    [(name, taps) for name, taps in FITTING if taps == "flat" or taps == dict(reversed(FITTING))[name]],
)


def arrays(taps, *, batch=BATCH, seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    return tuple([tf.cast(rng.normal(size=(batch, *shape)), dtype) for shape in shapes] for shapes in TAPS[taps])


def state(adapter):
    return {variable.path: variable.numpy() for variable in adapter.variables}


def numbers(adapted):
    return [np.asarray(tf.cast(each, "float32")) for each in keras.tree.flatten(adapted)]


def test_there_are_adapters_to_check():
    assert {"pool", "regressor", "variational", "embedding", "fusion", "projector", "margins"} <= set(ADAPTERS)
    assert {name for name, _ in FITTING} == {name for name, _ in REFUSED} == set(ADAPTERS)


@pytest.mark.parametrize("name", ADAPTERS)
def test_build_takes_shapes_a_seed_and_options_with_literal_defaults(name):
    ours, theirs, seed, *options = inspect.signature(registry.load(PACKAGE, name).build).parameters.values()
    assert (ours.name, theirs.name, seed.name) == ("student_shapes", "teacher_shapes", "seed")
    assert seed.default is inspect.Parameter.empty
    plugin = registry.describe(PACKAGE, name, entry="build")
    assert set(plugin.annotations) == {"seed", *(option.name for option in options)}
    for option in options:
        assert option.kind is inspect.Parameter.KEYWORD_ONLY
        assert plugin.parameters[option.name] == option.default


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_documents_its_options_result_errors_and_source(name):
    function = registry.load(PACKAGE, name).build
    text = inspect.getdoc(function)
    assert text.startswith("Returns an adapter that ")
    for heading in ("Args:", "Returns:", "Raises:", "References:"):
        assert f"\n{heading}\n" in text, heading
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^ +{parameter}: ", text, re.MULTILINE), parameter
    assert 10 < len(registry.describe(PACKAGE, name, entry="build").summary) <= 120


@each_fit
def test_both_sides_of_a_pair_have_one_shape_and_the_batch_of_the_networks(name, taps):
    adapter = build(name, taps)
    adapted = adapter(*arrays(taps), training=True)
    assert isinstance(adapted, tuple)
    assert len(adapted) == len(TAPS[taps][0])
    for pair in adapted:
        assert pair.student.shape == pair.teacher.shape
        assert pair.student.shape[0] == BATCH


@each_fit
def test_extras_are_those_that_are_declared_one_number_per_channel(name, taps):
    supplies = registry.describe(PACKAGE, name, entry="build").constants.get("SUPPLIES", ())
    adapter = build(name, taps)
    for training in (True, False):
        for pair in adapter(*arrays(taps), training=training):
            assert set(pair.extras) == set(supplies)
            assert all(extra.shape == pair.teacher.shape[-1:] for extra in pair.extras.values())


@each_fit
def test_all_variables_exist_before_the_first_call_under_names_of_their_own(name, taps):
    adapter = build(name, taps)
    before = [variable.path for variable in adapter.variables]
    assert len(set(before)) == len(before)
    adapter(*arrays(taps), training=True)
    assert [variable.path for variable in adapter.variables] == before


@each_fit
def test_the_gradient_reaches_every_trained_variable_and_every_tap_of_the_student(name, taps):
    adapter = build(name, taps)
    students, teachers = arrays(taps)
    rng = np.random.default_rng(1)
    with tf.GradientTape() as tape:
        tape.watch(students)
        adapted = adapter(students, teachers, training=True)
        total = tf.add_n(
            [
                tf.reduce_sum(tf.cast(rng.normal(size=each.shape), each.dtype) * each)
                for each in tf.nest.flatten(adapted)
            ]
        )
    sources = [*students, *(variable.value for variable in adapter.trainable_variables)]
    for source, gradient in zip(sources, tape.gradient(total, sources), strict=True):
        assert gradient is not None, source
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0, source


@each_fit
def test_the_same_seed_gives_the_same_names_order_and_bits_whatever_was_built_before(name, taps):
    first = state(build(name, taps))
    keras.utils.set_random_seed(99)
    keras.layers.Conv2D(2, 1).build((None, 4, 4, 2))
    build(name, taps, seed=8)
    second = state(build(name, taps))
    assert list(first) == list(second)
    assert all(first[path].tobytes() == second[path].tobytes() for path in first)


@few_fits
def test_another_seed_gives_other_kernels_and_no_two_layers_share_one(name, taps):
    first, other = (state(build(name, taps, seed=seed)) for seed in (7, 8))
    kernels = [path for path in first if path.endswith("kernel")]
    assert not any((first[path] == other[path]).all() for path in kernels)
    # One seed gives kernels of different shape the same draws, but for their scale.
    drawn = [first[path].ravel()[:3] for path in kernels]
    directions = [each / np.linalg.norm(each) for each in drawn]
    assert len({tuple(np.round(each, 4)) for each in directions}) == len(kernels)


@each_fit
def test_only_training_moves_running_statistics_and_inference_sees_each_sample_alone(name, taps):
    adapter = build(name, taps)
    students, teachers = arrays(taps)
    adapter(students, teachers, training=True)
    before = state(adapter)
    whole = adapter(students, teachers, training=False)
    assert all((before[path] == after).all() for path, after in state(adapter).items())
    alone = adapter([each[1:2] for each in students], [each[1:2] for each in teachers], training=False)
    for pair, single in zip(whole, alone, strict=True):
        np.testing.assert_allclose(pair.student[1:2], single.student, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(pair.teacher[1:2], single.teacher, rtol=1e-4, atol=1e-5)
    adapter(*arrays(taps, seed=1), training=True)
    after = state(adapter)
    for variable in adapter.variables:
        moved = (before[variable.path] != after[variable.path]).any()
        assert moved == (not variable.trainable), variable.path


@few_fits
def test_a_graph_of_unknown_batch_size_computes_what_the_eager_call_does(name, taps):
    adapter = build(name, taps)
    specs = [[tf.TensorSpec([None, *shape]) for shape in shapes] for shapes in TAPS[taps]]
    graph = tf.function(
        lambda students, teachers: adapter(students, teachers, training=False), autograph=False
    ).get_concrete_function(*specs)
    for batch in (1, BATCH):
        students, teachers = arrays(taps, batch=batch)
        flat = numbers(adapter(students, teachers, training=False))
        for ours, expected in zip(numbers(graph(students, teachers)), flat, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


@few_fits
def test_running_statistics_move_inside_a_graph_as_they_do_eagerly(name, taps):
    eager, traced = build(name, taps), build(name, taps)
    graph = tf.function(lambda students, teachers: traced(students, teachers, training=True), autograph=False)
    for seed in (0, 1):
        eager(*arrays(taps, seed=seed), training=True)
        graph(*arrays(taps, seed=seed))
    for path, value in state(eager).items():
        np.testing.assert_allclose(state(traced)[path], value, rtol=1e-4, atol=1e-6, err_msg=path)


@few_fits
def test_mixed_precision_gives_nearly_the_same_from_single_precision_weights(name, taps):
    expected = build(name, taps)(*arrays(taps), training=True)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        adapter = build(name, taps)
    finally:
        keras.config.set_dtype_policy(policy)
    assert all(variable.dtype == "float32" for variable in adapter.variables)
    students, teachers = arrays(taps)
    adapted = adapter([tf.cast(each, "bfloat16") for each in students], teachers, training=True)
    for pair, wide in zip(adapted, expected, strict=True):
        assert all(extra.dtype == "float32" for extra in pair.extras.values())
        for ours, theirs in zip(numbers(pair), numbers(wide), strict=True):
            # bfloat16 has 8 bits; the error grows with the layers in between.
            np.testing.assert_allclose(ours, theirs, atol=0.1 * max(1.0, np.abs(theirs).max()))


@pytest.mark.parametrize(("name", "taps"), REFUSED)
def test_taps_that_cannot_be_fitted_are_refused_with_both_shapes(name, taps):
    with pytest.raises(ShapeError) as raised:
        build(name, taps)
    assert str(TAPS[taps][0][0]) in str(raised.value)
    assert str(TAPS[taps][1][0]) in str(raised.value)
    assert str(raised.value).startswith(f"{name}: ")
    assert "expected" in str(raised.value)


@pytest.mark.parametrize("name", ADAPTERS)
def test_taps_that_do_not_come_in_pairs_are_refused(name):
    for ours, theirs in ((((4, 4, 3),) * 2, ((4, 4, 3),) * 3), ((), ())):
        with pytest.raises(ShapeError, match="pair"):
            registry.load(PACKAGE, name).build(ours, theirs, seed=0)


ADAPTED_LOSSES = [
    (name, constants["ADAPTER"], constants)
    for name in registry.discover(recipe.LOSSES)
    if "ADAPTER" in (constants := registry.describe(recipe.LOSSES, name, entry=name).constants)
]


@pytest.mark.parametrize(("loss", "name", "constants"), ADAPTED_LOSSES)
def test_a_loss_gets_from_its_adapter_what_it_needs_and_a_gradient_goes_back(loss, name, constants):
    adapter = build(name, "maps of a larger teacher")
    students, teachers = arrays("maps of a larger teacher")
    function = getattr(registry.load(recipe.LOSSES, loss), loss)
    needs = constants.get("NEEDS", ())
    labels = {"labels": tf.constant([0, 1, 2, 0], tf.int64)} if "labels" in needs else {}
    with tf.GradientTape() as tape:
        tape.watch(students)
        adapted = adapter(students, teachers, training=True)
        assert {*labels, *adapted[0].extras} == set(needs)
        total = sum(tf.reduce_mean(function(each.student, each.teacher, **labels, **each.extras)) for each in adapted)
    assert np.isfinite(total)
    for gradient in tape.gradient(total, students):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0
