"""Recipes: every mistake is named before any work, and what is accepted means what it says."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edgekd import recipe
from edgekd.errors import RecipeError

MODELS = Path(__file__).parents[1] / "models"

MINIMAL = "teacher: {architecture: resnet}\nstudent: {architecture: resnet, width: 8}\n"


@pytest.fixture
def load(tmp_path):
    """Loads a recipe's text."""

    def load_text(text, *overrides):
        path = tmp_path / "given.yaml"
        path.write_text(text, encoding="utf-8")
        return recipe.load(str(path), overrides=overrides)

    return load_text


@pytest.fixture
def problem(load):
    """Returns what is said of a recipe that must not be accepted: the minimal one with more lines or overrides."""

    def problem_of(lines="", *overrides, base=MINIMAL):
        with pytest.raises(RecipeError) as raised:
            load(base + lines, *overrides)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    return problem_of


# What a recipe means where it says nothing.


def test_a_minimal_recipe_has_every_section_with_its_documented_defaults(load):
    minimal = load(MINIMAL)
    assert (minimal.name, minimal.seed) == ("unnamed", 0)
    assert (minimal.data.dataset, minimal.data.batch_size) == ("embedded", 128)
    assert minimal.student.arguments == {"width": 8, "blocks": 1, "stem_stride": 1, "shortcut": "projection"}
    assert minimal.distill.labels_weight == 0.1
    assert [(loss.loss, loss.weight, loss.arguments) for loss in minimal.distill.losses] == [
        ("soft_logits", 0.9, {"temperature": 4.0, "standardize": False})
    ]
    assert (minimal.verify.max_accuracy_drop, minimal.verify.min_agreement) == (0.01, 0.98)
    assert minimal.bench.targets == ("local",)


def test_a_recipe_cannot_be_changed(load):
    with pytest.raises(ValueError, match="frozen"):
        load(MINIMAL).student.epochs = 3


# Keys.


@pytest.mark.parametrize(
    ("lines", "place", "received", "nearest"),
    [
        ("sede: 1", "", "sede", "seed"),
        ("data: {batchsize: 3}", "data: ", "batchsize", "batch_size"),
        ("data: {augment: {shfit: 2}}", "data.augment: ", "shfit", "shift"),
        ("data: {dataset: synthetic, sampels: 3}", "data: ", "sampels", "samples"),
        ("distill: {label_weight: 0.5}", "distill: ", "label_weight", "labels_weight"),
        ("distill: {losses: [{loss: soft_logits, temprature: 2}]}", "distill.losses.0: ", "temprature", "temperature"),
        ("distill: {losses: [{loss: soft_logits, wieght: 2}]}", "distill.losses.0: ", "wieght", "weight"),
        ("export: [{format: tflite}, {format: tflite, shceme: int8}]", "export.1: ", "shceme", "scheme"),
        ("export: [{format: onnx, opsett: 17}]", "export.0: ", "opsett", "opset"),
        ("calibration: {sample: 3}", "calibration: ", "sample", "samples"),
        ("verify: {min_agrement: 1}", "verify: ", "min_agrement", "min_agreement"),
        ("bench: {target: [local]}", "bench: ", "target", "targets"),
    ],
)
def test_an_unknown_key_is_named_with_its_place_and_the_nearest_known_one(problem, lines, place, received, nearest):
    message = problem(lines)
    assert f"': {place}unknown " in message
    assert f"{received!r}. Did you mean {nearest!r}?" in message


@pytest.mark.parametrize(
    ("received", "nearest"), [("epoch", "epochs"), ("widht", "width"), ("learning_rat", "learning_rate")]
)
def test_an_unknown_key_of_a_network_is_compared_with_training_and_architecture_alike(problem, received, nearest):
    message = problem(base=f"teacher: {{architecture: resnet, {received}: 1}}\nstudent: {{architecture: resnet}}\n")
    assert ": teacher: unknown " in message
    assert f"{received!r}. Did you mean {nearest!r}?" in message


def test_keys_that_an_export_sets_by_itself_cannot_be_given_twice(problem):
    # The exporter's function takes it, but it comes from the recipe's calibration section.
    assert "unknown" in problem("export: [{format: tflite, calibration: 3}]")


@pytest.mark.parametrize("section", ["teacher", "student"])
def test_a_missing_section_is_named(problem, section):
    other = {"teacher": "student", "student": "teacher"}[section]
    assert f"{section}: this key is required" in problem(base=f"{other}: {{architecture: resnet}}\n")


