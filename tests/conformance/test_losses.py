"""Every loss: what the training step, the recipe and the documentation count on.

A new loss is picked up by its file; its constants say which inputs it gets here and which claims are tested:
COMPARES, NEEDS, ADAPTER, MAY_DIFFER, RELATES_SAMPLES, SUMMARISES_TEACHER and LEAST_AT_TEACHER (see
edgekd/losses/__init__.py).
"""

import functools
import inspect
import itertools
import re

import numpy as np
import pytest
import tensorflow as tf

from edgekd import registry
from edgekd.distill.lesson import weighted_terms
from edgekd.distill.objective import Objective, Term
from edgekd.distill.taps import Outputs
from edgekd.errors import ShapeError

PACKAGE = "edgekd.losses"
ADAPTERS = "edgekd.distill.adapters"
LOSSES = registry.discover(PACKAGE)

BATCH = 4
CHANNELS = 3
MAP = (BATCH, 4, 4, CHANNELS)
# The shapes of what one call takes; a flow is two feature maps.
SHAPES = {
    "logits": (BATCH, 5),
    "features": (BATCH, 2, CHANNELS),
    "feature_maps": MAP,
    "flows": (MAP, (BATCH, 4, 4, 2)),
}
LABELS = np.array([0, 4, 2, 0])
DTYPES = ["float64", "float32", "float16", "bfloat16"]

# Of the largest finite half-precision number (65504) what squares, sums and temperatures leave room for.
LARGE = {"float16": 1e3, "bfloat16": 1e15, "float32": 1e15, "float64": 1e150}


# What settings that are no numbers may be; the first is the default.
CHOICES = {"variant": ("mean_square", "paper"), "standardize": (False, True)}


def constants(name):
    return registry.describe(PACKAGE, name, entry=name).constants


def choices(name):
    """All combinations of a loss's settings that are no numbers."""
    described = registry.describe(PACKAGE, name, entry=name)
    named = [setting for setting, written in described.annotations.items() if written in {"str", "bool"}]
    assert all(described.parameters[setting] == CHOICES[setting][0] for setting in named)
    return [
        dict(zip(named, values, strict=True)) for values in itertools.product(*(CHOICES[setting] for setting in named))
    ]


def module(name):
    return registry.load(PACKAGE, name)


def function(name):
    return getattr(module(name), name)


def each_array(action, *values):
    """Applies an action to an array, or to both arrays of a flow."""
    if isinstance(values[0], tuple):
        return tuple(action(*parts) for parts in zip(*values, strict=True))
    return action(*values)


def arrays(value):
    return value if isinstance(value, tuple) else (value,)


def samples(name, *, seed=0):
    """Student's and teacher's inputs of the kind that the loss compares, float64."""
    rng = np.random.default_rng(seed)
    shapes = SHAPES[constants(name)["COMPARES"]]
    if isinstance(shapes[0], tuple):
        return tuple(tuple(rng.normal(size=shape) for shape in shapes) for _ in range(2))
    return rng.normal(size=shapes), rng.normal(size=shapes)


def supplied(name, dtype="float32", labels=LABELS):
    """What the training step supplies: labels of the samples, and for each channel what an adapter learns."""
    wide = "float64" if dtype == "float64" else "float32"
    of_channels = np.linspace(0.5, 1.5, CHANNELS)
    known = {
        "labels": tf.constant(labels, "int64"),
        "variance": tf.constant(of_channels, wide),
        "margin": tf.constant(-of_channels, wide),
    }
    return {need: known[need] for need in constants(name).get("NEEDS", ())}


def values(name, student, teacher, dtype="float32", *, labels=LABELS, **settings):
    ours, theirs = (each_array(lambda array: tf.cast(array, dtype), each) for each in (student, teacher))
    return function(name)(ours, theirs, **supplied(name, dtype, labels), **settings)


def value_and_gradient(name, student, teacher, dtype="float64", **settings):
    """The loss of each sample and the gradient of their sum, all as float64 arrays."""
    found = differentiated(name, student, teacher, dtype, **settings)
    return tuple(each_array(lambda array: array.numpy(), each) for each in found)


