"""What profiling finds."""

from typing import Literal

from edgekd.records import Interval, Record


class OperatorTime(Record):
    """One operator as the runtime runs it, `number` in the order of execution.

    `operator` is the runtime's name: XNNPACK's own where the delegate runs it, which may be part of an operator of the
    file or several of them. `place` is the node's name in an .onnx file, or its index in a .tflite file or within its
    partition. `time_us` is the mean over the faster half of the runs, with a t-interval over processes, `share` that of
    the whole.
    """

    number: int
    operator: str
    place: str
    in_delegate: bool
    time_us: Interval
    share: float


class Profile(Record):
    """The time of one inference by operator, in microseconds, on one thread.

    `whole_us` is what the runtime says of whole profiled inferences, the faster half of them; `plain_us` the median of
    those without profiling, as their caller sees them. `share_of_operators` is the operators' sum over the whole;
    runtimes round every operator down to microseconds, which takes away up to `share_lost_to_rounding`. `adds_up` says
    whether the sum is within 10 % of the whole, that rounding allowed for: where it is not, the profiler itself takes
    much of the time, and the shares mislead.
    """

    schema_version: Literal[1] = 1
    model: str
    sha256: str
    runtime: str
    processes: int
    runs: int
    whole_us: Interval
    plain_us: Interval
    operators: tuple[OperatorTime, ...]
    share_of_operators: float
    share_lost_to_rounding: float
    adds_up: bool
