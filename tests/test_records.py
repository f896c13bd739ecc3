"""Records: frozen, strict, and the same after being written and read."""

import inspect
import json
import math

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd import records
from edgekd.errors import StorageError
from edgekd.records import Gate, Interval, OutputError, Record, TensorSpec

KINDS = [kind for _, kind in inspect.getmembers(records, inspect.isclass) if issubclass(kind, Record)]


def gate(*, passed=True):
    return Gate(name="max_accuracy_drop", passed=passed, observed=0.001, limit=0.01, relation="<=", subject="a.tflite")


def summary(*, gates):
    return records.Summary(
        name="tiny",
        seed=0,
        recipe_sha256="0" * 64,
        environment=records.Environment(
            edgekd="0", python="3", platform="p", machine="m", cpu="c", logical_cores=2, memory_bytes=1, packages={}
        ),
        data=records.DatasetRecord(
            name="d",
            fingerprint="f",
            input_shape=(28, 28, 1),
            preprocessing="pixel / 255",
            class_names=("a", "b"),
            train=3,
            validation=2,
            test=1,
        ),
        models={
            "student_distilled": records.ModelRecord(
                role="student_distilled", path="p", architecture="resnet", parameters=1, macs=2, weights_sha256="w"
            )
        },
        curves={
            "student_distilled": (
                records.EpochRecord(
                    epoch=1,
                    loss=0.1,
                    terms={"labels": 0.1},
                    accuracy=0.5,
                    validation_loss=0.2,
                    validation_accuracy=0.25,
                    learning_rate=1e-3,
                    images_per_second=10.0,
                ),
            )
        },
        artifacts=(),
        comparisons=(),
        measurements=(),
        gates=gates,
        seconds={"report": 0.5},
    )


def test_every_kind_of_record_is_documented_frozen_and_strict_about_its_keys():
    assert len(KINDS) > 10
    for kind in KINDS:
        assert kind.__doc__, kind
        assert kind.model_config["frozen"], kind
        assert kind.model_config["extra"] == "forbid", kind
        assert kind.model_config["allow_inf_nan"] is False, kind


def test_a_record_cannot_be_changed():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        gate().passed = False


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused(value):
    with pytest.raises(pydantic.ValidationError, match="finite number"):
        Interval(value=value, low=0.0, high=1.0)


def test_an_unknown_or_missing_key_is_refused():
    with pytest.raises(pydantic.ValidationError, match="Extra inputs are not permitted"):
        Interval(value=0.5, low=0.0, high=1.0, hihg=1.0)
    with pytest.raises(pydantic.ValidationError, match="Field required"):
        Interval(value=0.5, low=0.0)


def test_a_record_survives_being_written_and_read(tmp_path):
    for record in (
        gate(),
        summary(gates=(gate(),)),
        TensorSpec(name="x", shape=(None, 28, 28, 1), dtype="int8", scale=0.1, zero_point=-128),
        OutputError(output="logits", elements=10, max_abs=0.0, relative_l2=0.0, cosine=1.0, sqnr_db=None),
    ):
        record.write(tmp_path / "record.json")
        assert type(record).read(tmp_path / "record.json") == record


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_to_the_last_bit(value):
    interval = Interval(value=value, low=value, high=value)
    assert Interval.model_validate_json(interval.model_dump_json()).value.hex() == value.hex()


def test_what_was_not_measured_is_null_and_the_document_says_its_version(tmp_path):
    summary(gates=()).write(tmp_path / "summary.json")
    text = (tmp_path / "summary.json").read_text()
    document = json.loads(text)
    assert document["schema_version"] == records.SCHEMA_VERSION
    assert document["models"]["student_distilled"]["accuracy"] is None
    assert document["data"]["input_shape"] == [28, 28, 1]
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the document: invalid json"),
        (b'{"value": 1.0, "low": 0.0, "hi', "the document: invalid json"),
        (b"\x89PNG\xff\xfe", "the document: invalid json"),
        (b"[]", "the document: input should be an object"),
        (b'{"value": 1.0, "low": 0.0}', "high: field required"),
        (b'{"value": "much", "low": 0.0, "high": 1.0}', "value: input should be a valid number"),
        (b'{"value": 1.0, "low": 0.0, "high": 1.0, "other": 2}', "other: extra inputs are not permitted"),
        (b'{"value": NaN, "low": 0.0, "high": 1.0}', "value: input should be a finite number"),
    ],
)
def test_a_damaged_file_is_refused_with_its_path_its_fault_and_what_to_do(tmp_path, content, problem):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(StorageError) as raised:
        Interval.read(path)
    assert str(raised.value).startswith(f"{str(path)!r} is not a valid Interval record ({problem}")
    assert str(raised.value).endswith("delete it and run the same command again.")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(StorageError, match=r"record .* does not exist"):
        Interval.read(tmp_path / "missing.json")
