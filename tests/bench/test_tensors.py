from edgekd.bench import tensors
from edgekd.inspect import inspect_model


def test_the_bytes_of_each_tensor_are_those_of_its_numbers(int8_tflite):
    found = {each.tensor: each for each in tensors.sizes("a file", inspect_model(int8_tflite))}
    # 16 units of 64 features in bytes, 16 sums in four bytes; one input and one output of bytes.
    assert {name: each.size_bytes for name, each in found.items()} == {"kernel": 1024, "bias": 64, "x": 64, "y": 16}
    assert next(iter(found)) == "kernel"
    assert (found["kernel"].role, found["x"].role, found["y"].role) == ("constant", "input", "output")
    assert found["kernel"].artifact == "a file"
