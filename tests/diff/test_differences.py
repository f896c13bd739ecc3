"""What a comparison of two files says is what was changed between them, and nothing else."""

import numpy as np
import onnx
import pytest

from edgekd import flatbuffer
from edgekd.diff import diff_models
from edgekd.errors import ModelError, StorageError
from edgekd.golden import probe


@pytest.fixture
def saved(tmp_path):
    def save(chain, name):
        return chain.save(tmp_path / name)

    return save


def diff(old, new):
    return diff_models(old, new, check=False)


def kinds_of(found):
    return [(each.kind, each.operator) for each in found.operators]


def test_the_same_bytes_are_identical(saved, onnx_chain, some_kernels):
    path = saved(onnx_chain([*some_kernels, "Relu"]), "a.onnx")
    found = diff_models(path, path)
    assert found == diff(path, path), "as compared in a child process"
    assert (found.identical, found.kinds) == (True, ())
    assert (found.matched, found.weights_compared) == (5, 4)
    assert found.old == found.new
    assert (found.old.name, found.old.operators, found.old.macs) == ("a.onnx", 5, 4 * 16)


def test_only_metadata_differs_where_only_that_was_changed(saved, onnx_chain, tflite_chain, some_kernels, tmp_path):
    plain, told = onnx_chain(some_kernels), onnx_chain(some_kernels)
    told.metadata = {"author": "someone"}
    found = diff(saved(plain, "a.onnx"), saved(told, "b.onnx"))
    assert (found.identical, found.kinds) == (False, ("metadata",))
    ((change),) = found.metadata
    assert (change.what, change.old, change.new) == ("author", None, "someone")
    old = saved(tflite_chain([np.int8(np.eye(4))], [[0.1] * 4]), "a.tflite")
    (tmp_path / "b.tflite").write_bytes(flatbuffer.with_metadata(old.read_bytes(), "about", b"\xff" * 9))
    found = diff(old, tmp_path / "b.tflite")
    assert found.kinds == ("metadata",)
    assert found.metadata[0].new.startswith("9 bytes, sha256 ")


def test_another_order_of_bytes_or_names_inside_is_no_difference(saved, tflite_chain, tmp_path):
    integers = np.arange(16, dtype=np.int8).reshape(4, 4)
    old = tflite_chain([integers, integers.T.copy()], [[0.1] * 4, [0.2] * 4])
    first = saved(old, "a.tflite")
    (tmp_path / "b.tflite").write_bytes(first.read_bytes() + b"\0" * 16)
    found = diff(first, tmp_path / "b.tflite")
    assert (found.identical, found.kinds, found.renamed) == (False, (), 0)


def test_an_operator_that_was_put_in_is_the_only_difference(saved, onnx_chain, some_kernels):
    a, b, c, d = some_kernels
    found = diff(saved(onnx_chain([a, b, c, d]), "a.onnx"), saved(onnx_chain([a, b, "Relu", c, d]), "b.onnx"))
    assert found.kinds == ("operators",)
    assert kinds_of(found) == [("added", "Relu")]
    assert (found.operators[0].old, found.operators[0].new) == (None, 2)
    assert (found.matched, found.weights_compared, found.weights) == (4, 4, ())


def test_of_equal_blocks_the_one_that_was_left_out_is_told_by_its_weights(saved, onnx_chain, some_kernels):
    a, b, c, d = some_kernels
    found = diff(
        saved(onnx_chain([a, "Relu", b, "Relu", c, "Relu", d]), "a.onnx"),
        saved(onnx_chain([a, "Relu", c, "Relu", d]), "b.onnx"),
    )
    removed = [each for each in found.operators if each.kind == "removed"]
    assert sorted(each.operator for each in removed) == ["MatMul", "Relu"]
    assert next(each.old for each in removed if each.operator == "MatMul") == 2
    assert found.weights == ()
    assert found.matched == 5


def test_an_operator_in_anothers_place_and_other_settings_are_told(saved, onnx_chain, some_kernels):
    a, b = some_kernels[:2]
    old = onnx_chain([a, "Relu", b, ("LeakyRelu", {"alpha": 0.5})])
    new = onnx_chain([a, "Tanh", b, ("LeakyRelu", {"alpha": 0.25})])
    found = diff(saved(old, "a.onnx"), saved(new, "b.onnx"))
    assert kinds_of(found) == [("replaced", "Relu -> Tanh"), ("changed", "LeakyRelu")]
    (change,) = found.operators[1].changes
    assert (change.what, change.old, change.new) == ("alpha", 0.5, 0.25)


