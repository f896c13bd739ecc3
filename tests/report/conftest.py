"""A made-up summary with plausible numbers; only rendering is tested with it."""

import hashlib
import math

import pytest

from edgekd.records import (
    Artifact,
    Comparison,
    DatasetRecord,
    Environment,
    EpochRecord,
    Gate,
    Interval,
    Latency,
    LayerErrors,
    Measurement,
    ModelRecord,
    OperatorCost,
    OperatorError,
    OutputError,
    Reconstruction,
    StageRow,
    Summary,
    TensorSize,
    TensorSpec,
)

# name, format, scheme, bytes, accuracy, drop, agreement, p50 in milliseconds
FILES = (
    ("student-float32.tflite", "tflite", "float32", 88_312, 0.8993, 0.0, 1.0, 0.1237),
    ("student-float16.tflite", "tflite", "float16", 49_180, 0.8992, 0.0001, 0.9998, 0.1251),
    ("student-dynamic_int8.tflite", "tflite", "dynamic_int8", 31_004, 0.8987, 0.0006, 0.9931, 0.1189),
    ("student-int8.tflite", "tflite", "int8", 29_864, 0.8961, 0.0032, 0.9874, 0.0731),
    ("student-float32.onnx", "onnx", "float32", 82_911, 0.8993, 0.0, 1.0, 0.1018),
    ("student-int8.onnx", "onnx", "int8", 38_442, 0.8958, 0.0035, 0.9869, 0.1466),
)


def _interval(value: float, half: float) -> Interval:
    return Interval(value=value, low=value - half, high=value + half)


def _model(role: str, architecture: str, **fields) -> ModelRecord:
    accuracy = fields["accuracy"]
    return ModelRecord(
        role=role,
        path=f"{role}/model.keras",
        architecture=architecture,
        accuracy_interval=_interval(accuracy, 0.0117),
        validation_accuracy=accuracy + 0.0021,
        weights_sha256=hashlib.sha256(role.encode()).hexdigest(),
        **fields,
    )


def _operators(size_bytes: int) -> tuple[OperatorCost, ...]:
    """Three operators, of which two read a quarter and a half of the file."""
    kinds = (("QUANTIZE", None, 0, 784), ("CONV_2D", "stem;relu", 4, 12_544), ("FULLY_CONNECTED", "logits", 2, 320))
    return tuple(
        OperatorCost(
            operator=kind, name=name, macs=100, weights_bytes=size_bytes // part if part else 0, live_bytes=live
        )
        for kind, name, part, live in kinds
    )