# Types and ranges.


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("seed: 1.5", "seed: expected a whole number; got a number 1.5."),
        ("seed: '1'", "seed: expected a whole number; got a string '1'."),
        ("seed: true", "seed: expected a whole number; got a truth value True."),
        ("seed: -1", "seed: expected a number greater than or equal to 0; got a whole number -1."),
        ("seed:", "seed: expected a whole number; got nothing None."),
        ("name: 3", "name: expected a string; got a whole number 3."),
        ("name: ../escape", "name: expected a string that matches"),
        ("name: a b", "name: expected a string that matches"),
        ("name: ''", "name: expected a string that matches"),
        ("data: embedded", "data: expected a mapping; got a string 'embedded'."),
        ("data: {augment: {flip: 1}}", "data.augment.flip: expected true or false; got a whole number 1."),
        ("data: {augment: {flip: no}}", "data.augment.flip: expected true or false; got a string 'no'."),
        ("data: {batch_size: 0}", "data.batch_size: expected a number greater than 0; got a whole number 0."),
        ("data: {validation_fraction: 1.0}", "data.validation_fraction: expected a number less than 1"),
        ("data: {test_fraction: 0}", "data.test_fraction: expected a number greater than 0"),
        ("verify: {min_agreement: 1.01}", "verify.min_agreement: expected a number less than or equal to 1"),
        ("verify: {max_accuracy_drop: .nan}", "verify.max_accuracy_drop: expected a finite number; got a number nan."),
        (
            "distill: {labels_weight: .inf}",
            "distill.labels_weight: expected a finite number or a mapping; got a number inf.",
        ),
        ("distill: {losses: []}", "distill: losses is empty"),
        ("distill: {losses: {loss: soft_logits}}", "distill.losses: expected a list; got a mapping"),
        ("distill: {losses: [soft_logits]}", "distill.losses.0: expected a mapping; got a string 'soft_logits'."),
        ("distill: {losses: [{loss: soft_logits, weight: 0}]}", "distill: the weight of every loss is zero"),
        ("distill: {losses: [{weight: 1}]}", "distill.losses.0.loss: this key is required"),
        ("export: tflite", "export: expected a list; got a string 'tflite'."),
        ("export: [{format: tflite, batch: many}]", "export.0.batch: expected a whole number or 'dynamic'; got"),
        ("export: [{format: tflite, input_dtype: float64}]", "export.0.input_dtype: expected 'float32', 'int8',"),
        ("bench: {threads: []}", "bench: threads is empty"),
        ("bench: {threads: [1, 2, 1]}", "bench: threads is [1, 2, 1]: give each once"),
        ("bench: {targets: [local, local]}", "bench: targets is ['local', 'local']: give each once"),
        ("bench: {threads: [0]}", "bench.threads.0: expected a number greater than 0"),
        (
            "export: [{format: onnx}]\nbench: {targets: [local, ethos-u]}",
            "bench.targets has 'ethos-u', which takes .tflite files, but none is exported",
        ),
        ("bench: {targets: [remote]}", "bench: unknown target 'remote'"),
        (
            "bench: {targets: [], profile: true}",
            "bench: profile is of this machine, and targets is []: add 'local', or remove profile",
        ),
        (
            "bench: {targets: ['ssh://pi:secret@board']}",
            "bench: the address of target 'ssh://pi:...@board' holds a pass",
        ),
        ("bench: {targets: [local], python: python3}", "bench: unknown key or argument of target 'local': 'python'"),
        (
            "bench: {targets: [local, 'ssh://board'], python: 3}",
            "bench: argument of targets 'local', 'ssh': python must be a string, got 3",
        ),
        ("calibration: {samples: 0}", "calibration.samples: expected a number greater than 0"),
    ],
)
def test_a_value_of_another_type_or_out_of_range_is_named_with_its_place(problem, lines, words):
    assert f": {words}" in problem(lines)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            "distill: {losses: [{loss: soft_logits, temperature: hot}]}",
            "temperature must be a finite number, got 'hot'",
        ),
        ("distill: {losses: [{loss: soft_logits, temperature: .nan}]}", "temperature must be a finite number, got nan"),
        ("data: {dataset: synthetic, learnable: no}", "learnable must be true or false, got 'no'"),
        ("data: {dataset: synthetic, shape: 28}", "shape must be a list (a whole number), got 28"),
        ("export: [{format: onnx, opset: '17'}]", "opset must be a whole number, got '17'"),
    ],
)
def test_a_plugins_argument_of_another_type_is_named(problem, lines, words):
    assert words in problem(lines)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("data: {dataset: embeded}", "unknown dataset source 'embeded'. Did you mean 'embedded'?"),
        ("distill: {losses: [{loss: softlogits}]}", "unknown loss 'softlogits'. Did you mean 'soft_logits'?"),
        ("export: [{format: tflit}]", "unknown format 'tflit'. Did you mean 'tflite'?"),
        ("export: [{format: tflite, scheme: int88}]", "unknown scheme 'int88'. Did you mean 'int8'?"),
    ],
)
def test_an_unknown_plugin_is_named_with_the_nearest(problem, lines, words):
    assert words in problem(lines)


def test_a_source_may_have_a_location(load):
    data = load(MINIMAL + "data: {dataset: 'image_folder:some/folder:with colon', image_size: [32, 32]}").data
    assert data.source == "image_folder"
    assert data.arguments["image_size"] == [32, 32]


