"""Whether a network fits the data that it is to learn from."""

import keras

from edgekd.data.dataset import Dataset
from edgekd.errors import ModelError, ShapeError


def check(model: keras.Model, data: Dataset, *, role: str) -> None:
    """Raises an error unless the network takes the data's samples and gives a logit for each class, or the sample.

    Args:
      model: the network.
      data: what it is to learn from, or to teach on.
      role: what to call it in the message: teacher or student.

    Raises:
      ModelError: a subclassed network, whose layers and shapes cannot be known, or one that ends in a softmax.
      ShapeError: several inputs or outputs, or another shape.
      DataError: samples of one class only, where classes are to be told.
    """
    if not hasattr(model, "inputs") or not hasattr(model, "outputs"):
        raise ModelError(
            f"the {role} is a subclassed network ({type(model).__name__}), which cannot be saved and exported without "
            "its code: build it with the functional API, around the same layers."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ShapeError(
            f"the {role} has {len(model.inputs)} inputs and {len(model.outputs)} outputs: a network with one input "
            f"and one output, the {'reconstruction' if data.reconstructs else 'logits'}, is needed."
        )
    received, classes = tuple(model.inputs[0].shape[1:]), tuple(model.outputs[0].shape[1:])
    fits = len(received) == len(data.input_shape) and all(
        size in {None, given} for size, given in zip(received, data.input_shape, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"the {role} takes inputs of shape {received}, but samples of {data.name!r} have {data.input_shape}: "
            "choose another model, or data of its size."
        )
    if data.reconstructs:
        _check_reconstruction(classes, data, role=role)
        return
    data.check_classes_can_be_told()
    if classes != data.output_shape:
        raise ShapeError(
            f"the {role}'s output has shape {classes}, but {data.name!r} has {data.num_classes} classes: teacher, "
            "student and data must have the same classes."
        )
    squashed = _final_activation(model)
    if squashed is not None:
        raise ModelError(
            f"the {role} ends in {squashed}, but its outputs must be logits. For a teacher that exists, say so: "
            "--set teacher.outputs=probabilities, or outputs: probabilities beside model in a recipe. Otherwise set "
            "model.layers[-1].activation = keras.activations.linear (or build keras.Model(model.input, "
            "model.layers[-1].input) where the last layer is only the activation), and save it again."
        )


def _check_reconstruction(received: tuple[int | None, ...], data: Dataset, *, role: str) -> None:
    if received != data.output_shape:
        raise ShapeError(
            f"the {role}'s output has shape {received}, but its task is reconstruction, and samples of {data.name!r} "
            f"have {data.output_shape}: it must give back what it gets, such as architecture autoencoder does."
        )


def _final_activation(model: keras.Model) -> str | None:
    """Returns the name of a softmax or sigmoid that the network ends in, or None."""
    operation = model.outputs[0]._keras_history.operation
    if isinstance(operation, keras.Model):
        return _final_activation(operation)
    activation = getattr(operation, "activation", operation)
    name = getattr(activation, "__name__", type(activation).__name__).lower()
    return name if name in {"softmax", "sigmoid"} else None
