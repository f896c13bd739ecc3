"""Every loss: what the training step, the recipe and the documentation count on.

A new loss is picked up by its file; its constant COMPARES says which inputs it gets here.
"""

import inspect
import re

import numpy as np
import pytest
import tensorflow as tf

from edgekd import recipe, registry
from edgekd.distill.objective import Objective, Term
from edgekd.distill.step import weighted_terms
from edgekd.distill.taps import Outputs
from edgekd.errors import ShapeError

LOSSES = registry.discover(recipe.LOSSES)
BATCH = 4
SHAPES = {"logits": (BATCH, 5), "feature_maps": (BATCH, 4, 4, 3)}

# Of the largest finite half-precision number (65504) what squares, sums and temperatures leave room for.
LARGE = {"float16": 1e3, "bfloat16": 1e15, "float32": 1e15, "float64": 1e150}


def constants(name):
    return registry.describe(recipe.LOSSES, name, entry=name).constants


def function(name):
    return getattr(registry.load(recipe.LOSSES, name), name)


def samples(name, *, seed=0):
    """Student's and teacher's inputs of the kind that the loss compares, float64."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[constants(name)["COMPARES"]]
    return rng.normal(size=shape), rng.normal(size=shape)


def values(name, student, teacher, dtype="float32"):
    return function(name)(tf.cast(student, dtype), tf.cast(teacher, dtype))


def test_there_are_losses_to_check():
    assert {"soft_logits", "attention_transfer"} <= set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_says_what_it_compares_and_whether_it_relates_samples(name):
    assert constants(name)["COMPARES"] in SHAPES
    assert constants(name).get("RELATES_SAMPLES", False) in {True, False}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_takes_a_student_a_teacher_and_keywords_with_defaults(name):
    student, teacher, *settings = inspect.signature(function(name)).parameters.values()
    assert (student.name, teacher.name) == ("student", "teacher")
    for setting in settings:
        assert setting.kind is inspect.Parameter.KEYWORD_ONLY, setting
        assert setting.default is not inspect.Parameter.empty, setting
    annotations = registry.describe(recipe.LOSSES, name, entry=name).annotations
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
    assert re.search(r"arXiv:\d{4}\.\d{4,5}", text.partition("References:")[2])
    assert registry.describe(recipe.LOSSES, name, entry=name).summary


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_a_loss_returns_one_number_of_the_students_dtype_for_each_sample(name, dtype):
    result = values(name, *samples(name), dtype)
    assert result.shape == (BATCH,)
    assert result.dtype == dtype


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["ordinary", "zero", "constant", "large", "small"])
def test_the_value_and_its_gradient_are_finite(name, dtype, kind):
    factor = {"ordinary": 1.0, "zero": 0.0, "constant": 0.0, "large": LARGE[dtype], "small": 1 / LARGE[dtype]}[kind]
    offset = 1.0 if kind == "constant" else 0.0
    ordinary = samples(name)
    extreme = [factor * each + offset for each in ordinary]
    for ours, theirs in (
        (extreme[0], extreme[1]),
        (extreme[0], ordinary[1]),
        (ordinary[0], extreme[1]),
        (extreme[0], extreme[0]),
    ):
        student = tf.Variable(tf.cast(ours, dtype))
        with tf.GradientTape() as tape:
            result = function(name)(student, tf.cast(theirs, dtype))
            total = tf.reduce_sum(result)
        assert np.isfinite(tf.cast(result, "float64").numpy()).all()
        assert np.isfinite(tf.cast(tape.gradient(total, student), "float64").numpy()).all()


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_least_where_the_student_equals_the_teacher(name):
    _, teacher = samples(name)
    least = values(name, teacher, teacher, "float64").numpy()
    for seed in range(5):
        student, _ = samples(name, seed=seed)
        for distance in (1e-3, 0.1, 1.0):
            assert (values(name, teacher + distance * student, teacher, "float64").numpy() > least).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_small_step_against_the_gradient_lowers_the_loss(name):
    ours, theirs = samples(name)
    student, teacher = tf.Variable(ours), tf.constant(theirs)
    with tf.GradientTape() as tape:
        before = tf.reduce_sum(function(name)(student, teacher))
    gradient = tape.gradient(before, student)
    slope = float(tf.reduce_sum(gradient**2))
    assert slope > 0
    step = 1e-4
    after = tf.reduce_sum(function(name)(student - step * gradient, teacher))
    # To first order it falls by the step times the squared gradient.
    assert float(before - after) == pytest.approx(step * slope, rel=0.01)


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_reaches_the_student_and_never_the_teacher(name):
    student, teacher = (tf.Variable(each, dtype="float32") for each in samples(name))
    compares = constants(name)["COMPARES"]
    logits = tf.zeros((BATCH, 2))
    if compares == "logits":
        outputs, taps = (Outputs(student, {}), Outputs(teacher, {})), ()
    else:
        outputs, taps = (
            (Outputs(logits, {"ours": student}), Outputs(logits, {"theirs": teacher})),
            (("ours", "theirs"),),
        )
    objective = Objective(labels_weight=0.0, terms=(Term(name, function(name), 2.0, taps),))
    with tf.GradientTape() as tape:
        terms = weighted_terms(objective, tf.zeros(BATCH, tf.int64), *outputs)
        total = terms[name]
    to_student, to_teacher = tape.gradient(total, (student, teacher))
    assert float(total) == pytest.approx(2.0 * values(name, student, teacher).numpy().mean(), rel=1e-5)
    assert np.abs(to_student.numpy()).max() > 0
    assert to_teacher is None


@pytest.mark.parametrize("name", LOSSES)
def test_a_samples_loss_depends_on_the_other_samples_only_where_that_is_declared(name):
    student, teacher = samples(name)
    whole = values(name, student, teacher, "float64").numpy()
    alone = np.concatenate(
        [values(name, student[i : i + 1], teacher[i : i + 1], "float64").numpy() for i in range(BATCH)]
    )
    independent = np.allclose(whole, alone, rtol=1e-9, atol=0)
    assert independent != constants(name).get("RELATES_SAMPLES", False)


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_the_batch_changes_nothing_but_the_order_of_the_result(name):
    student, teacher = samples(name)
    turned = values(name, student[::-1].copy(), teacher[::-1].copy(), "float64").numpy()[::-1]
    np.testing.assert_allclose(turned, values(name, student, teacher, "float64").numpy(), rtol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_a_wrong_pairing_of_samples_is_noticed(name):
    student, teacher = samples(name)
    near = teacher + 0.05 * student
    right, wrong = values(name, near, teacher), values(name, near, np.roll(teacher, 1, axis=0))
    assert wrong.numpy().mean() > 5 * right.numpy().mean()


@pytest.mark.parametrize("name", LOSSES)
def test_different_batches_are_refused_with_both_shapes_and_never_broadcast(name):
    student, teacher = samples(name)
    for ours, theirs in ((student, teacher[:1]), (student[:1], teacher), (student, teacher[:3])):
        with pytest.raises(ShapeError) as raised:
            values(name, ours, theirs)
        assert str(ours.shape) in str(raised.value)
        assert str(theirs.shape) in str(raised.value)


@pytest.mark.parametrize("name", LOSSES)
def test_a_graph_of_unknown_batch_size_computes_the_same_for_every_batch(name):
    student, teacher = samples(name)
    spec = tf.TensorSpec([None, *student.shape[1:]], "float32")
    graph = tf.function(function(name)).get_concrete_function(spec, spec)
    for count in (1, 3, BATCH):
        ours, theirs = (tf.cast(each[:count], "float32") for each in (student, teacher))
        np.testing.assert_allclose(graph(ours, theirs), values(name, ours, theirs), rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_the_same_inputs_give_the_same_bits(name):
    first, second = (values(name, *samples(name)).numpy() for _ in range(2))
    assert first.tobytes() == second.tobytes()