# Networks.


@pytest.mark.parametrize("network", ["{epochs: 3}", "{architecture: resnet, model: a.keras}"])
def test_a_network_is_either_an_architecture_or_a_saved_model(problem, network):
    message = problem(base=f"teacher: {network}\nstudent: {{architecture: resnet}}\n")
    assert "teacher: give exactly one of architecture (a name) and model" in message


def test_a_saved_model_takes_no_architectures_arguments(problem):
    message = problem(base="teacher: {model: a.keras, width: 8}\nstudent: {architecture: resnet}\n")
    assert "teacher: unknown key 'width'" in message


def test_a_saved_model_may_teach_and_may_learn_on(load, problem):
    taught = load("teacher: {model: some/big.keras}\nstudent: {model: some/small.keras}\n")
    assert taught.teacher[0].label == "saved model big.keras"
    assert taught.student.label == "saved model small.keras"
    message = problem(base="teacher: {architecture: resnet}\nstudent: {model: a.keras, architecture: resnet}\n")
    assert "student: give exactly one of architecture" in message


def test_a_users_own_architecture_takes_any_arguments(load):
    own = load("teacher: {architecture: 'my.package:network', anything: [1, two]}\nstudent: {architecture: resnet}\n")
    assert own.teacher[0].arguments == {"anything": [1, "two"]}


def test_an_unknown_architecture_is_named_with_the_nearest(problem):
    message = problem(base="teacher: {architecture: resnett}\nstudent: {architecture: resnet}\n")
    assert "teacher: unknown architecture 'resnett'. Did you mean 'resnet'?" in message


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ("epochs: 3, warmup_epochs: 3", "warmup_epochs is 3 but epochs is 3"),
        ("schedule: step", "schedule 'step' needs step_epochs"),
        ("step_epochs: [1]", "step_epochs is given but schedule is 'cosine'"),
        ("schedule: step, step_epochs: [3, 2]", "step_epochs is [3, 2]: it must rise strictly"),
        ("schedule: step, step_epochs: [3, 3]", "it must rise strictly"),
        ("schedule: step, epochs: 5, step_epochs: [2, 5]", "step_epochs ends at 5 but there are only 5 epochs"),
        ("schedule: linear", "schedule: expected 'cosine', 'step' or 'constant'; got a string 'linear'"),
        ("optimizer: rmsprop", "optimizer: expected 'sgd', 'adam' or 'adamw'; got a string 'rmsprop'"),
        ("label_smoothing: 1.0", "label_smoothing: expected a number less than 1"),
        ("epochs: 0", "epochs: expected a number greater than 0"),
        ("learning_rate: 0", "learning_rate: expected a number greater than 0"),
        ("momentum: 1.5", "momentum: expected a number less than or equal to 1"),
        ("clip_norm: 0", "clip_norm: expected a number greater than 0"),
        ("early_stopping: 0", "early_stopping: expected a number greater than 0"),
    ],
)
def test_a_training_that_cannot_be_meant_is_refused(problem, training, words):
    message = problem(base=f"teacher: {{architecture: resnet}}\nstudent: {{architecture: resnet, {training}}}\n")
    assert ": student" in message
    assert words in message


def test_a_step_schedule_is_accepted(load):
    stepped = "teacher: {architecture: resnet, epochs: 9, schedule: step, step_epochs: [3, 6]}\n"
    assert load(stepped + "student: {architecture: resnet}\n").teacher[0].step_epochs == (3, 6)


# Losses and their taps.


def test_a_loss_of_feature_maps_needs_taps_and_one_of_logits_takes_none(problem):
    assert "loss 'attention_transfer' compares feature maps: give taps" in problem(
        "distill: {losses: [{loss: attention_transfer}]}"
    )
    assert "loss 'soft_logits' compares logits: remove its taps" in problem(
        "distill: {losses: [{loss: soft_logits, taps: [[a, b]]}]}"
    )


@pytest.mark.parametrize(
    ("taps", "words"),
    [
        ("[stage1, stage1]", "distill.losses.0.taps.0: expected a list; got a string 'stage1'"),
        ("[[stage1]]", "distill.losses.0.taps.0.1: this item is required"),
        ("[[a, b, c]]", "distill.losses.0.taps.0: expected at most 2 items"),
        ("[[a, 1]]", "distill.losses.0.taps.0.1: expected a string; got a whole number 1"),
    ],
)
def test_taps_are_pairs_of_names(problem, taps, words):
    assert words in problem(f"distill: {{losses: [{{loss: attention_transfer, taps: {taps}}}]}}")


def test_taps_are_pairs_of_student_and_teacher(load):
    loss = load(MINIMAL + "distill: {losses: [{loss: attention_transfer, taps: [[a, b], [c, d]]}]}").distill.losses[0]
    assert loss.taps == (("a", "b"), ("c", "d"))


# Exports.