def test_weights_have_the_errors_that_numpy_gives(saved, onnx_chain, some_kernels):
    changed = some_kernels[1].copy()
    changed[0, :2] += np.float32([0.5, -0.25])
    found = diff(
        saved(onnx_chain([*some_kernels]), "a.onnx"),
        saved(onnx_chain([some_kernels[0], changed, *some_kernels[2:]]), "b.onnx"),
    )
    assert found.kinds == ("weights",)
    (weight,) = found.weights
    assert (weight.name, weight.operator, weight.elements) == ("kernel1", "MatMul", 16)
    error = changed.astype(np.float64) - some_kernels[1]
    assert weight.changed_fraction == 2 / 16
    assert weight.max_abs == pytest.approx(np.abs(error).max())
    assert weight.relative_l2 == pytest.approx(np.sqrt((error**2).sum() / (some_kernels[1].astype(float) ** 2).sum()))


def test_all_weights_new_are_matched_by_structure(saved, onnx_chain, some_kernels):
    others = [-2 * kernel for kernel in some_kernels]
    found = diff(
        saved(onnx_chain([some_kernels[0], "Relu", some_kernels[1]]), "a.onnx"),
        saved(onnx_chain([others[0], "Relu", others[1]]), "b.onnx"),
    )
    assert (found.matched, found.kinds) == (3, ("weights",))
    assert [weight.relative_l2 for weight in found.weights] == [pytest.approx(3.0)] * 2


