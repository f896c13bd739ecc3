"""Which operators a SavedModel may run: those that only compute, and what they need to read variables and branch."""

from collections.abc import Iterable, Iterator
from typing import Any

from tensorflow.python.framework import op_def_registry

# TensorFlow marks as stateful whatever has an effect or depends on more than its inputs. These of them have no effect
# outside the graph: reads of variables, calls and branches (their functions are checked too), and assertions.
_HARMLESS = frozenset(
    {"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape", "VarHandleOp", "VarIsInitializedOp"}
    | {"Variable", "VariableV2", "StatefulPartitionedCall", "If", "Case", "While", "_Arg", "_Retval"}
    | {"Assert", "CheckNumerics", "CheckNumericsV2"}
)
# Not marked as stateful, though they read or write files, run code that the graph does not show, or end the process.
_UNMARKED = frozenset(
    {"ReadFile", "MatchingFiles", "InitializeTableFromTextFile", "GenerateVocabRemapping", "LoadAndRemapMatrix"}
    | {"CacheDataset", "CacheDatasetV2", "SnapshotDataset", "SnapshotDatasetV2", "SnapshotDatasetReader"}
    | {"SnapshotChunkDataset", "SnapshotNestedDatasetReader", "DebugIdentity", "DebugNanCount", "DebugNumericSummary"}
    | {"DebugNumericSummaryV2", "Copy", "CopyHost", "ReaderRead", "ReaderReadUpTo"}
    | {"PyFuncStateless", "XlaCustomCall", "XlaCustomCallV2", "Abort"}
)
# Loading a folder runs these functions of its objects, and dropping it the last.
_RUN_BY_OBJECTS = frozenset({"_create_resource", "_initialize", "_destroy_resource"})


def unsafe_when_run(graph_def: Any) -> list[str]:
    """Returns the names of the operators of a graph, and of all functions that it calls, that do more than compute."""
    return _unsafe(graph_def.node, graph_def)


def unsafe_when_loaded(meta_graph: Any) -> list[str]:
    """Returns the same for the functions that loading a folder runs; the saver's own are not among them."""
    nodes = meta_graph.object_graph_def.nodes
    run = {child.node_id for node in nodes for child in node.children if child.local_name in _RUN_BY_OBJECTS}
    for node in nodes:
        run.update(each.restore_function for each in node.saveable_objects.values() if each.restore_function)
    names = {name for index in run for name in _concrete_functions(nodes[index])}
    bodies = [
        function.node_def for function in meta_graph.graph_def.library.function if function.signature.name in names
    ]
    return _unsafe((node for body in bodies for node in body), meta_graph.graph_def)


def _concrete_functions(node: Any) -> list[str]:
    return [*node.function.concrete_functions, node.bare_concrete_function.concrete_function_name]


def _unsafe(nodes: Iterable[Any], graph_def: Any) -> list[str]:
    bodies = {function.signature.name: function.node_def for function in graph_def.library.function}
    waiting, seen, found = [nodes], set(), set()
    while waiting:
        for node in waiting.pop():
            if node.op not in bodies and not _is_safe(node.op):
                found.add(node.op)
            for name in _called(node):
                if name in bodies and name not in seen:
                    seen.add(name)
                    waiting.append(bodies[name])
    return sorted(found)


def _called(node: Any) -> Iterator[str]:
    yield node.op  # an operator may be a function's name
    for value in node.attr.values():
        yield value.func.name
        yield from (function.name for function in value.list.func)


def _is_safe(operator: str) -> bool:
    known = op_def_registry.get(operator)
    return known is not None and operator not in _UNMARKED and (operator in _HARMLESS or not known.is_stateful)
