"""Parts of an int8 file that stay in float: the marks that kept the converter from quantising them are taken out."""

from typing import Any

from ai_edge_litert import schema_py_generated as schema

_CAST = schema.BuiltinOperator.CAST
_WIDE = schema.TensorType.FLOAT64


def without_marks(model: Any) -> Any:
    """Returns the model without casts to float64 and back, which `quantize.aware` puts around float arithmetic.

    The converter quantises every operator that it can whose inputs and outputs have ranges, also one that was left
    out. A cast between an operator and its range stops it; in the file the cast has no use.

    Args:
      model: a `schema.ModelT`, which is changed.
    """
    codes = [code.builtinCode for code in model.operatorCodes]
    for graph in model.subgraphs:
        standing_for: dict[int, int] = {}
        kept = []
        for operator in graph.operators:
            source, target = int(operator.inputs[0]) if len(operator.inputs) else -1, int(operator.outputs[0])
            if codes[operator.opcodeIndex] == _CAST and _WIDE in (
                graph.tensors[source].type,
                graph.tensors[target].type,
            ):
                standing_for[target] = standing_for.get(source, source)
                continue
            operator.inputs = [standing_for.get(int(index), int(index)) for index in operator.inputs]
            kept.append(operator)
        graph.operators = kept
        graph.outputs = [standing_for.get(int(index), int(index)) for index in graph.outputs]
        _drop_tensors(graph)
    return model


def _drop_tensors(graph: Any) -> None:
    """Removes the tensors that nothing refers to any more; buffers stay, those of such tensors are empty."""
    used = {int(index) for operator in graph.operators for index in (*operator.inputs, *operator.outputs) if index >= 0}
    used |= {int(index) for index in (*graph.inputs, *graph.outputs)}
    place = {old: new for new, old in enumerate(sorted(used))} | {-1: -1}
    graph.tensors = [tensor for index, tensor in enumerate(graph.tensors) if index in used]
    for operator in graph.operators:
        operator.inputs = [place[int(index)] for index in operator.inputs]
        operator.outputs = [place[int(index)] for index in operator.outputs]
    graph.inputs = [place[int(index)] for index in graph.inputs]
    graph.outputs = [place[int(index)] for index in graph.outputs]