def differentiated(name, student, teacher, dtype, **settings):
    ours, theirs = (each_array(lambda array: tf.cast(array, dtype), each) for each in (student, teacher))
    with tf.GradientTape() as tape:
        tape.watch(ours)
        result = function(name)(ours, theirs, **supplied(name, dtype), **settings)
        total = tf.reduce_sum(result)
    gradient = tape.gradient(total, ours)
    return tuple(each_array(lambda array: tf.cast(array, "float64"), each) for each in (result, gradient))


def refused(name, student, teacher):
    """The ShapeError's message, or nothing where the loss takes the two."""
    try:
        values(name, student, teacher)
    except ShapeError as error:
        return str(error)
    return ""


def moved(start, direction, distance):
    return each_array(lambda at, along: at + distance * along, start, direction)


# Every loss in each of its variants.
VARIANTS = [
    pytest.param(name, chosen, id="-".join([name, *map(str, chosen.values())]))
    for name in LOSSES
    for chosen in choices(name)
]


def test_every_method_is_there():
    assert set(LOSSES) >= {
        "soft_logits",
        "dkd",
        "nkd",
        "dist",
        "multi_level_logits",
        "attention_transfer",
        "fitnet_hint",
        "cosine",
        "feature_mse",
        "similarity_preserving",
        "rkd",
        "pkt",
        "nst",
        "vid",
        "crd",
        "ofd",
        "review",
        "correlation_congruence",
        "fsp",
        "srd",
    }


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_states_what_the_contract_knows_and_nothing_else(name):
    stated = constants(name)
    assert stated["COMPARES"] in SHAPES
    assert set(stated.get("NEEDS", ())) <= {"labels", "variance", "margin"}
    assert set(stated.get("MAY_DIFFER", ())) <= {"size", "channels"}
    assert "MAY_DIFFER" not in stated or stated["COMPARES"] != "logits"
    for flag in ("RELATES_SAMPLES", "SUMMARISES_TEACHER", "LEAST_AT_TEACHER"):
        assert stated.get(flag, False) in {True, False}
    assert set(stated) <= {
        "COMPARES",
        "NEEDS",
        "ADAPTER",
        "MAY_DIFFER",
        "RELATES_SAMPLES",
        "SUMMARISES_TEACHER",
        "LEAST_AT_TEACHER",
    }


@pytest.mark.parametrize("name", [name for name in LOSSES if "ADAPTER" in constants(name)])
def test_the_usual_adapter_exists_and_supplies_what_the_loss_needs_of_one(name):
    adapter = registry.describe(ADAPTERS, constants(name)["ADAPTER"], entry="build")
    assert set(constants(name).get("NEEDS", ())) - {"labels"} == set(adapter.constants.get("SUPPLIES", ()))


@pytest.mark.parametrize("name", LOSSES)
def test_only_a_loss_with_an_adapter_needs_what_adapters_supply(name):
    stated = constants(name)
    assert "ADAPTER" in stated or set(stated.get("NEEDS", ())) <= {"labels"}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_takes_a_student_a_teacher_what_it_needs_and_keywords_with_defaults(name):
    student, teacher, *settings = inspect.signature(function(name)).parameters.values()
    assert (student.name, teacher.name) == ("student", "teacher")
    for setting in settings:
        assert setting.kind is inspect.Parameter.KEYWORD_ONLY, setting
    without_default = {setting.name for setting in settings if setting.default is inspect.Parameter.empty}
    assert without_default == set(constants(name).get("NEEDS", ()))
    annotations = registry.describe(PACKAGE, name, entry=name).annotations
    assert set(annotations) == {setting.name for setting in settings}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_documents_its_arguments_result_errors_and_paper(name):
    text = inspect.getdoc(function(name))
    summary = text.partition("\n")[0]
    assert summary.startswith("Returns each sample's ")
    assert summary.endswith(".")
    for heading in ("Args:", "Returns:", "Raises:", "References:"):
        assert f"\n{heading}\n" in text, heading
    for setting in inspect.signature(function(name)).parameters:
        assert re.search(rf"^ +{setting}: ", text, re.MULTILINE), setting
    assert re.search(r"arXiv:\d{4}\.\d{4,5}|doi:10\.\d{4,}/", text.partition("References:")[2])
    assert registry.describe(PACKAGE, name, entry=name).summary


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_returns_one_number_of_the_students_dtype_for_each_sample(name):
    student, teacher = samples(name)
    for dtype in DTYPES:
        ours = each_array(functools.partial(tf.cast, dtype=dtype), student)
        for other in (dtype, "float32"):  # the teacher's dtype
            theirs = each_array(functools.partial(tf.cast, dtype=other), teacher)
            result = function(name)(ours, theirs, **supplied(name, dtype))
            assert result.shape == (BATCH,)
            assert result.dtype == dtype


