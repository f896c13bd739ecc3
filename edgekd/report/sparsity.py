"""The table of what sparsity is worth: zeros, distinct values, and sizes raw and compressed."""

from edgekd.records import KernelValues, Summary
from edgekd.report import formatting, merit, table

HEADERS = ("Model", "Weights in kernels", "Zeros", "Values, kernel", "Values, channel", "Size", "gzip")


def rows(summary: Summary) -> tuple[tuple[str, ...], ...]:
    """Returns one row of texts for the sparse student and each file, in the order of HEADERS; none without sparsity."""
    student = summary.models.get(table.STUDENT_SPARSE)
    if student is None:
        return ()
    return (
        (
            table.title(student.role, merit.of(summary)),
            *_held(student.kernels),
            formatting.NOT_MEASURED,
            formatting.NOT_MEASURED,
        ),
        *(
            (
                artifact.name,
                *_held(artifact.kernels),
                formatting.size(artifact.size_bytes),
                formatting.size(artifact.gzip_bytes),
            )
            for artifact in summary.artifacts
        ),
    )


def _held(kernels: KernelValues | None) -> tuple[str, str, str, str]:
    if kernels is None:
        return (formatting.NOT_MEASURED,) * 4
    return (
        formatting.count(kernels.weights),
        formatting.percent(kernels.sparsity),
        formatting.count(kernels.distinct_values),
        formatting.count(kernels.distinct_per_channel),
    )