def test_a_format_that_cannot_carry_the_scheme_is_refused_with_those_that_can(problem):
    message = problem("export: [{format: onnx, scheme: float16}]")
    assert "export.0: format 'onnx' cannot carry scheme 'float16'; it can be written as: tflite." in message


def test_integer_inputs_need_quantised_activations(load, problem):
    for scheme in ("float32", "float16", "dynamic_int8"):
        message = problem(f"export: [{{format: tflite, scheme: {scheme}, input_dtype: int8}}]")
        assert f"does not go with scheme {scheme!r}, whose files can have float32." in message
    export = load(MINIMAL + "export: [{format: tflite, scheme: int8, input_dtype: uint8}]").export[0]
    assert (export.input_dtype, export.output_dtype) == ("uint8", "float32")


def test_a_scheme_may_be_called_by_its_alias(load):
    assert load(MINIMAL + "export: [{format: tflite, scheme: wi8_ai8, output_dtype: int8}]").export[0].scheme


def test_file_names_are_distinct_and_safe(load):
    text = """
export:
  - {format: tflite}
  - {format: tflite, batch: dynamic}
  - {format: tflite, batch: 4}
  - {format: tflite, scheme: int8}
  - {format: tflite, scheme: int8, input_dtype: int8, output_dtype: uint8}
  - {format: tflite, scheme: int8, output_name: ../up and away}
  - {format: onnx}
  - {format: onnx, batch: 2, opset: 13}
"""
    assert [export.file_name for export in load(MINIMAL + text).export] == [
        "student-float32.tflite",
        "student-float32-batch_dynamic.tflite",
        "student-float32-batch_4.tflite",
        "student-int8.tflite",
        "student-int8-int8_in_uint8_out.tflite",
        "student-int8-output_name_.._up_and_away.tflite",
        "student-float32.onnx",
        "student-float32-batch_2-opset_13.onnx",
    ]


def test_the_same_export_twice_is_refused(problem):
    for twice in ("{format: onnx}, {format: onnx}", "{format: onnx}, {format: onnx, opset: 17, batch: 1}"):
        assert "export asks for student-float32.onnx more than once" in problem(f"export: [{twice}]")


# YAML.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: 1\nseed: 2\n", 'is not valid YAML (line 2, column 1): found duplicate key "seed"'),
        ("teacher: {a: 1, a: 2}\n", 'found duplicate key "a"'),
        ("a: [1\nb: 2\n", "is not valid YAML (line 2, column 2)"),
        ("a: 1\n---\nb: 2\n", "is not valid YAML"),
        ("a: \x01\n", "is not valid YAML: unacceptable character"),
        ("a: !!python/object/apply:os.getcwd []\n", "is not valid YAML (line 1, column 4): could not determine a"),
        ("[teacher, student]\n", "holds a list, not a mapping of sections"),
        ("quickstart\n", "holds a string, not a mapping of sections"),
        ("", "is empty: it needs at least the sections teacher and student"),
        ("# only a comment\n", "is empty"),
        ("a: 2020-13-45\n", "holds a value that cannot be read: month must be in 1..12"),
        ("a: 2020-12-24\n", "date is not JSON serializable; use numbers, strings, lists and mappings only"),
        ("a: !!int b\n", "holds a value that cannot be read"),
        ("a: &a [*a]\n", "Circular reference"),
        ("? [1, 2]\n: 3\n", "keys must be str"),
        ("a: " + "[" * 600, "is nested too deeply"),
        ('name: "\\ud800"\n', "a string holds characters that are not Unicode text"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_one_line(problem, text, words):
    assert words in problem(base=text)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "given.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(RecipeError, match="is not UTF-8 text"):
        recipe.load(str(tmp_path / "given.yaml"))


def test_numbers_are_those_of_yaml_1_2(load):
    given = "teacher: {architecture: resnet, weight_decay: 1e-3, learning_rate: 1E-2}\n"
    read = load(given + "student: {architecture: resnet}\nseed: 0o17\nname: no\n")
    assert read.teacher[0].weight_decay == 0.001
    assert read.teacher[0].learning_rate == 0.01
    assert read.seed == 15
    assert read.name == "no"  # a string, not a truth value


def test_a_whole_number_is_a_number(load):
    assert load(MINIMAL + "distill: {labels_weight: 1}").distill.labels_weight == 1.0


def test_anchors_may_save_repetition(load):
    anchored = load("teacher: &network {architecture: resnet, epochs: 3}\nstudent: {<<: *network, width: 4}\n")
    assert anchored.student.epochs == 3
    assert anchored.student.arguments["width"] == 4


# Overrides.


def test_overrides_are_applied_in_order_and_read_as_yaml(load):
    text = MINIMAL + "distill: {losses: [{loss: soft_logits}, {loss: soft_logits, temperature: 2.0}]}\n"
    edited = load(
        text,
        "student.epochs=3",
        "student.epochs=4",
        "distill.losses.1.temperature=1e1",
        "data.augment.flip=true",  # neither section is in the file
        "name=a=b".replace("=b", "-b"),
        "student.early_stopping=null",
        "export=[{format: onnx}]",
    )
    assert edited.student.epochs == 4
    assert [loss.arguments["temperature"] for loss in edited.distill.losses] == [4.0, 10.0]
    assert edited.data.augment.flip is True
    assert edited.name == "a-b"
    assert edited.student.early_stopping is None
    assert edited.export[0].format == "onnx"


def test_a_value_may_hold_an_equals_sign(problem):
    # The value is all that follows the first one.
    assert "got a string 'a=b'" in problem("", "name=a=b")


def test_an_override_may_replace_a_whole_section(load):
    replaced = load(MINIMAL + "data: {batch_size: 3, augment: {shift: 2}}\n", "data={batch_size: 4}")
    assert replaced.data.batch_size == 4
    assert replaced.data.augment.shift == 0


def test_an_override_does_not_change_the_document_it_is_given():
    document = {"teacher": {"architecture": "resnet"}, "student": {"architecture": "resnet"}}
    before = json.dumps(document)
    recipe.from_document(document, overrides=["student.epochs=3", "teacher.width=8"])
    assert json.dumps(document) == before


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("student.epochs", "--set 'student.epochs' is not of the form a.b=value"),
        ("=3", "--set '=3' is not of the form a.b=value"),
        ("student..epochs=3", "is not of the form a.b=value"),
        (".seed=3", "is not of the form a.b=value"),
        ("seed.x=1", "'x' lies below a whole number, which has no keys"),
        ("seed.x.y=1", "'x' lies below a whole number, which has no keys"),
        ("export.1.format=onnx", "'1' is no place in a list of 1 (they count from 0)"),
        ("export.-1.format=onnx", "'-1' is no place in a list of 1"),
        ("export.first=3", "'first' is no place in a list of 1"),
        ("export.²=3", "'²' is no place in a list of 1"),
        ("seed=[1", "the value of --set 'seed=[1' is not valid YAML"),
        ("seed=", "seed: expected a whole number; got nothing None"),
        ("student.epochz=3", "student: unknown key or argument of architecture 'resnet': 'epochz'"),
        ("seed=2020-01-01", "date is not JSON serializable"),
    ],
)
def test_an_override_that_cannot_be_meant_is_refused(problem, override, words):
    assert words in problem("seed: 0\nexport: [{format: tflite}]\n", override)


