"""Parts of an int8 file that stay in float: the marks that kept the converter from quantising them are taken out."""

from collections.abc import Iterator
from typing import Any

from ai_edge_litert import schema_py_generated as schema

_CAST = schema.BuiltinOperator.CAST
_FLOAT32, _FLOAT64 = schema.TensorType.FLOAT32, schema.TensorType.FLOAT64


def without_marks(model: Any) -> Any:
    """Returns the model without casts to float64 and back, which `quantize.aware` puts around float arithmetic.

    The converter quantises every operator that it can whose inputs and outputs have ranges, also one that was left
    out. A cast between an operator and its range stops it; in the file the casts have no use.

    Args:
      model: a `schema.ModelT`, which is changed where it has such marks.
    """
    codes = [code.builtinCode for code in model.operatorCodes]
    for graph in model.subgraphs:
        marks = list(_marks(graph, codes))
        if not marks:
            continue
        standing_for = {int(back.outputs[0]): int(there.inputs[0]) for there, back in marks}
        gone = {id(operator) for pair in marks for operator in pair}

        def without(index: Any, standing_for: dict[int, int] = standing_for) -> int:
            found = int(index)
            while found in standing_for:
                found = standing_for[found]
            return found

        graph.operators = [operator for operator in graph.operators if id(operator) not in gone]
        for operator in graph.operators:
            operator.inputs = [without(index) for index in operator.inputs]
        graph.outputs = [without(index) for index in graph.outputs]
        _drop_tensors(graph)
    return model


def _marks(graph: Any, codes: list[int]) -> Iterator[tuple[Any, Any]]:
    """Yields the pairs of casts from float32 to float64 and back of which nothing else takes the float64 array."""
    readers: dict[int, list[Any]] = {}
    for operator in graph.operators:
        for index in operator.inputs:
            readers.setdefault(int(index), []).append(operator)
    for there in graph.operators:
        if codes[there.opcodeIndex] != _CAST:
            continue
        middle = int(there.outputs[0])
        if (graph.tensors[int(there.inputs[0])].type, graph.tensors[middle].type) != (_FLOAT32, _FLOAT64):
            continue
        takers = readers.get(middle, [])
        if len(takers) == 1 and middle not in graph.outputs and codes[takers[0].opcodeIndex] == _CAST:
            (back,) = takers
            if graph.tensors[int(back.outputs[0])].type == _FLOAT32:
                yield there, back


def _drop_tensors(graph: Any) -> None:
    """Removes the tensors that nothing refers to any more; buffers stay, those of such tensors are empty."""
    used = {int(index) for operator in graph.operators for index in (*operator.inputs, *operator.outputs) if index >= 0}
    used |= {int(index) for operator in graph.operators for index in _intermediates(operator)}
    used |= {int(index) for index in (*graph.inputs, *graph.outputs)}
    place = {old: new for new, old in enumerate(sorted(used))} | {-1: -1}
    graph.tensors = [tensor for index, tensor in enumerate(graph.tensors) if index in used]
    for operator in graph.operators:
        operator.inputs = [place[int(index)] for index in operator.inputs]
        operator.outputs = [place[int(index)] for index in operator.outputs]
        if len(_intermediates(operator)):
            operator.intermediates = [place[int(index)] for index in operator.intermediates]
    graph.inputs = [place[int(index)] for index in graph.inputs]
    graph.outputs = [place[int(index)] for index in graph.outputs]


def _intermediates(operator: Any) -> Any:
    return () if operator.intermediates is None else operator.intermediates