@pytest.mark.parametrize(("name", "chosen"), VARIANTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_value_and_its_gradient_are_finite_at_zero_constant_large_and_small_inputs(name, chosen, dtype):
    ordinary = samples(name)
    # Traced once for all inputs, as the training step is: that costs less than a dozen eager calls.
    compute = tf.function(functools.partial(differentiated, name, dtype=dtype, **chosen), autograph=False)
    for kind, factor, offset in (
        ("zero", 0.0, 0.0),
        ("constant", 0.0, 1.0),
        ("large", LARGE[dtype], 0.0),
        ("small", 1 / LARGE[dtype], 0.0),
    ):
        ours, theirs = (
            each_array(lambda array, f=factor, o=offset: np.asarray(f * array + o), each) for each in ordinary
        )
        pairs = [(ours, theirs), (ours, ordinary[1]), (ordinary[0], theirs)]
        for pair in pairs + ([(ours, ours)] if factor else []):  # without a factor both are the same already
            result, gradient = compute(*pair)
            assert np.isfinite(result).all(), kind
            for each in arrays(gradient):
                assert np.isfinite(each).all(), kind
    assert compute.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    ("name", "chosen"), [each for each in VARIANTS if constants(each.values[0])["COMPARES"] == "logits"]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_whose_differences_the_dtype_can_hold_give_finite_values_and_gradients(name, chosen, dtype):
    ours, theirs = (1e38 * each / np.abs(each).max() for each in samples(name))
    for pair in ((ours, theirs), (theirs, ours), (ours, ours), (ours, 1e-38 * theirs), (1e-38 * ours, theirs)):
        for each in value_and_gradient(name, *pair, dtype, **chosen):
            assert np.isfinite(each).all()


@pytest.mark.parametrize(("name", "chosen"), VARIANTS)
def test_features_that_are_not_numbers_are_not_hidden(name, chosen):
    ordinary = samples(name)
    broken = tuple(
        each_array(
            lambda array: np.where(np.arange(BATCH).reshape(-1, *[1] * (array.ndim - 1)) == 1, np.nan, array), each
        )
        for each in ordinary
    )
    for student, teacher in ((broken[0], ordinary[1]), (ordinary[0], broken[1])):
        assert np.isnan(values(name, student, teacher, **chosen).numpy()[1])


@pytest.mark.parametrize("name", [name for name in LOSSES if constants(name).get("LEAST_AT_TEACHER", True)])
def test_the_loss_is_least_where_the_student_equals_the_teacher(name):
    _, teacher = samples(name)
    least = values(name, teacher, teacher, "float64").numpy()
    for seed in range(5):
        student, _ = samples(name, seed=seed)
        for distance in (1e-3, 0.1, 1.0):
            there = values(name, moved(teacher, student, distance), teacher, "float64").numpy()
            assert (there > least).all()


@pytest.mark.parametrize("name", [name for name in LOSSES if not constants(name).get("LEAST_AT_TEACHER", True)])
def test_a_loss_that_says_it_is_not_least_at_the_teacher_is_lower_elsewhere(name):
    _, teacher = samples(name)
    at_teacher, gradient = value_and_gradient(name, teacher, teacher)
    elsewhere = values(name, moved(teacher, gradient, -0.01), teacher, "float64").numpy()
    assert elsewhere.sum() < at_teacher.sum()


@pytest.mark.parametrize(("name", "chosen"), VARIANTS)
def test_a_small_step_against_the_gradient_lowers_the_loss_by_as_much_as_the_gradient_says(name, chosen):
    student, teacher = samples(name)
    before, gradient = value_and_gradient(name, student, teacher, **chosen)
    slope = sum(float(np.sum(each**2)) for each in arrays(gradient)) ** 0.5
    assert slope > 0
    distance = 1e-5
    after = values(name, moved(student, gradient, -distance / slope), teacher, "float64", **chosen).numpy()
    # To first order it falls by the distance times the slope.
    assert before.sum() - after.sum() == pytest.approx(distance * slope, rel=0.01)


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_reaches_the_student_and_never_the_teacher(name):
    student, teacher = (each_array(functools.partial(tf.cast, dtype="float32"), each) for each in samples(name))
    compares = constants(name)["COMPARES"]
    of_adapter = {need: value for need, value in supplied(name).items() if need != "labels"}
    taps = tuple((f"ours{i}", f"theirs{i}") for i in range(len(arrays(student)))) if compares != "logits" else ()
    term = Term(
        name,
        functools.partial(function(name), **of_adapter),
        2.0,
        taps,
        compares=compares,
        needs_labels="labels" in constants(name).get("NEEDS", ()),
    )
    with tf.GradientTape() as tape:
        tape.watch((student, teacher))
        logits = tf.zeros((BATCH, 5))
        if compares == "logits":
            outputs = Outputs(student, {}), Outputs(teacher, {})
        else:
            outputs = (
                Outputs(logits, {tap: array for (tap, _), array in zip(taps, arrays(student), strict=True)}),
                Outputs(logits, {tap: array for (_, tap), array in zip(taps, arrays(teacher), strict=True)}),
            )
        objective = Objective(labels_weight=0.0, terms=(term,))
        total = weighted_terms(objective, tf.constant(LABELS, tf.int64), *outputs)[name]
    to_student, to_teacher = tape.gradient(total, (student, teacher))
    assert float(total) == pytest.approx(2.0 * values(name, student, teacher).numpy().mean(), rel=1e-5)
    for each in arrays(to_student):
        assert np.abs(each.numpy()).max() > 0
    assert all(each is None for each in arrays(to_teacher))


@pytest.mark.parametrize("name", LOSSES)
def test_a_samples_loss_depends_on_the_other_samples_only_where_that_is_declared(name):
    student, teacher = samples(name)
    whole = values(name, student, teacher, "float64").numpy()
    alone = []
    for i in range(BATCH):
        ours, theirs = (each_array(lambda array, i=i: array[i : i + 1], each) for each in (student, teacher))
        alone.append(values(name, ours, theirs, "float64", labels=LABELS[i : i + 1]).numpy())
    independent = np.allclose(whole, np.concatenate(alone), rtol=1e-9, atol=0)
    assert independent != constants(name).get("RELATES_SAMPLES", False)


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_the_batch_changes_nothing_but_the_order_of_the_result(name):
    student, teacher = samples(name)
    turned = (each_array(lambda array: array[::-1].copy(), each) for each in (student, teacher))
    there = values(name, *turned, "float64", labels=LABELS[::-1].copy()).numpy()[::-1]
    np.testing.assert_allclose(there, values(name, student, teacher, "float64").numpy(), rtol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_a_wrong_pairing_of_samples_is_noticed(name):
    student, teacher = samples(name)
    # A monotone function of a distance would pass or fail alike: a wrong pairing costs more than a student that is five
    # times as far from the right teacher.
    near, far = (moved(teacher, student, distance) for distance in (0.05, 0.25))
    other = each_array(lambda array: np.roll(array, 1, axis=0), teacher)
    right, further, wrong = (
        values(name, *pair, "float64").numpy().mean() for pair in ((near, teacher), (far, teacher), (near, other))
    )
    assert right < further < wrong


@pytest.mark.parametrize("name", LOSSES)
def test_different_batches_are_refused_with_both_shapes_and_never_broadcast(name):
    student, teacher = samples(name)
    for count, other in ((BATCH, 1), (1, BATCH), (BATCH, 3)):
        ours = each_array(lambda array, count=count: array[:count], student)
        theirs = each_array(lambda array, other=other: array[:other], teacher)
        with pytest.raises(ShapeError) as raised:
            values(name, ours, theirs, labels=LABELS[:count])
        for each in (*arrays(ours), *arrays(theirs)):
            assert str(each.shape) in str(raised.value)


@pytest.mark.parametrize("name", LOSSES)
def test_different_sizes_and_channels_are_refused_with_both_shapes_unless_the_loss_declares_them(name):
    student, teacher = samples(name)
    # One class, channel or position would be broadcast to any number.
    for part, narrow in (("channels", lambda array: array[..., :1]), ("size", lambda array: array[:, :1])):
        for ours, theirs in ((each_array(narrow, student), teacher), (student, each_array(narrow, teacher))):
            if part in constants(name).get("MAY_DIFFER", ()):
                assert values(name, ours, theirs).shape == (BATCH,)
            else:
                refusal = refused(name, ours, theirs)
                assert refusal
                assert all(str(each.shape) in refusal for each in (*arrays(ours), *arrays(theirs)))


@pytest.mark.parametrize("name", [name for name in LOSSES if constants(name)["COMPARES"] == "features"])
def test_features_of_any_rank_are_flattened(name):
    student, teacher = samples(name)
    expected = values(name, student, teacher, "float64").numpy()
    for shape in ((BATCH, -1), (BATCH, 1, 2, CHANNELS)):
        result = values(name, student.reshape(shape), teacher.reshape(shape), "float64").numpy()
        np.testing.assert_allclose(result, expected, rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_a_graph_of_unknown_batch_size_computes_the_same_for_every_batch(name):
    student, teacher = samples(name)

    def spec(array):
        return tf.TensorSpec([None, *array.shape[1:]], "float32")

    needs = supplied(name)
    needs_spec = {
        need: tf.TensorSpec([None] if need == "labels" else value.shape, value.dtype) for need, value in needs.items()
    }
    graph = tf.function(
        lambda ours, theirs, needs: function(name)(ours, theirs, **needs), autograph=False
    ).get_concrete_function(each_array(spec, student), each_array(spec, teacher), needs_spec)
    assert graph.structured_outputs.shape.rank == 1
    for count in (1, 3, BATCH):
        ours, theirs = (
            each_array(lambda array, count=count: tf.cast(array[:count], "float32"), each)
            for each in (student, teacher)
        )
        needs = supplied(name, labels=LABELS[:count])
        result = tf.nest.flatten(graph(*tf.nest.flatten((ours, theirs, needs))))[0]
        np.testing.assert_allclose(
            result, values(name, ours, theirs, labels=LABELS[:count]), rtol=1e-5, atol=1e-7, err_msg=str(count)
        )


@pytest.mark.parametrize("name", LOSSES)
def test_the_same_inputs_give_the_same_bits(name):
    first, second = (values(name, *samples(name)).numpy() for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("name", LOSSES)
def test_scheduled_hyper_parameters_may_be_scalar_tensors(name):
    student, teacher = samples(name)
    described = registry.describe(PACKAGE, name, entry=name)
    scheduled = {
        setting: tf.constant(described.parameters[setting], "float32")
        for setting, written in described.annotations.items()
        if written == "float"
    }

    def with_tensors(dtype, tensors):
        return tf.cast(values(name, student, teacher, dtype, **tensors), "float64")

    # The values are not known while the graph is made, and need not have the samples' dtype.
    in_graph = tf.function(functools.partial(with_tensors, "float32"), autograph=False)
    for result, dtype, tolerance in (
        (in_graph(scheduled), "float32", 1e-5),
        (with_tensors("float16", scheduled), "float16", 1e-3),
        (with_tensors("float64", scheduled), "float64", 1e-5),
    ):
        expected = tf.cast(values(name, student, teacher, dtype), "float64")
        np.testing.assert_allclose(result, expected, rtol=tolerance, err_msg=dtype)


@pytest.mark.parametrize("name", [name for name in LOSSES if constants(name).get("SUMMARISES_TEACHER", False)])
def test_a_summary_of_the_teacher_stands_in_for_it(name):
    student, teacher = (tf.cast(each, "float32") for each in samples(name))
    larger = tf.repeat(tf.repeat(teacher, 2, axis=1), 2, axis=2) + tf.reshape(tf.range(8.0), (1, 8, 1, 1))
    for features in (teacher, larger):
        summarise = functools.partial(module(name).summarise_teacher, student_shape=(None, *student.shape[1:]))
        summary = summarise(features)
        assert tf.size(summary) < tf.size(features)
        np.testing.assert_allclose(values(name, student, summary), values(name, student, features), rtol=1e-5)
        # The cache is filled in batches of its own; a live teacher's is made within the step's graph.
        one_by_one = np.concatenate([summarise(features[i : i + 1]).numpy() for i in range(BATCH)])
        in_graph = tf.function(summarise, autograph=False)(features)
        for each in (one_by_one, in_graph.numpy()):
            assert values(name, student, each).numpy().tobytes() == values(name, student, summary).numpy().tobytes()