# Finding.


def test_a_folder_stands_for_the_recipe_in_it(tmp_path):
    (tmp_path / "recipe.yaml").write_text(MINIMAL)
    assert recipe.find(str(tmp_path)) == tmp_path / "recipe.yaml"
    assert recipe.load(str(tmp_path)) == recipe.load(str(tmp_path / "recipe.yaml"))


def test_a_recipe_that_does_not_exist_is_refused_with_what_there_is(tmp_path):
    with pytest.raises(RecipeError, match=r"recipe file '.*missing\.yaml' does not exist: check the path"):
        recipe.load(str(tmp_path / "missing.yaml"))
    with pytest.raises(
        RecipeError, match=r"unknown recipe 'quikstart'. Did you mean 'quickstart'\? .* A path to a YAML"
    ):
        recipe.load("quikstart")
    with pytest.raises(RecipeError, match="unknown recipe"):
        recipe.load(str(tmp_path))  # a folder without a recipe


# The paths of models.


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A recipe's file in a folder, with the path of a model to be filled in; the current folder is another one."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    folder = tmp_path / "mine"
    folder.mkdir()

    def written(model, **more):
        document = {"teacher": {"model": model}, "student": {"architecture": "resnet"}, **more}
        (folder / "recipe.yaml").write_text(json.dumps(document))  # which is YAML too
        return folder / "recipe.yaml"

    return written


@pytest.mark.parametrize("name", ["../mine/recipe.yaml", "../mine"])
def test_a_relative_path_of_a_model_starts_at_the_recipes_file(beside, tmp_path, name):
    beside("nets/teacher.keras", student={"model": "student.keras"})
    loaded = recipe.load(name)
    assert Path(loaded.teacher[0].model).resolve() == tmp_path.resolve() / "mine" / "nets" / "teacher.keras"
    assert Path(loaded.student.model).resolve() == tmp_path.resolve() / "mine" / "student.keras"
    assert Path(loaded.teacher[0].model).is_absolute()


def test_each_teacher_of_an_ensemble_is_looked_for_there(beside, tmp_path):
    path = beside("unused", teacher=[{"model": "a.tflite"}, {"architecture": "resnet"}, {"model": "b.onnx"}])
    path.write_text(json.dumps(json.loads(path.read_text()) | {"distill": {"losses": [{"loss": "soft_logits"}]}}))
    models = [each.model for each in recipe.load(str(path)).teacher]
    assert models == [str(path.parent / "a.tflite"), None, str(path.parent / "b.onnx")]


def test_an_absolute_path_and_the_name_of_a_function_stay_as_they_are(beside, tmp_path):
    for model in (str(tmp_path / "teacher.keras"), "my_teachers:large"):
        assert recipe.load(str(beside(model))).teacher[0].model == model


