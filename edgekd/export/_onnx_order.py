"""One order and one naming for an ONNX graph, whatever order the converter's hash tables gave it."""

import re
from collections.abc import Iterable, Mapping

import onnx

_COUNTER = re.compile(r"__\d+")  # tf2onnx makes names unique with these
# Of several equal nodes of these types the converter keeps any one, with any one of their names.
_MERGED = {"Cast", "DequantizeLinear", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}


def canonical(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the same model with nodes, initializers and internal names that depend on its structure alone.

    Nodes follow a depth-first walk from the outputs; counters in names are dealt again in that order. Nodes that
    only change a tensor's form are named by their type, and an initializer after its first use, such as
    `conv1/convolution.W`, because the converter merges equal ones and keeps any one of their names. Nodes that no
    output needs are dropped. A model whose nodes hold subgraphs is returned unchanged.
    """
    if any(attribute.g.node or attribute.graphs for node in proto.graph.node for attribute in node.attribute):
        return proto
    ordered = onnx.ModelProto()
    ordered.CopyFrom(proto)
    graph = ordered.graph
    nodes = _walk(proto.graph)
    fixed = [value.name for value in (*graph.input, *graph.output)]
    labels = _distinct({node.name: node.op_type if node.op_type in _MERGED else node.name for node in nodes}, ())
    initializers = {each.name: each for each in proto.graph.initializer}
    wanted: dict[str, str] = {}
    for node in nodes:
        for position, name in enumerate(node.input):
            if name:
                use = f"{labels[node.name]}.{_role(node, position)}" if name in initializers else name
                wanted.setdefault(name, use)
        is_merged = node.op_type in _MERGED
        wanted.update((name, labels[node.name] if is_merged else name) for name in node.output if name)
    tensors = _distinct(wanted, fixed)
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    for node in nodes:
        copied = graph.node.add()
        copied.CopyFrom(node)
        copied.name = labels[node.name]
        if not copied.domain:
            copied.ClearField("domain")  # unset and explicitly empty mean the same
        attributes = sorted(copied.attribute, key=lambda attribute: attribute.name)
        del copied.attribute[:]
        copied.attribute.extend(attributes)
        copied.input[:] = [tensors.get(name, name) for name in node.input]
        copied.output[:] = [tensors.get(name, name) for name in node.output]
    for name, new_name in tensors.items():
        if name in initializers:
            copied_values = graph.initializer.add()
            copied_values.CopyFrom(initializers[name])
            copied_values.name = new_name
    return ordered


def _walk(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    producers = {name: index for index, node in enumerate(graph.node) for name in node.output}
    order: list[int] = []
    done: set[int] = set()
    for output in graph.output:
        pending = [(producers[output.name], False)]
        while pending:
            index, inputs_are_done = pending.pop()
            if index in done:
                continue
            if inputs_are_done:
                done.add(index)
                order.append(index)
                continue
            pending.append((index, True))
            needed = [producers[name] for name in reversed(graph.node[index].input) if name in producers]
            pending.extend((each, False) for each in needed)
    return [graph.node[index] for index in order]


def _role(node: onnx.NodeProto, position: int) -> str:
    """Returns what the operator calls its input of that position; the last one's name where inputs repeat."""
    inputs = onnx.defs.get_schema(node.op_type, domain=node.domain).inputs
    return str(inputs[min(position, len(inputs) - 1)].name)


def _distinct(wanted: Mapping[str, str], fixed: Iterable[str]) -> dict[str, str]:
    """Returns each old name's new one: the wanted one without counters, numbered again where it is taken."""
    renamed = {name: name for name in fixed}
    taken = set(renamed)
    for name, wish in wanted.items():
        if name in renamed:
            continue
        base = _COUNTER.sub("", wish)
        new_name, number = base, 1
        while new_name in taken:
            new_name, number = f"{base}__{number}", number + 1
        renamed[name] = new_name
        taken.add(new_name)
    return renamed
