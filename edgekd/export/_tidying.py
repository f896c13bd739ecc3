"""What a converted TFLite model does not need: names again and again, and a buffer for every computed array."""

from collections.abc import Iterable, Sequence
from typing import Any


def tidied(model: Any) -> Any:
    """Returns the model with short names of tensors, and without buffers that hold nothing.

    The converter joins the names of all operations that have become one operator, the last one first, and TensorFlow
    begins most of them with the layer's name twice: `relu/Relu;bn/bn/batchnorm/add_1;conv/conv/convolution;...`. An
    array that is computed keeps the last operation's, and of the others the layers (`relu/Relu;bn/batchnorm;conv`), a
    constant the name of its own (`conv/convolution`, `bn/batchnorm/sub`). Inputs and outputs keep theirs. Arrays
    without data refer to buffer 0, which is there for that.

    Args:
      model: a `schema.ModelT`, which is changed.
    """
    for graph in model.subgraphs:
        stored = [model.buffers[tensor.buffer].data is not None for tensor in graph.tensors]
        _rename(
            graph, [(_own if each else _joined)(tensor) for each, tensor in zip(stored, graph.tensors, strict=True)]
        )
    _drop_empty_buffers(model)
    return model


def with_single_names(model: Any) -> Any:
    """Returns the model with one name for each tensor, of a fused operator the last operation's.

    Args:
      model: a `schema.ModelT`, which is changed.
    """
    for graph in model.subgraphs:
        _rename(graph, [_names(tensor)[0] for tensor in graph.tensors])
    return model


def _rename(graph: Any, wanted: Sequence[str]) -> None:
    """Gives tensors the wanted names, with a number where another one has it; inputs and outputs keep theirs."""
    kept = {int(index) for index in (*graph.inputs, *graph.outputs)}
    taken = {graph.tensors[index].name for index in kept}
    made = {int(index) for operator in graph.operators for index in operator.outputs}
    others = [index for index in range(len(graph.tensors)) if index not in kept]
    for index in sorted(others, key=lambda index: index not in made):  # what is computed chooses first
        name, number = wanted[index], 1
        while name.encode() in taken:
            name, number = f"{wanted[index]}_{number}", number + 1
        graph.tensors[index].name = name.encode()
        taken.add(name.encode())


def _names(tensor: Any) -> list[str]:
    return [_without_repeats(name) for name in (tensor.name or b"").decode().split(";")]


def _joined(tensor: Any) -> str:
    first, *others = _names(tensor)
    scopes = dict.fromkeys(name.rpartition("/")[0] for name in others)
    return ";".join([first, *(scope for scope in scopes if scope not in ("", first.rpartition("/")[0]))])


def _own(tensor: Any) -> str:
    """Returns the name that tells a constant: of a bias the last, of a kernel the one before its rounding."""
    names = _names(tensor)
    return ([name for name in names if "FakeQuant" not in name] or names)[-1]


def _without_repeats(name: str) -> str:
    scopes = name.split("/")
    return "/".join(scope for number, scope in enumerate(scopes) if number == 0 or scope != scopes[number - 1])


def _drop_empty_buffers(model: Any) -> None:
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    for tensor in tensors:
        if model.buffers[tensor.buffer].data is None and not tensor.isVariable:
            tensor.buffer = 0
    metadata = list(model.metadata or ())
    used = sorted({0, *_buffers(tensors), *_buffers(metadata)})
    place = {old: new for new, old in enumerate(used)}
    model.buffers = [model.buffers[old] for old in used]
    for each in (*tensors, *metadata):
        each.buffer = place[each.buffer]


def _buffers(holders: Iterable[Any]) -> set[int]:
    return {int(each.buffer) for each in holders}