def test_a_file_that_is_called_like_a_function_is_a_file(beside):
    path = beside("my:teacher")
    (path.parent / "my:teacher").mkdir()
    assert recipe.load(str(path)).teacher[0].model == str(path.parent / "my:teacher")


def test_a_relative_path_of_an_override_or_of_a_mapping_starts_at_the_current_folder(beside):
    path = beside("teacher.keras")
    here = str(Path.cwd() / "other.keras")
    assert recipe.load(str(path), overrides=["teacher.model=other.keras"]).teacher[0].model == here
    document = {"teacher": {"model": "other.keras"}, "student": {"architecture": "resnet"}}
    assert recipe.from_document(document).teacher[0].model == here


def test_a_printed_recipe_names_the_same_model_wherever_it_is_written(beside, tmp_path):
    loaded = recipe.load(str(beside("teacher.keras")))
    (tmp_path / "printed.yaml").write_text(loaded.to_yaml())
    assert recipe.load(str(tmp_path / "printed.yaml")) == loaded
    assert recipe.smoke(loaded).teacher == loaded.teacher


def test_where_a_recipe_is_installed_does_not_count_for_its_hash(beside, tmp_path):
    path = beside("teacher.keras")
    copied = tmp_path / "copied.yaml"
    copied.write_text(path.read_text())
    first, second = recipe.load(str(path)), recipe.load(str(copied))
    assert first.teacher != second.teacher
    assert first.sha256 == second.sha256
    assert recipe.load(str(beside("other.keras"))).sha256 != first.sha256


@pytest.mark.parametrize("model", [3, [], {}])
def test_a_model_that_is_no_path_is_refused_as_before(beside, model):
    with pytest.raises(RecipeError, match="model"):
        recipe.load(str(beside(model)))


# Sections on their own, as the Python functions take them.


def test_a_section_alone_is_checked_like_a_whole_recipe():
    data = recipe.data_section("synthetic", overrides=["samples=30", "batch_size=10"])
    assert (data.source, data.batch_size, data.arguments["samples"]) == ("synthetic", 10, 30)
    with pytest.raises(RecipeError, match=r"data: unknown key or argument of dataset source 'synthetic': 'sampels'"):
        recipe.data_section("synthetic", overrides=["sampels=30"])
    with pytest.raises(RecipeError, match=r"training: epochs: expected a whole number; got a string '3'"):
        recipe.section(recipe.Training, {"epochs": "3"})


# Printing and hashing.


FULL = """
name: full
data: {dataset: synthetic, samples: 50, shape: [8, 8, 3], augment: {shift: 1}}
teacher: {architecture: wide_resnet, epochs: 9, schedule: step, step_epochs: [3, 6], weight_decay: 1e-5}
student: {architecture: 'own.package:build', depth: 3, names: [no, '1e3', "it's: odd", ''], optimizer: adam}
distill:
  losses: [{loss: soft_logits}, {loss: attention_transfer, taps: [[a, b]], variant: paper, weight: 1.0e+22}]
export: [{format: tflite, batch: dynamic}, {format: onnx, scheme: int8, opset: 15}]
"""


@pytest.mark.parametrize("text", [MINIMAL, FULL, (MODELS / "quickstart" / "recipe.yaml").read_text()])
def test_a_printed_recipe_is_the_same_recipe_with_every_default_visible(load, text):
    original = load(text)
    printed = original.to_yaml()
    again = load(printed)
    assert again == original
    assert again.sha256 == original.sha256
    assert again.to_yaml() == printed
    assert [export.file_name for export in again.export] == [export.file_name for export in original.export]


def test_a_printed_recipe_shows_the_plugins_defaults_too(load):
    printed = load(FULL).to_yaml()
    for line in ("temperature: 4.0", "opset: 15", "allow_select_tf_ops: false", "learnable: true", "step_factor: 0.1"):
        assert line in printed, line


def test_the_hash_does_not_depend_on_the_order_of_keys_or_on_written_defaults(load):
    plain = load(MINIMAL)
    assert load("seed: 0\n" + "\n".join(reversed(MINIMAL.splitlines())) + "\n").sha256 == plain.sha256
    assert load(MINIMAL, "student.stem_stride=1", "data.batch_size=128").sha256 == plain.sha256
    assert len(plain.sha256) == 64
    own = "teacher: {{architecture: 'own.package:build', {}, {}}}\nstudent: {{architecture: resnet}}\n"
    assert load(own.format("depth: 3", "width: 4")).sha256 == load(own.format("width: 4", "depth: 3")).sha256


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "name=other",
        "student.epochs=11",
        "student.width=16",
        "distill.losses=[{loss: soft_logits, weight: 0.9, temperature: 4.5}]",
        "data.augment.shift=1",
        "export=[{format: onnx}]",
    ],
)
def test_every_setting_counts_for_the_hash(load, override):
    assert load(MINIMAL, override).sha256 != load(MINIMAL).sha256