def test_branches_in_another_order_are_the_same(tmp_path):
    """Two branches of one kind, written in two orders, and with other names."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, [1, 4]) for name in ("x", "y")]

    def save(name, order, prefix):
        branches = [
            helper.make_node("Exp", ["x"], [f"{prefix}a"]),
            helper.make_node("Tanh", ["x"], [f"{prefix}b"]),
        ]
        nodes = [*(branches[each] for each in order), helper.make_node("Sub", [f"{prefix}a", f"{prefix}b"], ["y"])]
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    found = diff(save("a.onnx", (0, 1), "old_"), save("b.onnx", (1, 0), "new_"))
    assert (found.kinds, found.matched, found.renamed) == ((), 3, 2)


def test_scales_are_compared_as_real_numbers(saved, tflite_chain):
    integers = np.arange(-8, 8, dtype=np.int8).reshape(4, 4)
    scales = np.float32([0.1, 0.2, 0.3, 0.4])
    other = scales * np.float32([1, 1, 2, 1])
    old = tflite_chain([integers, integers], [scales, scales])
    found = diff(saved(old, "a.tflite"), saved(tflite_chain([integers, integers], [scales, other]), "b.tflite"))
    assert found.kinds == ("weights",)
    (weight,) = found.weights
    before = integers * scales.astype(np.float64)[:, None]
    after = integers * other.astype(np.float64)[:, None]
    assert (weight.name, weight.changed_fraction) == ("kernel1", 0.0)  # the integers are the same
    assert weight.max_abs == pytest.approx(np.abs(after - before).max())
    assert weight.relative_l2 == pytest.approx(np.linalg.norm(after - before) / np.linalg.norm(before))


@pytest.mark.parametrize(("epsilons", "expected"), [(3, True), (5, False)])
def test_numbers_that_were_rounded_otherwise_are_told_from_changed_ones(
    saved, onnx_chain, tflite_chain, some_kernels, epsilons, expected
):
    """An epsilon of float32 is 2^-23: the distance of 1 and the next number. Sizes are beside the largest weight, 2."""
    old, new = (np.float32([[2, 0, 0, 0], *np.eye(4)[1:]]) for _ in range(2))
    new[3, 3] = np.float32(1 + 2 * epsilons * 2.0**-23)
    found = diff(saved(onnx_chain([old]), "a.onnx"), saved(onnx_chain([new]), "b.onnx"))
    assert found.kinds == ("weights",)
    assert [each.within_rounding for each in found.weights] == [expected]
    integers, scales = np.int8(np.eye(4)), np.float32([0.5, 0.5, 1, 1])
    first = saved(tflite_chain([integers], [scales], activation_scale=0.5), "a.tflite")
    factor = np.float32(1 + epsilons * 2.0**-23)
    chain = tflite_chain([integers], [scales * factor], activation_scale=np.float32(0.5) * factor)
    found = diff(first, saved(chain, "b.tflite"))
    changes = (*found.interface, *found.quantisation, *found.weights)
    assert [each.within_rounding for each in changes] == [expected] * 5
    chain = tflite_chain([integers + np.int8(1)], [scales], activation_scale=0.5)
    assert not diff(first, saved(chain, "b.tflite")).weights[0].within_rounding  # other integers


def test_activations_of_another_scale_are_a_change_of_quantisation(saved, tflite_chain):
    integers = np.arange(16, dtype=np.int8).reshape(4, 4)
    old, new = (tflite_chain([integers], [[0.1] * 4], activation_scale=scale) for scale in (0.5, 0.75))
    found = diff(saved(old, "a.tflite"), saved(new, "b.tflite"))
    assert found.kinds == ("interface", "quantisation")
    assert {change.what for change in found.interface} == {"scale of input 0", "scale of output 0"}
    assert [each.scale_ratio for each in found.quantisation] == [1.5, 1.5]
    assert found.quantisation[0].old == "scale 0.5, zero point -3"
    assert found.quantisation[0].zero_points_changed == 0


def test_ends_in_float_are_seen_through(saved, tflite_chain):
    """Quantising inputs and dequantising outputs inside makes no other operator differ."""
    integers = [np.arange(16, dtype=np.int8).reshape(4, 4), np.arange(16, 0, -1, dtype=np.int8).reshape(4, 4)]
    old, new = (tflite_chain(integers, [[0.1] * 4] * 2) for _ in range(2))
    new.float_ends, new.prefix = True, "other/"
    found = diff(saved(old, "a.tflite"), saved(new, "b.tflite"))
    assert kinds_of(found) == [("added", "QUANTIZE"), ("added", "DEQUANTIZE")]
    assert (found.matched, found.weights, found.quantisation) == (2, (), ())
    assert {change.what for change in found.interface} >= {"dtype of input 0", "dtype of output 0", "name of input 0"}


def test_names_and_shapes_of_the_interface_are_told(saved, onnx_chain, some_kernels):
    old = onnx_chain(some_kernels[:1])
    new = onnx_chain(some_kernels[:1], names=("image", "y"))
    found = diff(saved(old, "a.onnx"), saved(new, "b.onnx"))
    assert found.kinds == ("interface",)
    (change,) = found.interface
    assert (change.what, change.old, change.new) == ("name of input 0", "x", "image")


def test_files_that_cannot_be_compared_are_refused(saved, onnx_chain, tflite_chain, some_kernels, tmp_path):
    first = saved(onnx_chain(some_kernels), "a.onnx")
    second = saved(tflite_chain([np.int8(np.eye(4))], [[0.1] * 4]), "b.tflite")
    with pytest.raises(ModelError, match=r"are of two formats.*`edgekd verify a\.onnx b\.tflite`"):
        diff(first, second)
    (tmp_path / "c.keras").write_bytes(b"anything")
    with pytest.raises(ModelError, match="only TFLite and ONNX files can be compared"):
        diff(tmp_path / "c.keras", tmp_path / "c.keras")
    (tmp_path / "cut.tflite").write_bytes(second.read_bytes()[:300])
    with pytest.raises(ModelError, match=r"cut\.tflite"):
        diff_models(second, tmp_path / "cut.tflite")
    with pytest.raises(StorageError, match="does not exist"):
        diff(first, tmp_path / "absent.onnx")


def test_constants_that_an_onnx_file_keeps_beside_it_count(onnx_chain, some_kernels, tmp_path):
    paths = []
    for name, factor in (("old", 1), ("new", 1.5)):
        (tmp_path / name).mkdir()
        path = onnx_chain([factor * kernel for kernel in some_kernels]).save(tmp_path / name / "m.onnx")
        model = onnx.load(path)
        onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        paths.append(path)
    assert paths[0].read_bytes() == paths[1].read_bytes(), "only what lies beside them differs"
    found = diff(*paths)
    assert (found.identical, found.kinds) == (False, ("weights",))
    assert [each.relative_l2 for each in found.weights] == pytest.approx([0.5] * 4, rel=1e-6)
    assert found.old.size_bytes == sum(each.stat().st_size for each in paths[0].parent.iterdir())
    records = [probe.answer({"path": str(path)}, ())[0]["constants"] for path in paths]
    assert [after["norm"] / before["norm"] for before, after in zip(*records, strict=True)] == pytest.approx([1.5] * 4)
    (paths[1].parent / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"m\.onnx' keeps constants in 'weights\.bin', which is missing: copy both"):
        diff(*paths)
