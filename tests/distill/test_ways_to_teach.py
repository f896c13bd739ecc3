"""Ensembles, peers, exits, schedules, accumulation, mixup, unlabelled images: each against what it should compute."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from edgekd import recipe
from edgekd.data.batches import Batch
from edgekd.data.dataset import Dataset
from edgekd.distill import objective, optimizers, precision
from edgekd.distill.learners import Exits, Peers, Student
from edgekd.distill.lesson import Lesson, Targets
from edgekd.distill.loop import fit
from edgekd.distill.objective import Objective, Term
from edgekd.distill.step import TrainStep
from edgekd.distill.teacher import Ensemble
from edgekd.errors import EdgekdError, ModelError, RecipeError, ShapeError
from edgekd.losses.soft_logits import soft_logits
from edgekd.schedules import Schedule

SHAPE = (8, 8, 1)
Build = Callable[..., keras.Model]


def images(count: int = 16) -> np.ndarray:
    return np.random.default_rng(0).random((count, *SHAPE), np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    return scipy.special.softmax(logits, axis=-1)


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    return float(scipy.special.rel_entr(p, q).sum(axis=-1).mean())


class Stored:
    """A teacher source that gives the same logits for every batch."""

    def __init__(self, logits: np.ndarray) -> None:
        self.logits = logits
        self.shapes = {"logits": (logits.shape[-1],)}

    def outputs(self, batch: Batch) -> dict[str, np.ndarray]:
        return {"logits": self.logits[: len(batch.sample_ids)]}


BATCH = Batch(sample_ids=np.arange(2), images=images(2), labels=np.zeros(2, np.int64))
FIRST = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], np.float32)
SECOND = np.array([[2.0, 1.0, 0.0], [0.5, 0.5, 1.0]], np.float32)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("weights", [(), (3.0, 1.0), (0.0, 2.0)])
def test_an_ensembles_soft_targets_are_the_weighted_mean_of_its_teachers(
    temperature: float, weights: tuple[float, ...]
) -> None:
    shares = np.array(weights or (1.0, 1.0)) / sum(weights or (1.0, 1.0))
    expected = shares[0] * softmax(FIRST / temperature) + shares[1] * softmax(SECOND / temperature)
    ensemble = Ensemble({"a": Stored(FIRST), "b": Stored(SECOND)}, weights=weights, temperature=temperature)
    received = np.asarray(ensemble.outputs(BATCH)["logits"])
    np.testing.assert_allclose(softmax(received / temperature), expected, rtol=1e-5)


def test_an_ensemble_may_average_logits() -> None:
    ensemble = Ensemble({"a": Stored(FIRST), "b": Stored(SECOND)}, combine="logits", weights=(1.0, 3.0))
    np.testing.assert_allclose(ensemble.outputs(BATCH)["logits"], 0.25 * FIRST + 0.75 * SECOND, rtol=1e-6)


def test_teachers_of_different_classes_are_no_ensemble() -> None:
    with pytest.raises(ShapeError, match=r"'a': 3, 'b': 2"):
        Ensemble({"a": Stored(FIRST), "b": Stored(SECOND[:, :2])})


@pytest.mark.parametrize("weights", [(1.0,), (0.0, 0.0), (-1.0, 2.0)])
def test_weights_that_make_no_mean_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(RecipeError, match="weights"):
        Ensemble({"a": Stored(FIRST), "b": Stored(SECOND)}, weights=weights)


def test_each_peer_learns_from_labels_and_from_the_mean_of_the_others(tiny_network: Build) -> None:
    models = [tiny_network(seed=seed, dropout=0.0, width=4 + seed) for seed in range(3)]
    goal = Objective(labels_weight=1.0, terms=(Term("soft", lambda s, t: soft_logits(s, t, temperature=1.0)),))
    lesson = Lesson(Peers(models), goal, input_shape=SHAPE)
    labels = np.arange(16) % 3
    terms, logits = lesson.terms(images(), Targets(labels), None, training=False)
    p = [softmax(model(images(), training=False).numpy().astype(np.float64)) for model in models]
    np.testing.assert_allclose(softmax(logits.numpy()), p[0], rtol=1e-4)
    for own, name in enumerate(("student", "peer_1", "peer_2")):
        others = [p[other] for other in range(3) if other != own]
        expected = np.mean([divergence(other, p[own]) for other in others])
        assert float(terms[f"{name}/soft"]) == pytest.approx(expected, rel=1e-3)
        entropy = -np.log(p[own][np.arange(16), labels]).mean()
        assert float(terms[f"{name}/labels"]) == pytest.approx(entropy, rel=1e-4)


def test_a_peers_lesson_does_not_move_the_one_that_gives_it(tiny_network: Build) -> None:
    models = [tiny_network(seed=seed, dropout=0.0) for seed in range(2)]
    lesson = Lesson(Peers(models), Objective(labels_weight=0.0, terms=(Term("soft", soft_logits),)), input_shape=SHAPE)
    with tf.GradientTape() as tape:
        terms, _ = lesson.terms(images(), Targets(np.zeros(16, np.int64)), None, training=True)
        only = terms["student/soft"]
    gradients = tape.gradient(only, [models[0].trainable_variables, models[1].trainable_variables])
    assert any(np.abs(each.numpy()).max() > 0 for each in gradients[0] if each is not None)
    assert all(each is None for each in gradients[1])


def test_peers_of_different_classes_are_refused(tiny_network: Build) -> None:
    with pytest.raises(ShapeError, match="3, 4 classes"):
        Peers([tiny_network(), tiny_network(classes=4)])


@pytest.mark.parametrize("count", [0, 1])
def test_one_network_has_no_peers(tiny_network: Build, count: int) -> None:
    with pytest.raises(ModelError, match="at least two"):
        Peers([tiny_network() for _ in range(count)])


def test_exits_learn_from_labels_and_from_the_deepest_and_the_deepest_from_labels_alone(tiny_network: Build) -> None:
    model = tiny_network(dropout=0.0)
    section = recipe.section(
        recipe.Distill,
        {
            "way": "self",
            "exits": ["stage1", "stage2"],
            "labels_weight": 0.7,
            "losses": [
                {"loss": "soft_logits", "temperature": 3.0, "weight": 0.3},
                {"loss": "feature_mse", "weight": 0.1, "taps": [["features", "features"]]},
            ],
        },
    )
    goal = objective.from_recipe(section, label_smoothing=0.0)
    exits = Exits(model, section.exits, input_shape=SHAPE, seed=0)
    lesson = Lesson(exits, goal, input_shape=SHAPE)
    labels = np.arange(16) % 3
    terms, logits = lesson.terms(images(), Targets(labels), None, training=False)
    assert list(terms) == ["deepest/labels"] + [
        f"{tap}/{term}" for tap in ("stage1", "stage2") for term in ("labels", "soft_logits", "feature_mse")
    ]
    p = softmax(logits.numpy().astype(np.float64))
    assert float(terms["deepest/labels"]) == pytest.approx(-np.log(p[np.arange(16), labels]).mean(), rel=1e-5)
    deepest = keras.Model(model.input, model.layers[-1].input)(images()).numpy()
    outputs = exits.forward(images(), training=False)
    for own, tap in enumerate(("stage1", "stage2"), start=1):
        at_exit = outputs[own].logits.numpy().astype(np.float64)
        soft = 9 * divergence(softmax(logits.numpy() / 3), softmax(at_exit / 3))
        assert float(terms[f"{tap}/soft_logits"]) == pytest.approx(0.3 * soft, rel=1e-3)
        gap = ((outputs[own].taps["features"].numpy() - deepest) ** 2).mean()
        assert float(terms[f"{tap}/feature_mse"]) == pytest.approx(0.1 * gap, rel=1e-4)


def test_an_exit_that_does_not_exist_is_refused_with_the_near_ones(tiny_network: Build) -> None:
    with pytest.raises(ModelError, match=r"'stage3'.*stage2"):
        Exits(tiny_network(), ["stage3"], input_shape=SHAPE, seed=0)


def test_an_exit_on_a_vector_is_refused(tiny_network: Build) -> None:
    with pytest.raises(ShapeError, match=r"'flat'.*feature map"):
        Exits(tiny_network(), ["flat"], input_shape=SHAPE, seed=0)


def test_exits_start_from_their_seed(tiny_network: Build) -> None:
    heads = [Exits(tiny_network(), ["stage1"], input_shape=SHAPE, seed=seed).helpers[0] for seed in (1, 1, 2)]
    kernels = [head.variables[0].numpy() for head in heads]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0


def test_a_weight_and_a_temperature_follow_their_schedules(tiny_network: Build) -> None:
    section = recipe.section(
        recipe.Distill,
        {
            "labels_weight": {"schedule": "linear", "from": 1.0, "to": 0.0, "end_epoch": 4},
            "losses": [
                {
                    "loss": "soft_logits",
                    "weight": {"schedule": "piecewise", "points": [[0, 0.0], [2, 0.5]]},
                    "temperature": {"schedule": "cosine", "from": 8.0, "to": 2.0, "end_epoch": 2},
                }
            ],
        },
    )
    goal = objective.from_recipe(section, label_smoothing=0.0)
    model = tiny_network(dropout=0.0)
    lesson = Lesson(Student(model), goal, input_shape=SHAPE, teacher_shapes={"logits": (3,)})
    step = TrainStep(lesson, keras.optimizers.SGD(0.0), schedules=tuple(goal.schedules()))
    teacher, labels = np.random.default_rng(1).normal(size=(16, 3)).astype(np.float32), np.arange(16) % 3
    batch = {"images": tf.constant(images()), "labels": tf.constant(labels)}
    moving = [variable.numpy() for variable in model.non_trainable_variables]
    for at, labels_weight, weight, temperature in ((0, 1.0, 0.0, 8.0), (10, 0.75, 0.0, 5.0), (30, 0.25, 0.5, 2.0)):
        logits = model(images(), training=True).numpy().astype(np.float64)
        values = goal.scheduled_values(at, steps_per_epoch=10)
        measured = dict(zip(step.names, step(batch, {"logits": tf.constant(teacher)}, values).numpy(), strict=True))
        soft = temperature**2 * divergence(softmax(teacher / temperature), softmax(logits / temperature))
        assert measured["soft_logits"] == pytest.approx(weight * soft, rel=1e-3, abs=1e-7), at
        entropy = -np.log(softmax(logits)[np.arange(16), labels]).mean()
        assert measured["labels"] == pytest.approx(labels_weight * entropy, rel=1e-4), at
        for variable, value in zip(model.non_trainable_variables, moving, strict=True):
            variable.assign(value)


def test_a_scheduled_labels_weight_leaves_the_deepest_network_its_own(tiny_network: Build) -> None:
    schedule = {"schedule": "linear", "from": 1.0, "to": 0.0, "end_epoch": 2}
    section = recipe.section(recipe.Distill, {"way": "self", "exits": ["stage1"], "labels_weight": schedule})
    goal = objective.from_recipe(section, label_smoothing=0.0)
    lesson = Lesson(Exits(tiny_network(), ["stage1"], input_shape=SHAPE, seed=0), goal, input_shape=SHAPE)
    targets = Targets(np.arange(16) % 3)
    first, last = (
        lesson.terms(images(), targets, None, {"labels.weight": tf.constant(weight)}, training=False)[0]
        for weight in (1.0, 0.25)
    )
    assert float(last["deepest/labels"]) == float(first["deepest/labels"]) > 0
    assert float(last["stage1/labels"]) == pytest.approx(0.25 * float(first["stage1/labels"]), rel=1e-6)


def test_a_constant_weight_in_the_graph_is_a_schedule_that_never_changes() -> None:
    constant = Objective(labels_weight=0.5, terms=(Term("soft", soft_logits, 2.0),))
    assert constant.schedules() == {}
    moving = dataclasses.replace(constant, labels_weight=Schedule.constant(0.5))
    assert moving.scheduled_values(7, steps_per_epoch=3).tolist() == [0.5]


def test_accumulated_gradients_move_the_weights_as_one_large_batch_would(tiny_network: Build) -> None:
    def trained(accumulated: int, batches: list[np.ndarray]) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        flat = keras.layers.Flatten()(inputs := keras.Input(SHAPE))
        model = keras.Model(inputs, keras.layers.Dense(3)(flat))  # without batch statistics
        settings = {"learning_rate": 0.5, "schedule": "constant", "accumulation_steps": accumulated}
        lesson = Lesson(Student(model), Objective(), input_shape=SHAPE)
        optimizer = optimizers.build(
            recipe.section(recipe.Training, settings), lesson.trainable_variables, steps_per_epoch=4
        )
        step = TrainStep(lesson, optimizer)
        for ids in batches:
            step({"images": tf.constant(images()[ids]), "labels": tf.constant(ids % 3)})
        return [variable.numpy() for variable in model.variables]

    one = trained(1, [np.arange(16), np.arange(16)[::-1].copy()])
    parts = trained(2, [np.arange(8), np.arange(8, 16), np.arange(8, 16), np.arange(8)])
    for expected, received in zip(one, parts, strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-7)
    halfway = trained(2, [np.arange(8)])
    for before, received in zip(trained(1, []), halfway, strict=True):
        np.testing.assert_array_equal(before, received)


def test_mixed_images_have_mixed_labels(tiny_network: Build) -> None:
    model = tiny_network(dropout=0.0)
    lesson = Lesson(Student(model), Objective(label_smoothing=0.1), input_shape=SHAPE)
    labels, partners = np.arange(16) % 3, (np.arange(16) + 1) % 3
    share = np.linspace(0, 1, 16, dtype=np.float32)
    terms, logits = lesson.terms(images(), Targets(labels, partners, share), None, training=False)
    targets = (1 - share[:, None]) * np.eye(3)[labels] + share[:, None] * np.eye(3)[partners]
    targets = 0.9 * targets + 0.1 / 3
    expected = -(targets * scipy.special.log_softmax(logits.numpy(), axis=-1)).sum(axis=-1).mean()
    assert float(terms["labels"]) == pytest.approx(expected, rel=1e-5)


def test_of_two_mixed_images_the_one_with_a_label_counts_by_its_share(tiny_network: Build) -> None:
    model = tiny_network(dropout=0.0)
    lesson = Lesson(Student(model), Objective(label_smoothing=0.1), input_shape=SHAPE)
    labels, partners = np.array([0, 1, -1, -1] * 4), np.array([1, -1, 2, -1] * 4)
    share = np.linspace(0.1, 0.9, 16)
    with tf.GradientTape() as tape:
        terms, logits = lesson.terms(
            images(), Targets(labels, partners, tf.constant(share, tf.float32), complete=False), None, training=False
        )
    log_q = scipy.special.log_softmax(logits.numpy().astype(np.float64), axis=-1)
    total = counted = 0.0
    slope = np.zeros((16, 3))
    for i in range(16):
        for label, part in ((labels[i], 1 - share[i]), (partners[i], share[i])):
            if label >= 0:
                wanted = 0.9 * np.eye(3)[label] + 0.1 / 3
                total -= part * (wanted * log_q[i]).sum()
                slope[i] += part * (np.exp(log_q[i]) - wanted)
                counted += part
    assert float(terms["labels"]) == pytest.approx(total / counted, rel=1e-4)
    np.testing.assert_allclose(tape.gradient(terms["labels"], logits), slope / counted, rtol=1e-3, atol=1e-6)


def test_images_without_a_label_count_for_the_teachers_terms_only(tiny_network: Build) -> None:
    model = tiny_network(dropout=0.0)
    goal = Objective(labels_weight=0.5, label_smoothing=0.2, terms=(Term("soft", soft_logits),))
    lesson = Lesson(Student(model), goal, input_shape=SHAPE, teacher_shapes={"logits": (3,)})
    labels = np.array([0, -1, 2, -1] * 4)
    teacher = np.random.default_rng(1).normal(size=(16, 3)).astype(np.float32)
    targets = Targets(labels, complete=False)
    terms, logits = lesson.terms(images(), targets, {"logits": tf.constant(teacher)}, training=False)
    known = labels >= 0
    log_q = scipy.special.log_softmax(logits.numpy().astype(np.float64), axis=-1)
    wanted = 0.8 * np.eye(3)[labels[known]] + 0.2 / 3
    assert float(terms["labels"]) == pytest.approx(-0.5 * (wanted * log_q[known]).sum(axis=-1).mean(), rel=1e-4)
    soft = 16 * divergence(softmax(teacher / 4), softmax(logits.numpy() / 4))
    assert float(terms["soft"]) == pytest.approx(soft, rel=1e-3)
    step = TrainStep(lesson, keras.optimizers.SGD(0.0), complete=False)
    batch = {"images": tf.constant(images()), "labels": tf.constant(np.full(16, -1))}
    measured = dict(zip(step.names, step(batch, {"logits": tf.constant(teacher)}).numpy(), strict=True))
    assert (measured["labels"], measured["accuracy"]) == (0.0, 0.0)
    assert measured["soft"] > 0


@pytest.mark.parametrize(("labels", "mixup", "message"), [([0, -1], 0.0, "1 of 2"), ([0, 1], 0.2, "mixup")])
def test_a_loss_that_needs_the_class_refuses_samples_without_one(labels: list[int], mixup: float, message: str) -> None:
    section = recipe.section(recipe.Distill, {"losses": [{"loss": "dkd"}]})
    goal = objective.from_recipe(section, label_smoothing=0.0)
    goal.check_labels(np.array([0, 1]), mixup=0.0)
    with pytest.raises(RecipeError, match=message):
        goal.check_labels(np.array(labels), mixup=mixup)


def test_adapters_learn_with_the_student_and_start_from_the_seed(tiny_network: Build, live_teacher: Callable) -> None:
    section = recipe.section(
        recipe.Distill, {"losses": [{"loss": "fitnet_hint", "taps": [["stage1", "stage1"], ["stage2", "stage2"]]}]}
    )
    goal = objective.from_recipe(section, label_smoothing=0.0)
    first = []
    for seed in (0, 0, 1):
        student, teacher = tiny_network(seed=1), tiny_network(seed=2, width=6)
        source = live_teacher(teacher, goal, student)
        learners = Student(student, goal.student_taps)
        lesson = Lesson(learners, goal, input_shape=SHAPE, teacher_shapes=source.shapes, seed=seed)
        (adapter,) = lesson.helpers
        first.append([variable.numpy() for variable in adapter.variables])
    assert all((a == b).all() for a, b in zip(first[0], first[1], strict=True))
    assert any((a != b).any() for a, b in zip(first[0], first[2], strict=True))
    step = TrainStep(lesson, optimizer := keras.optimizers.SGD(0.1))
    optimizer.build(lesson.trainable_variables)
    given = source.outputs(Batch(np.arange(16), images(), np.arange(16) % 3))
    step({"images": tf.constant(images()), "labels": tf.constant(np.arange(16) % 3)}, given)
    for variable, before in zip(adapter.variables, first[2], strict=True):
        assert np.abs(variable.numpy() - before).max() > 0, variable.path


def test_an_adapter_that_cannot_fit_names_the_term_and_both_shapes(tiny_network: Build) -> None:
    section = recipe.section(recipe.Distill, {"losses": [{"loss": "fitnet_hint", "taps": [["stage1", "flat"]]}]})
    goal = objective.from_recipe(section, label_smoothing=0.0)
    learners = Student(tiny_network(), goal.student_taps)
    with pytest.raises(EdgekdError, match=r"fitnet_hint.*\[stage1, flat\].*\(8, 8, 4\).*\(64,\)"):
        Lesson(learners, goal, input_shape=SHAPE, teacher_shapes={"flat": (64,)})


@pytest.mark.parametrize("settings", [{"xla": True}, {"precision": "mixed_bfloat16"}, {"precision": "mixed_float16"}])
def test_xla_and_mixed_precision_learn_the_same_to_their_precision(
    tiny_network: Build, tiny_data: Dataset, settings: dict[str, object]
) -> None:
    losses = {}
    for name, changes in {"plain": {}, "changed": settings}.items():
        model = tiny_network(dropout=0.0)
        training = recipe.section(recipe.Training, {"epochs": 2, "learning_rate": 0.05, **changes})
        state = fit(model, tiny_data, objective=Objective(), training=training, batch_size=32, seed=0)
        losses[name] = [row.loss for row in state.curve]
        assert {variable.dtype for variable in model.variables if "seed" not in variable.path} == {"float32"}
        assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    np.testing.assert_allclose(losses["changed"], losses["plain"], rtol=0.02 if "precision" in settings else 1e-4)
    assert ("precision" in settings) == (losses["changed"] != losses["plain"]) or "xla" in settings


def test_a_heavy_term_in_float16_is_learned_all_the_same(tiny_network: Build, live_teacher: Callable[..., Any]) -> None:
    """The loss scale, 32768, times a weight of 1000 is far beyond float16."""
    scales = []
    for weight in (1.0, 1000.0):
        schedule = {"schedule": "linear", "from": weight, "to": weight / 2, "end_epoch": 5}
        document = {"losses": [{"loss": "attention_transfer", "weight": schedule, "taps": [["stage1", "stage1"]]}]}
        goal = objective.from_recipe(recipe.section(recipe.Distill, document), label_smoothing=0.0)
        student = tiny_network(dropout=0.0)
        source = live_teacher(tiny_network(seed=2, width=6), goal, student)
        learners = Student(student, goal.student_taps)
        lesson = Lesson(learners, goal, input_shape=SHAPE, teacher_shapes=source.shapes)
        training = recipe.section(recipe.Training, {"precision": "mixed_float16", "learning_rate": 1e-4})
        optimizer = optimizers.build(training, lesson.trainable_variables, steps_per_epoch=10)
        step = TrainStep(lesson, optimizer, schedules=tuple(goal.schedules()))
        given = source.outputs(Batch(np.arange(16), images(), np.arange(16) % 3))
        with precision.applied("mixed_float16", (student, *lesson.helpers)):
            for at in range(10):
                values = goal.scheduled_values(at, steps_per_epoch=10)
                step({"images": tf.constant(images()), "labels": tf.constant(np.arange(16) % 3)}, given, values)
        scales.append((float(optimizer.dynamic_scale.numpy()), int(optimizer.inner_optimizer.iterations.numpy())))
    # The scale gives way to what the gradients themselves need, and most steps count.
    assert scales[0] == (2.0**15, 10)
    assert scales[1][0] >= 2.0**10
    assert scales[1][1] >= 5


def test_a_policy_that_a_layer_has_of_its_own_stays_and_errors_leave_none_behind(tiny_network: Build) -> None:
    model = tiny_network()
    model.get_layer("stage1").dtype_policy = keras.dtype_policies.get("bfloat16")
    with precision.applied("mixed_float16", (model,)):
        assert model.get_layer("conv1").compute_dtype == "float16"
        assert model.get_layer("stage1").compute_dtype == "bfloat16"
    with pytest.raises(ShapeError), precision.applied("mixed_float16", (model,)):
        raise ShapeError("of a step")
    assert model.get_layer("conv1").compute_dtype == "float32"


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_no_weight_decay_is_no_weight_decay(tiny_network: Build, optimizer: str) -> None:
    variables = tiny_network().trainable_variables
    built = optimizers.build(
        recipe.section(recipe.Training, {"optimizer": optimizer, "weight_decay": 0.0}), variables, steps_per_epoch=1
    )
    before = [variable.numpy() for variable in variables]
    built.apply([tf.zeros_like(variable) for variable in before], variables)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_accumulating_over_more_steps_than_there_are_is_refused(tiny_network: Build) -> None:
    training = recipe.section(recipe.Training, {"accumulation_steps": 9})
    with pytest.raises(RecipeError, match=r"9.*8 steps"):
        optimizers.build(training, tiny_network().trainable_variables, steps_per_epoch=8)


def test_an_ensemble_gives_its_teachers_own_logits_too() -> None:
    ensemble = Ensemble({"a": Stored(FIRST), "b": Stored(SECOND)})
    outputs = ensemble.outputs(BATCH)
    np.testing.assert_array_equal(outputs["a/logits"], FIRST)
    np.testing.assert_array_equal(outputs["b/logits"], SECOND)
    assert ensemble.shapes == {"logits": (3,), "a/logits": (3,), "b/logits": (3,)}