CACHED = MINIMAL + "\ndistill: {cache: {}}\ndata: {dataset: 'tfds:mnist'}\n"


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "name=other",
        "data.data_dir=/somewhere",
        "data.download=true",
        "data.dataset=tfds:mnist:3.0.1",
        "distill.cache.folder=/elsewhere",
        "distill.cache.fill=false",
        "verify.min_agreement=0.5",
        "bench.processes=7",
    ],
)
def test_seed_names_places_gates_and_measuring_do_not_make_another_experiment(load, override):
    assert load(CACHED, override).experiment_sha256 == load(CACHED).experiment_sha256
    assert load(CACHED, override).sha256 != load(CACHED).sha256


@pytest.mark.parametrize(
    "override",
    [
        "student.epochs=11",
        "teacher.epochs=11",
        "student.precision=mixed_bfloat16",
        "data.augment.shift=1",
        "data.batch_size=32",
        "data.train_limit=100",
        "data.dataset=npz:mnist.npz",
        "distill.cache.views=3",
        "distill.cache.dtype=float32",
        "distill.labels_weight=0.2",
        "quantize={}",
        "calibration.samples=9",
        "export=[{format: onnx}]",
    ],
)
def test_every_other_setting_makes_another_experiment(load, override):
    assert load(CACHED, override).experiment_sha256 != load(CACHED).experiment_sha256


# Networks that give back their inputs.

RECONSTRUCTION = """
task: reconstruction
teacher: {architecture: autoencoder, width: 64}
student: {architecture: autoencoder, width: 16}
distill: {losses: [{loss: feature_mse, taps: [[reconstruction, reconstruction]]}]}
"""


def test_a_recipe_of_networks_that_give_back_their_inputs_has_gates_of_its_own(load):
    found = load(RECONSTRUCTION)
    assert found.task == "reconstruction"
    assert (found.verify.min_sqnr_db, found.verify.max_auc_drop, found.verify.min_auc) == (25.0, 0.01, None)
    short = recipe.smoke(found)
    assert short.task == "reconstruction"
    assert (short.verify.min_sqnr_db, short.verify.max_auc_drop) == (10.0, None)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task=regression", "task: expected 'classification' or 'reconstruction'; got a string 'regression'"),
        ("teacher=[{architecture: autoencoder},{architecture: autoencoder}]", "there are 2 teachers"),
        ("distill.losses=[{loss: soft_logits}]", "loss 'soft_logits' is of classes, which task reconstruction has not"),
        ("distill.losses.0={loss: crd, taps: [[encoder, encoder]]}", "loss 'crd' is of classes"),
        ("student.label_smoothing=0.1", "student.label_smoothing: for classes"),
        ("teacher.label_smoothing=0.1", "teacher.label_smoothing: for classes"),
        ("quantize={aware: {label_smoothing: 0.1}}", "quantize.aware.label_smoothing: for classes"),
        ("data.mixup=0.2", "data.mixup: for classes"),
        ("data.unlabelled=image_folder:more", "data.unlabelled: for classes"),
        ("verify.min_accuracy=0.9", "verify.min_accuracy: for classes"),
        ("teacher={model: given.keras, outputs: probabilities}", "teacher.outputs: for classes"),
        ("verify.min_sqnr_db=-1", "verify.min_sqnr_db: expected a number greater than or equal to 0"),
        ("verify.min_auc=1.1", "verify.min_auc: expected a number less than or equal to 1"),
    ],
)
def test_what_is_of_classes_is_refused_where_inputs_are_given_back(problem, override, message):
    assert message in problem("", override, base=RECONSTRUCTION)


@pytest.mark.parametrize(
    "override", ["distill={}", "distill={cache: {}}", "distill={labels_weight: 0.5}", "distill=null"]
)
def test_a_recipe_of_such_networks_has_an_objective_of_its_own_unless_another_is_given(load, override):
    found = load(RECONSTRUCTION, override).distill
    assert [(each.loss, each.weight, each.taps) for each in found.losses] == [
        ("feature_mse", 1.0, (("reconstruction", "reconstruction"),))
    ]
    assert found.labels_weight == (0.5 if "0.5" in override else 1.0)


def test_inputs_are_given_back_by_students_of_a_teacher_alone(problem):
    losses = "distill={way: born_again, losses: [{loss: feature_mse, taps: [[encoder, encoder]]}]}"
    found = problem("", "teacher=null", losses, base=RECONSTRUCTION)
    assert "distill.way is 'born_again', and with task reconstruction a teacher teaches: set it offline" in found


def test_an_area_is_not_asked_of_no_file(problem):
    found = problem("", "export=[]", "verify.min_auc=0.8", base=RECONSTRUCTION)
    assert "verify.min_auc is 0.8, and export is empty: no file would be held to it" in found


def test_an_area_is_not_asked_of_a_classifier(problem):
    assert "verify.min_auc is for task reconstruction" in problem("verify: {min_auc: 0.85}\n")


