"""Where a run's numbers come from: seed, hashes, data, machine and versions."""

from edgekd.records import Environment, Summary
from edgekd.report import formatting, merit, table


def entries(summary: Summary) -> tuple[tuple[str, str], ...]:
    """Returns names and texts, in reading order."""
    data, environment = summary.data, summary.environment
    return (
        ("Seed", str(summary.seed)),
        ("Recipe, SHA-256", summary.recipe_sha256),
        *((("Taught", summary.taught),) if summary.taught else ()),
        ("Data", f"{data.name}, inputs {' × '.join(str(size) for size in data.input_shape)}"),
        ("Preprocessing", data.preprocessing),
        (
            "Samples",
            f"{data.train:,} for training, {data.validation:,} for validation, {data.test:,} for the test",
        ),
        ("Classes", f"{len(data.class_names)}: {', '.join(data.class_names)}"),
        ("Data, fingerprint", data.fingerprint),
        *(
            (f"{table.title(role, merit.of(summary))}, weights SHA-256", model.weights_sha256 or "not known")
            for role, model in summary.models.items()
        ),
        ("Processor", f"{environment.cpu}, {environment.logical_cores} logical cores"),
        ("Memory", formatting.size(environment.memory_bytes)),
        ("System", f"{environment.platform}, {environment.machine}"),
        ("Versions", _versions(environment)),
        *(
            (f"Stage {stage}, done before", f"{earlier.cpu}, {earlier.platform}: {_versions(earlier)}")
            for stage, earlier in summary.earlier_environments.items()
        ),
    )


def _versions(environment: Environment) -> str:
    own = [("edgekd", environment.edgekd), ("Python", environment.python)]
    return ", ".join(f"{name} {version}" for name, version in [*own, *sorted(environment.packages.items())])
