"""Every way to teach, from a recipe to saved networks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd import recipe
from edgekd.api import create_model, distill_model
from edgekd.architectures import weights_sha256
from edgekd.data import randomness
from edgekd.errors import EdgekdError, ModelError, RecipeError, ShapeError, StorageError
from edgekd.pipeline import RunResult, load_data, run
from edgekd.pipeline.results import TrainingResult
from edgekd.pipeline.stage import RECORD_FILE, STUDENT_DISTILLED
from edgekd.report.training import sentences

LOGITS = {"loss": "soft_logits", "temperature": 2.0}


@pytest.fixture
def short_recipe(tiny_recipe: dict[str, Any]) -> dict[str, Any]:
    """One epoch each, nothing exported; tests replace what they are about."""
    # Two plain convolutions: what costs time here is making graphs, not running them.
    shape = {"epochs": 1, "optimizer": "adam", "learning_rate": 0.01, "architecture": "lab_cnn"}
    tiny_recipe |= {"teacher": {**shape, "filters": [6, 8]}, "student": {**shape, "filters": [4, 6]}}
    tiny_recipe["data"] = {**tiny_recipe["data"], "samples": 200}
    return {**tiny_recipe, "distill": {"losses": [LOGITS]}, "export": []}


def distilled(
    document: dict[str, Any], out: Path, *, until: tuple[str, ...] | None = (STUDENT_DISTILLED,)
) -> RunResult:
    return run(recipe.from_document(document), out=out, until=until)


def result(out: Path) -> TrainingResult:
    return TrainingResult.read(out / STUDENT_DISTILLED / RECORD_FILE)


def test_an_ensemble_of_two_teachers_with_taps_of_each(tmp_path: Path, short_recipe: dict[str, Any]) -> None:
    short_recipe["teacher"] = [short_recipe["teacher"], {**short_recipe["teacher"], "filters": [8, 8]}]
    short_recipe["distill"] = {
        "ensemble": {"weights": [2, 1]},
        "losses": [
            LOGITS,
            {"loss": "attention_transfer", "taps": [["relu1", "teacher/relu1"], ["relu2", "teacher_2/relu2"]]},
        ],
    }
    ended = distilled(short_recipe, tmp_path / "run", until=None)
    assert set(ended.summary.models) == {"teacher", "teacher_2", "student_labels", "student_distilled"}
    assert all(model.accuracy is not None for model in ended.summary.models.values())
    assert set(result(tmp_path / "run").curve[0].terms) == {"labels", "soft_logits", "attention_transfer"}


def test_a_tap_of_an_ensemble_must_say_whose_it_is(tmp_path: Path, short_recipe: dict[str, Any]) -> None:
    short_recipe["teacher"] = [short_recipe["teacher"]] * 2
    short_recipe["distill"]["losses"] = [{"loss": "attention_transfer", "taps": [["relu1", "relu1"]]}]
    with pytest.raises(RecipeError, match=r"'relu1'.*teacher/relu1.*teacher, teacher_2"):
        distilled(short_recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_teachers_of_one_architecture_are_two_networks(tmp_path: Path, short_recipe: dict[str, Any]) -> None:
    short_recipe["teacher"] = [short_recipe["teacher"]] * 2
    models = distilled(short_recipe, tmp_path / "run").summary.models
    assert models["teacher"].weights_sha256 != models["teacher_2"].weights_sha256


def test_peers_of_other_architectures_are_saved_beside_the_student(
    tmp_path: Path, short_recipe: dict[str, Any]
) -> None:
    del short_recipe["teacher"]
    short_recipe["distill"] = {
        "way": "online",
        "labels_weight": 1.0,
        "peers": [{"architecture": "light_cnn"}, {"architecture": "lab_cnn", "filters": [4, 6]}],
        "losses": [{**LOGITS, "temperature": 1.0}],
    }
    ended = distilled(short_recipe, tmp_path / "run", until=None)
    assert set(ended.summary.models) == {"student_labels", "student_distilled", "peer_1", "peer_2"}
    assert (tmp_path / "run" / ended.summary.models["peer_1"].path).is_file()
    assert ended.summary.models["peer_1"].architecture == "light_cnn"
    assert "taught by 2 peers, while it teaches them" in sentences(ended.summary)[-1]
    assert all(model.accuracy is not None for model in ended.summary.models.values())
    # The same architecture, but not the same network.
    assert ended.summary.models["peer_2"].weights_sha256 != ended.summary.models["student_distilled"].weights_sha256


def test_exits_are_dropped_from_the_saved_network(tmp_path: Path, short_recipe: dict[str, Any]) -> None:
    del short_recipe["teacher"]
    short_recipe["distill"] = {
        "way": "self",
        "exits": ["relu1", "relu2"],
        "labels_weight": 0.7,
        "losses": [LOGITS, {"loss": "feature_mse", "weight": 0.1, "taps": [["features", "features"]]}],
    }
    ended = distilled(short_recipe, tmp_path / "run").summary
    assert sentences(ended)[-1].endswith("taught by its own logits, at early exits.")
    models = ended.models
    labels = run(recipe.from_document(short_recipe), out=tmp_path / "run", until=("student_labels",)).summary.models
    assert models["student_distilled"].parameters == labels["student_labels"].parameters
    assert "relu1/soft_logits" in result(tmp_path / "run").curve[0].terms


def test_generations_are_taught_by_the_one_before(tmp_path: Path, short_recipe: dict[str, Any]) -> None:
    del short_recipe["teacher"]
    short_recipe["distill"] = {"way": "born_again", "generations": 2, "losses": [LOGITS]}
    ended = distilled(short_recipe, tmp_path / "run")
    assert set(ended.summary.models) == {"student_labels", "student_distilled", "generation_1"}
    assert len({model.weights_sha256 for model in ended.summary.models.values()}) == 3
    assert "taught in 2 generations, the first by that one" in " ".join(sentences(ended.summary))
    folder = tmp_path / "run" / STUDENT_DISTILLED
    assert (folder / "curve_generation_1.csv").is_file()
    # By hand: a network with the second generation's seed, taught by the first.
    data = load_data(recipe.from_document(short_recipe).data)
    seed = randomness.key("generation", short_recipe["seed"], 2) & 0x7FFFFFFF
    student = create_model("lab_cnn", data, seed=seed, filters=[4, 6])
    training = {key: short_recipe["student"][key] for key in ("epochs", "optimizer", "learning_rate")}
    teacher = folder / "generation_1.keras"
    distill_model(student, teacher, data, losses=[LOGITS], seed=seed, batch_size=32, augment={"shift": 1}, **training)
    assert weights_sha256(student) == ended.summary.models["student_distilled"].weights_sha256
    again = distilled({**short_recipe, "distill": {**short_recipe["distill"], "generations": 1}}, tmp_path / "run")
    assert not list((tmp_path / "run" / STUDENT_DISTILLED).glob("*generation_1*"))  # of the earlier recipe
    # The first generation of two is the last of one: only the number of generations has changed.
    assert (
        again.summary.models["student_distilled"].weights_sha256 == ended.summary.models["generation_1"].weights_sha256
    )


def test_a_cached_run_makes_the_same_student_and_a_second_one_asks_no_teacher(
    tmp_path: Path, short_recipe: dict[str, Any]
) -> None:
    live = distilled(short_recipe, tmp_path / "live").summary.models["student_distilled"]
    cache = {"dtype": "float32", "folder": str(tmp_path / "cache")}
    short_recipe["distill"] = {**short_recipe["distill"], "cache": cache}
    cached = distilled(short_recipe, tmp_path / "cached").summary.models["student_distilled"]
    assert cached.weights_sha256 == live.weights_sha256
    stored = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    assert stored
    short_recipe["distill"] = {**short_recipe["distill"], "cache": {**cache, "fill": False}}
    short_recipe["student"]["learning_rate"] = 0.02
    distilled(short_recipe, tmp_path / "other")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")} == stored
    short_recipe["seed"] = 4
    with pytest.raises(StorageError, match=r"teacher \(stored"):
        distilled(short_recipe, tmp_path / "refused")


def test_a_tflite_file_teaches(tmp_path: Path, short_recipe: dict[str, Any]) -> None:
    from edgekd.api import export_model

    trained = distilled(short_recipe, tmp_path / "run", until=("teacher",))
    artifact = export_model(trained.folder / trained.summary.models["teacher"].path, tmp_path / "teacher.tflite")
    short_recipe["teacher"] = {"model": artifact.path}
    ended = distilled(short_recipe, tmp_path / "taught", until=None)
    teacher = ended.summary.models["teacher"]
    assert (teacher.parameters, teacher.macs) == (None, None)
    assert teacher.accuracy is not None
    assert "LiteRT" in teacher.architecture


def test_unlabelled_images_are_taught_on_and_not_counted_as_labelled(
    tmp_path: Path, short_recipe: dict[str, Any]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (96, 16, 16, 1), np.uint8)
    np.savez(tmp_path / "more.npz", x=images)
    before = distilled(short_recipe, tmp_path / "before").summary
    short_recipe["data"]["unlabelled"] = f"npz:{tmp_path / 'more.npz'}"
    after = distilled(short_recipe, tmp_path / "after").summary
    assert after.data.train == before.data.train + 96
    assert after.models["teacher"].weights_sha256 == before.models["teacher"].weights_sha256
    assert after.models["student_distilled"].weights_sha256 != before.models["student_distilled"].weights_sha256


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"way": "self", "exits": ["relu9"]}, ModelError, r"'relu9'.*relu1"),
        ({"way": "online", "peers": [{"architecture": "nothing"}]}, RecipeError, "unknown architecture 'nothing'"),
        ({"way": "online"}, RecipeError, "needs peers"),
        ({"way": "self"}, RecipeError, "needs exits"),
        ({"way": "born_again", "exits": ["relu1"]}, RecipeError, "exits is given but way is 'born_again'"),
        ({"losses": [{**LOGITS, "weight": 0.0}]}, RecipeError, "weight of every loss is zero"),
        ({"generations": 2}, RecipeError, "set way to 'born_again'"),
        ({"ensemble": {"combine": "logits"}}, RecipeError, "ensemble is for several teachers, but there is 1"),
        (
            {"losses": [{**LOGITS, "weight": {"schedule": "piecewise", "points": [[0, 0], [9, 1]]}}]},
            RecipeError,
            "'soft_logits' is zero in all 1 epochs",
        ),
        (
            {"losses": [{"loss": "dkd", "alpha": {"schedule": "linear", "from": -5, "to": 1, "end_epoch": 1}}]},
            RecipeError,
            "alpha must be",
        ),
        (
            {
                "losses": [
                    {**LOGITS, "weight": {"schedule": "linear", "from": 0, "to": 1, "start_epoch": 5, "end_epoch": 2}}
                ]
            },
            RecipeError,
            "ends at epoch 2 and starts at epoch 5",
        ),
        (
            {"losses": [{"loss": "vid", "taps": [["relu1", "relu1"]], "adapter": "pool"}]},
            RecipeError,
            "needs variance",
        ),
        (
            {"losses": [{"loss": "feature_mse", "taps": [["relu1", "relu2"]], "adapter": "none"}]},
            ShapeError,
            r"feature_mse.*16, 16, 4.*16, 16, 8",
        ),
    ],
)
def test_what_cannot_be_taught_is_said_before_anything_is_written(
    tmp_path: Path, short_recipe: dict[str, Any], changes: dict[str, Any], error: type[EdgekdError], message: str
) -> None:
    if changes.get("way") in {"online", "self", "born_again"}:
        del short_recipe["teacher"]
    short_recipe["distill"] = {**short_recipe["distill"], **changes}
    with pytest.raises(error, match=message):
        distilled(short_recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_keras_file_that_ends_in_a_softmax_may_teach_when_that_is_said(
    tmp_path: Path, short_recipe: dict[str, Any]
) -> None:
    import keras

    images = keras.Input((16, 16, 1))
    outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(images))
    keras.Model(images, outputs).save(tmp_path / "teacher.keras")
    short_recipe["teacher"] = {"model": str(tmp_path / "teacher.keras")}
    with pytest.raises(ModelError, match="softmax"):
        distilled(short_recipe, tmp_path / "refused")
    short_recipe["teacher"]["outputs"] = "probabilities"
    assert distilled(short_recipe, tmp_path / "run").summary.models["teacher"].parameters is None


def test_a_function_whose_answers_have_changed_is_not_taken_for_the_recorded_teacher(
    tmp_path: Path, short_recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_teacher.py").write_text(
        "import numpy as np\n\ndef answer(images):\n"
        "    return images.reshape(len(images), -1)[:, :3] @ np.load('weights.npy')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    np.save("weights.npy", np.eye(3, dtype=np.float32))
    short_recipe["teacher"] = {"model": "my_teacher:answer"}
    distilled(short_recipe, tmp_path / "run")
    np.save("weights.npy", 2 * np.eye(3, dtype=np.float32))
    short_recipe["student"]["learning_rate"] = 0.02
    with pytest.raises(ModelError, match="other outputs than when the stage 'teacher' was done"):
        distilled(short_recipe, tmp_path / "run")


def test_labels_that_are_missing_are_found_before_a_loss_needs_them(
    tmp_path: Path, short_recipe: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (120, 16, 16, 1), np.uint8), np.arange(120) % 3
    labels[::4] = -1
    np.savez(tmp_path / "data.npz", x_train=images, y_train=labels)
    short_recipe["data"] = {"dataset": f"npz:{tmp_path / 'data.npz'}", "batch_size": 16}
    short_recipe["distill"] = {"losses": [{"loss": "dkd"}]}
    with pytest.raises(RecipeError, match=r"'dkd' needs labels, but \d+ of"):
        distilled(short_recipe, tmp_path / "run")


def test_no_two_networks_of_a_sweep_start_alike(tmp_path: Path, short_recipe: dict[str, Any]) -> None:
    from edgekd.pipeline.training import teacher_seed

    document = recipe.from_document({**short_recipe, "teacher": [short_recipe["teacher"]] * 2})
    seeds = [teacher_seed(document.model_copy(update={"seed": seed}), place) for seed in range(50) for place in (0, 1)]
    assert len({*seeds, *range(50)}) == 150


@pytest.mark.parametrize("cache", [{"folder": "file/cache"}, {"fill": False, "folder": "empty"}])
def test_a_cache_that_cannot_serve_is_found_before_anything_is_trained(
    tmp_path: Path, short_recipe: dict[str, Any], cache: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgekd.architectures import save_model

    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    data = load_data(recipe.from_document(short_recipe).data)
    save_model(create_model("lab_cnn", data), "teacher.keras")
    short_recipe["teacher"] = {"model": "teacher.keras"}
    short_recipe["distill"] = {**short_recipe["distill"], "cache": cache}
    with pytest.raises(StorageError, match="not a folder" if "fill" not in cache else "it is empty"):
        distilled(short_recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