def test_the_task_that_always_was_changes_no_hash_and_the_other_makes_another_experiment(load):
    plain = load(MINIMAL)
    # Of version 0.1.0 before there were tasks.
    assert plain.sha256 == "63122efe18174bb49b69226102691143d90f5bddcb61fea73ecc4a317666a7cd"
    assert plain.experiment_sha256 == "cb13036bdb5ac82d4a6d2643a30d713282d0d534649c54c8dfd5b34b54bd0825"
    other, same = load(RECONSTRUCTION), load(RECONSTRUCTION, "task=classification")
    assert other.experiment_sha256 != same.experiment_sha256
    assert other.sha256 != same.sha256


# The smoke form.


def test_a_smoke_recipe_takes_the_same_road_with_little_work(load):
    original = load(FULL)
    short = recipe.smoke(original)
    assert short.name == "full-smoke"
    assert (short.smoke, original.smoke, load(FULL, "name=a-smoke").smoke) == (True, False, False)
    assert (short.teacher[0].epochs, short.student.epochs) == (1, 1)
    assert (short.teacher[0].schedule, short.teacher[0].step_epochs) == ("cosine", ())
    assert short.data.train_limit == 1024
    assert short.bench.processes == 2
    assert short.bench.arguments["min_warmup_seconds"] == 0.0
    assert short.bench.arguments["max_warmup_seconds"] == 0.1
    assert short.seed == original.seed
    assert short.distill == original.distill
    assert short.export == original.export
    assert short.teacher[0].arguments == original.teacher[0].arguments
    assert short.data.arguments == original.data.arguments
    assert original.teacher[0].epochs == 9  # unchanged itself


def test_gates_of_a_smoke_recipe_ask_nothing_of_accuracy_that_a_short_training_cannot_give(load):
    asked = ("verify.min_accuracy=0.9", "verify.max_training_warnings=0", "verify.max_beyond_one_lsb=0.5")
    short = recipe.smoke(load(MINIMAL, *asked)).verify
    assert (short.max_accuracy_drop, short.min_agreement, short.min_agreement_with_int8_student) == (0.1, 0.8, 0.98)
    assert (short.min_accuracy, short.max_training_warnings, short.max_beyond_one_lsb) == (None, None, 0.5)
    further = recipe.smoke(load(MINIMAL, "quantize.aware={epochs: 2}")).verify
    assert (further.max_accuracy_drop, further.max_beyond_one_lsb) == (None, 0.02)


def test_an_accuracy_is_not_asked_of_files_that_are_not_there(load):
    with pytest.raises(RecipeError, match=r"verify\.min_accuracy is 0\.9, and export is empty: no file would be held"):
        load(MINIMAL, "export=[]", "verify.min_accuracy=0.9")


def test_a_smoke_recipe_never_makes_more_work_than_the_recipe(load):
    small = load(MINIMAL + "data: {train_limit: 10}\ncalibration: {samples: 5}\nbench: {processes: 1}\n")
    short = recipe.smoke(small)
    assert short.data.train_limit == 10
    assert short.calibration.samples == 5
    assert short.bench.processes == 1


def test_a_smoke_recipe_has_no_warm_up_and_clips_gradients_instead(load):
    short = recipe.smoke(load(MINIMAL, "student.warmup_epochs=5"))
    assert (short.student.warmup_epochs, short.student.clip_norm, short.teacher[0].clip_norm) == (0.0, 1.0, 1.0)
    assert recipe.smoke(load(MINIMAL, "student.clip_norm=0.5")).student.clip_norm == 0.5


def test_reading_recipes_imports_neither_tensorflow_nor_keras():
    code = """
        import sys

        from edgekd import recipe

        for name in recipe.zoo():
            print(recipe.smoke(recipe.load(name)).to_yaml())
        heavy = {"tensorflow", "keras", "tf_keras", "onnx", "onnxruntime", "scipy"} & set(sys.modules)
        sys.exit(f"imported {heavy}" if heavy else 0)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "quickstart-smoke" in done.stdout


def test_a_recipe_that_names_no_export_gets_two_files_and_an_empty_list_gets_none():
    networks = {"teacher": {"architecture": "resnet"}, "student": {"architecture": "resnet"}}
    files = [export.file_name for export in recipe.from_document(networks).export]
    assert files == ["student-float32.tflite", "student-int8.tflite"]
    assert recipe.from_document(networks, overrides=["export=[]"]).export == ()


def test_each_target_takes_the_settings_that_it_has(load):
    bench = load(MINIMAL + "bench: {targets: [local, 'ssh://pi@board'], python: venv/bin/python, min_runs: 3}").bench
    assert bench.settings_of("local")["min_runs"] == bench.settings_of("ssh://pi@board")["min_runs"] == 3
    assert bench.settings_of("ssh://pi@board")["python"] == "venv/bin/python"
    assert "python" not in bench.settings_of("local")
