"""Short explanations of the words that the reports use."""

from edgekd.records import Summary
from edgekd.report import merit as merits

_OF_CLASSES = (
    ("Accuracy", "Share of test samples whose highest output is the right class, with its 95 % interval in brackets."),
    (
        "Drop, points",
        "The distilled Keras student's accuracy minus this one's, in percentage points. A plus sign is a loss; a minus "
        "sign means that this one is better.",
    ),
    ("Agreement", "Share of test samples on which a file and the distilled Keras student name the same class."),
)
_OF_ANOMALIES = (
    (
        "AUC",
        "Area under the receiver operating characteristic: how likely it is that an anomaly, a test sample of a class "
        "that the other splits do not have, has a larger error than what is normal, ties counting half, with its 95 % "
        "interval in brackets. 1 tells all anomalies apart; 0.5 is chance.",
    ),
    (
        "Drop",
        "The distilled Keras student's AUC minus this one's. A plus sign is a loss; a minus sign means that this one "
        "is better. Its interval, DeLong's, has no width where both order all samples alike, and is too narrow with "
        "fewer than ten normal or ten anomalous recordings.",
    ),
)
_OF_RECONSTRUCTIONS = (
    (
        "MSE",
        "Mean squared error: the mean squared difference of a sample and what a network gives back for it, over the "
        "test samples that are normal: those of a class that the training or the validation split has.",
    ),
)
_OF_ALL = (
    ("MACs", "Multiply-accumulate operations of one inference: how much arithmetic a network needs."),
    (
        "Scheme",
        "How a file stores numbers. float32 and float16 are floating point; int8 stores weights and activations as "
        "8-bit integers; dynamic_int8 only the weights.",
    ),
    (
        "p50, p90, p99",
        "p50 is the median of the medians of fresh processes. 90 % and 99 % of all timed inferences were at most as "
        "long as p90 and p99, every process weighing the same. Nothing was dropped. p99 needs at least 1000 "
        "timed runs; of fewer it is not told.",
    ),
    (
        "Interval of p50",
        "Range that holds the typical latency with 95 % confidence, from the medians of fresh processes; two files "
        "whose ranges overlap may be equally fast.",
    ),
    ("Largest error", "Largest absolute difference between a file's output and the Keras student's."),
    ("Relative L2", "Length of the difference divided by the length of the Keras student's outputs; 0 is identical."),
    (
        "SQNR",
        "Signal-to-quantisation-noise ratio in decibels: how much stronger the output is than the error. Each 20 dB is "
        "a factor of ten; above 100 dB is float rounding, 20 to 50 dB is usual for int8.",
    ),
    ("LSB", "One step of an integer output's own scale; 1 LSB is the smallest difference that it can show."),
    ("Peak memory", "Largest resident memory of the whole measuring process, its Python interpreter included."),
)
_TERM = "One weighted part of the training loss, such as"
_GATE = ("Gate", "A requirement of the recipe. A failed gate makes edgekd end with exit status 1.")


def terms(*summaries: Summary) -> tuple[tuple[str, str], ...]:
    """Returns the words that the report of these runs uses, each with what it means."""
    merit = merits.of(summaries[0])
    if merit.names_classes:
        return (*_OF_CLASSES, *_OF_ALL, ("Term", f"{_TERM} the labels or the teacher's soft targets."), _GATE)
    own = (*(_OF_ANOMALIES if merit.known(*summaries) else ()), *_OF_RECONSTRUCTIONS)
    return (*own, *_OF_ALL, ("Term", f"{_TERM} the error against the input or against the teacher's output."), _GATE)