def _tensors(name: str, size_bytes: int) -> tuple[TensorSize, ...]:
    """A quarter and an eighth of the file, and twelve times a hundred bytes."""
    sizes = (size_bytes // 4, size_bytes // 8, *([100] * 12))
    return tuple(
        TensorSize(
            artifact=name, tensor=f"kernel{at};fused", role="constant", shape=(3, 3, 8), dtype="int8", size_bytes=size
        )
        for at, size in enumerate(sizes)
    )


def _stages(artifacts: list[Artifact]) -> tuple[StageRow, ...]:
    """The networks one after the other, and each file since the distilled student."""
    road = (
        ("teacher", None, 0.9231, None),
        ("student_labels", "teacher", 0.895, 0.0281),
        ("student_distilled", "teacher", 0.8993, 0.0238),
        *((each.name, "student_distilled", each.accuracy, each.accuracy_drop) for each in artifacts),
    )
    return tuple(
        StageRow(
            name=name,
            kind="file" if "." in name else "network",
            runtime="keras",
            accuracy=_interval(accuracy, 0.006),
            before=before,
            accuracy_drop=None if drop is None else _interval(drop, 0.0014),
            agreement=None if drop is None else _interval(1 - drop, 0.001),
            sqnr_db=None if drop is None else 24.25,
        )
        for name, before, accuracy, drop in road
    )


def _layers(name: str, ratios: tuple[float, ...]) -> LayerErrors:
    rows = tuple(
        OperatorError(
            operator="CONV_2D",
            tensor=f"block{number}",
            sqnr_db=ratio,
            local_sqnr_db=ratio + 5,
            identical=False,
            excess=0.25 * number,
            passed=True,
        )
        for number, ratio in enumerate(ratios, start=1)
    )
    return LayerErrors(reference="student_distilled", candidate=name, samples=32, rows=rows)


def _curve(epochs: int, best: float, terms: dict[str, float]) -> tuple[EpochRecord, ...]:
    rows = []
    for epoch in range(1, epochs + 1):
        left = math.exp(-0.55 * epoch)
        losses = {term: weight * (0.32 + 1.9 * left) for term, weight in terms.items()}
        rows.append(
            EpochRecord(
                epoch=epoch,
                loss=sum(losses.values()),
                terms=losses,
                accuracy=best + 0.012 - 0.42 * left,
                validation_loss=0.29 + 1.7 * left + 0.01 * (epoch % 3),
                validation_accuracy=best - 0.4 * left - 0.006 * (epoch % 2),
                learning_rate=0.05 * (1 - (epoch - 1) / epochs),
                images_per_second=2150.0 + 13 * epoch,
            )
        )
    return tuple(rows)


def _measurement(name: str, sha256: str, size_bytes: int, p50: float, threads: int) -> Measurement:
    p50 = p50 / threads**0.5
    warnings = (
        (
            "Process medians spread by 13.4% of their median (limit 10%): memory placement or other work differs from "
            "process to process. Use more processes and rely on the interval.",
        )
        if name.endswith("int8.onnx")
        else ()
    )
    return Measurement(
        artifact=name,
        target="local",
        runtime="ai-edge-litert 2.3.0 (XNNPACK)" if name.endswith("tflite") else "onnxruntime 1.31.1",
        num_threads=threads,
        latency_ms=Latency(
            p50=p50,
            p90=p50 * 1.07,
            p95=p50 * 1.15,
            p99=p50 * 1.62,
            minimum=p50 * 0.94,
            mean=p50 * 1.03,
            scaled_mad=p50 * 0.021,
            interval=Interval(value=p50 * 1.001, low=p50 * 0.955, high=p50 * 1.049),
        ),
        first_inference_ms=p50 * 6.1,
        load_ms=1.82,
        peak_memory_bytes=54_345_728,
        size_bytes=size_bytes,
        sha256=sha256,
        processes=5,
        num_runs=8_214,
        warmup_runs=21_402,
        samples_path=f"samples/{name}.local.{threads}-threads.json",
        warnings=warnings,
    )


@pytest.fixture(scope="session")
def summary() -> Summary:
    """A finished run: three models, six files, two numbers of threads, gates that hold but one."""
    spec = TensorSpec(name="images", shape=(1, 28, 28, 1), dtype="float32")
    logits = TensorSpec(name="logits", shape=(1, 10), dtype="float32")
    artifacts, comparisons, measurements, gates = [], [], [], []
    for index, (name, kind, scheme, size_bytes, accuracy, drop, agreement, p50) in enumerate(FILES):
        sha256 = f"{index + 1:x}" * 64
        artifacts.append(
            Artifact(
                name=name,
                source="student_distilled",
                format=kind,
                scheme=scheme,
                path=f"export/{name}",
                size_bytes=size_bytes,
                sha256=sha256,
                inputs=(spec,),
                outputs=(logits,),
                operators=_operators(size_bytes),
                tensors=_tensors(name, size_bytes),
                accuracy=accuracy,
                accuracy_drop=drop,
                agreement=agreement,
            )
        )
        exact = scheme == "float32"
        comparisons.append(
            Comparison(
                reference="student_distilled",
                candidate=name,
                samples=10_000,
                dataset="fashion_mnist test",
                reference_accuracy=0.8993,
                candidate_accuracy=accuracy,
                accuracy_drop=_interval(drop, 0.0014),
                agreement=Interval(value=agreement, low=agreement - 0.0022, high=min(agreement + 0.0018, 1.0)),
                outputs=(
                    OutputError(
                        output="logits",
                        elements=100_000,
                        max_abs=1.1e-7 if exact else 0.4127,
                        relative_l2=2.3e-8 if exact else 0.0213,
                        cosine=1.0 if exact else 0.99978,
                        sqnr_db=None if name == "student-float32.onnx" else 152.7 if exact else 33.4,
                        max_lsb=3.0 if scheme == "int8" else None,
                    ),
                ),
            )
        )
        measurements += [_measurement(name, sha256, size_bytes, p50, threads) for threads in (1, 2)]
        gates += [
            Gate(name="accuracy_drop", passed=drop <= 0.0033, observed=drop, limit=0.0033, relation="<=", subject=name),
            Gate(name="agreement", passed=True, observed=agreement, limit=0.98, relation=">=", subject=name),
        ]
    return Summary(
        name="quickstart",
        seed=0,
        recipe_sha256="c0ffee" * 10 + "beef",
        environment=Environment(
            edgekd="0.1.0",
            python="3.11.7",
            platform="Linux-6.1.0-x86_64-with-glibc2.36",
            machine="x86_64",
            cpu="Example CPU @ 2.60GHz",
            logical_cores=2,
            memory_bytes=25_769_803_776,
            packages={"tensorflow": "2.21.0", "keras": "3.15.1", "onnxruntime": "1.31.1", "ai-edge-litert": "2.3.0"},
        ),
        data=DatasetRecord(
            name="fashion_mnist",
            fingerprint="ab12" * 16,
            input_shape=(28, 28, 1),
            preprocessing="pixel / 255: float32 from 0 to 1",
            class_names=(
                "T-shirt",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Boot",
            ),
            train=55_000,
            validation=5_000,
            test=10_000,
        ),
        models={
            "teacher": _model(
                "teacher",
                "resnet(width=32)",
                parameters=309_450,
                macs=38_112_000,
                accuracy=0.9231,
                epochs=6,
                best_epoch=6,
            ),
            "student_labels": _model(
                "student_labels",
                "resnet(width=8)",
                parameters=19_834,
                macs=2_512_384,
                accuracy=0.895,
                epochs=8,
                best_epoch=7,
            ),
            "student_distilled": _model(
                "student_distilled",
                "resnet(width=8)",
                parameters=19_834,
                macs=2_512_384,
                accuracy=0.8993,
                epochs=8,
                best_epoch=8,
            ),
        },
        curves={
            "teacher": _curve(6, 0.925, {"labels": 1.0}),
            "student_labels": _curve(8, 0.897, {"labels": 1.0}),
            "student_distilled": _curve(8, 0.9014, {"labels": 0.1, "soft_logits": 0.9, "attention_transfer": 0.25}),
        },
        artifacts=tuple(artifacts),
        comparisons=tuple(comparisons),
        measurements=tuple(measurements),
        gates=tuple(gates),
        gains={"student_distilled": _interval(0.0043, 0.0061)},
        stages=_stages(artifacts),
        layers=(
            _layers("student-int8.tflite", (41.2, 30.5, 31.0)),
            LayerErrors(
                reference="student_distilled",
                candidate="student-int8.onnx",
                samples=32,
                reason="it has a strange operator.",
            ),
        ),
        seconds={
            "teacher": 142.31,
            "student_labels": 38.4,
            "student_distilled": 51.87,
            "export": 24.05,
            "verify": 9.31,
            "bench": 31.6,
        },
    )


@pytest.fixture(scope="session")
def unmeasured(summary: Summary) -> Summary:
    """The same run before anything was verified or measured."""
    return summary.model_copy(
        update={
            "models": {
                role: model.model_copy(
                    update={"accuracy": None, "accuracy_interval": None, "validation_accuracy": None}
                )
                for role, model in summary.models.items()
            },
            "artifacts": tuple(
                artifact.model_copy(update={"accuracy": None, "accuracy_drop": None, "agreement": None})
                for artifact in summary.artifacts
            ),
            "comparisons": (),
            "measurements": (),
            "gains": {},
            "stages": (),
            "layers": (),
            "gates": (
                Gate(
                    name="accuracy_drop",
                    passed=False,
                    observed=None,
                    limit=0.01,
                    relation="<=",
                    subject="student-int8.onnx",
                ),
            ),
        }
    )


# role or file, mean squared error, AUC, how far its interval reaches, what came before, AUC lost since, SQNR in dB
RECONSTRUCTIONS = (
    ("teacher", 9.874, 0.9123, 0.0262, None, None, None),
    ("student_labels", 11.52, 0.8711, 0.0314, "teacher", 0.0412, 19.6),
    ("student_distilled", 11.243, 0.8894, 0.0291, "teacher", 0.0229, 20.2),
    ("student-float32.tflite", 11.243, 0.8894, 0.0291, "student_distilled", 0.0, 138.2),
    ("student-int8.tflite", 11.608, 0.8847, 0.0296, "student_distilled", 0.0047, 27.4),
    ("student-float32.onnx", 11.243, 0.8894, 0.0291, "student_distilled", 0.0, None),
)
NORMAL, ANOMALOUS = 246, 264


def _reconstruction(name: str) -> Reconstruction:
    (row,) = (each for each in RECONSTRUCTIONS if each[0] == name)
    return Reconstruction(mse=row[1], auc=_interval(row[2], row[3]), normal=NORMAL, anomalous=ANOMALOUS)


def _error_curve(epochs: int, best: float, terms: tuple[str, ...]) -> tuple[EpochRecord, ...]:
    """Errors that fall towards the best one: of the first epoch it is more than ten times as large."""
    rows = []
    for epoch in range(1, epochs + 1):
        error = best * (1 + 40 * math.exp(-epoch))
        losses = {term: error / len(terms) for term in terms}
        rows.append(
            EpochRecord(
                epoch=epoch,
                loss=sum(losses.values()),
                terms=losses,
                accuracy=None,
                validation_loss=error,
                validation_accuracy=None,
                learning_rate=0.001,
                images_per_second=9000.0,
            )
        )
    return tuple(rows)


@pytest.fixture(scope="session")
def reconstructing(summary: Summary) -> Summary:
    """A finished run of autoencoders whose errors find anomalous recordings: three networks and three files."""
    window = (TensorSpec(name="window", shape=(1, 640), dtype="float32"),)
    given = (TensorSpec(name="reconstruction", shape=(1, 640), dtype="float32"),)
    unjudged = {"accuracy": None, "accuracy_drop": None, "agreement": None}
    files = {row[0]: row for row in RECONSTRUCTIONS if "." in row[0]}
    artifacts = tuple(
        artifact.model_copy(
            update={"inputs": window, "outputs": given, "reconstruction": _reconstruction(artifact.name), **unjudged}
        )
        for artifact in summary.artifacts
        if artifact.name in files
    )
    models = {
        role: model.model_copy(
            update={
                "architecture": f"autoencoder(width={384 if role == 'teacher' else 128})",
                "accuracy": None,
                "accuracy_interval": None,
                "validation_accuracy": None,
                "validation_loss": 10.5,
                "reconstruction": _reconstruction(role),
            }
        )
        for role, model in summary.models.items()
    }
    comparisons = tuple(
        Comparison(
            reference="student_distilled",
            candidate=name,
            samples=4_998,
            dataset="sounds test",
            auc_drop=_interval(drop, 0.0021),
            outputs=(
                OutputError(
                    output="reconstruction",
                    elements=3_198_720,
                    max_abs=0.31,
                    relative_l2=0.04,
                    cosine=0.9991,
                    sqnr_db=db,
                ),
            ),
        )
        for name, _, _, _, _, drop, db in files.values()
    )
    gates = [
        Gate(name=kind, passed=passed, observed=observed, limit=limit, relation=relation, subject="student-int8.tflite")
        for kind, passed, observed, limit, relation in (
            ("sqnr_db", True, 27.4, 25.0, ">="),
            ("auc_drop", True, 0.0047, 0.01, "<="),
            ("auc", True, 0.8847, 0.85, ">="),
        )
    ]
    return summary.model_copy(
        update={
            "name": "anomalies",
            "task": "reconstruction",
            "taught": "offline: 1.0 × inputs + 1.0 × feature_mse",
            "data": DatasetRecord(
                name="sounds",
                fingerprint="5a" * 32,
                input_shape=(640,),
                preprocessing="none: float32 as stored",
                class_names=("normal", "anomalous"),
                train=40_000,
                validation=4_000,
                test=4_998,
            ),
            "models": models,
            "curves": {
                "teacher": _error_curve(6, 9.9, ("inputs",)),
                "student_labels": _error_curve(8, 11.5, ("inputs",)),
                "student_distilled": _error_curve(8, 11.2, ("feature_mse", "inputs")),
            },
            "artifacts": artifacts,
            "comparisons": comparisons,
            "measurements": tuple(each for each in summary.measurements if each.artifact in files),
            "gates": tuple(gates),
            "gains": {"student_distilled": _interval(0.0183, 0.0091)},
            "stages": tuple(
                StageRow(
                    name=name,
                    kind="file" if "." in name else "network",
                    runtime="keras",
                    accuracy=None,
                    before=before,
                    reconstruction=_reconstruction(name),
                    auc_drop=None if drop is None else _interval(drop, 0.0021),
                    sqnr_db=db,
                    identical=before is not None and db is None,
                )
                for name, _, _, _, before, drop, db in RECONSTRUCTIONS
            ),
            "layers": summary.layers[:1],
        }
    )


@pytest.fixture(scope="session")
def without_anomalies(reconstructing: Summary) -> Summary:
    """The same run on data without anomalies, so that there is no AUC."""

    def bare(found: Reconstruction | None) -> Reconstruction | None:
        return found and found.model_copy(update={"auc": None, "anomalous": 0})

    def all_bare(records):
        return tuple(each.model_copy(update={"reconstruction": bare(each.reconstruction)}) for each in records)

    return reconstructing.model_copy(
        update={
            "models": dict(zip(reconstructing.models, all_bare(reconstructing.models.values()), strict=True)),
            "artifacts": all_bare(reconstructing.artifacts),
            "stages": tuple(each.model_copy(update={"auc_drop": None}) for each in all_bare(reconstructing.stages)),
            "comparisons": tuple(each.model_copy(update={"auc_drop": None}) for each in reconstructing.comparisons),
            "gains": {},
            "gates": reconstructing.gates[:1],
        }
    )
