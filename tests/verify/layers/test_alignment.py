"""Graphs by hand: which operators belong together, and what told so."""

import numpy as np
import pytest

from edgekd.records import TensorSpec
from edgekd.runtime.layers.graph import Graph, Kernel, Operator
from edgekd.verify.layers.alignment import Side, align, kernel_similarity
from edgekd.verify.layers.blocks import blocks_of
from edgekd.verify.layers.pairs import pairs_of


def side(*operators, kernels=None, values=None, scales=None, outputs=None):
    """Returns a model's side: operators are (kind, output, inputs, fused activation)."""
    made = tuple(
        Operator(kind, kind.upper(), tuple(inputs), (output,), fused=fused, kernel=output)
        for kind, output, inputs, fused in ((*each, None)[:4] for each in operators)
    )
    names = {"x", *(each[1] for each in operators)}
    tensors = {
        name: TensorSpec(name=name, shape=(1, 4), dtype="float32", scale=(scales or {}).get(name)) for name in names
    }
    blocks = blocks_of(Graph(made, ("x",), outputs or (made[-1].outputs[0],), tensors))
    return Side(
        blocks=blocks,
        shapes=((4,),) * len(blocks),
        kernels={at: (kernels or {})[each.kernel] for at, each in enumerate(blocks) if each.kernel in (kernels or {})},
        values=lambda number: np.asarray((values or {}).get(blocks[number].output, 0.0)),
    )


def kernel(seed):
    values = np.random.default_rng(seed).standard_normal((4, 3, 3, 2)).astype(np.float32)
    return Kernel(values, np.zeros(4, np.float32), -1)


def names(first, second, **options):
    matches = align(first, second, **options)
    pairs = pairs_of(matches, first.blocks, second.blocks)
    return [(pair.reference.key, pair.candidate.key, pair.by) for pair in pairs]


def test_a_fused_activation_is_one_with_a_separate_one():
    fused = side(("conv", "a", "x", "relu"), ("dense", "b", "a"))
    apart = side(("conv", "p", "x"), ("shift", "q", "p"), ("relu", "r", "q"), ("dense", "s", "r"))
    assert names(fused, apart) == [("x", "x", "position"), ("a", "r", "structure"), ("b", "s", "structure")]


def test_where_both_show_what_comes_before_the_activation_it_is_compared_too():
    first = side(("conv", "a", "x"), ("relu", "b", "a"), ("dense", "c", "b"))
    second = side(("conv", "p", "x"), ("shift", "q", "p"), ("relu", "r", "q"), ("dense", "s", "r"))
    assert [pair[:2] for pair in names(first, second)] == [("x", "x"), ("a", "q"), ("b", "r"), ("c", "s")]


def test_a_missing_activation_leaves_the_tensor_before_it_for_both():
    first = side(("conv", "a", "x"), ("relu", "b", "a"), ("dense", "c", "b"))
    second = side(("conv", "p", "x"), ("dense", "s", "p"))
    assert [pair[:2] for pair in names(first, second)] == [("x", "x"), ("a", "p"), ("b", "p"), ("c", "s")]


def test_moved_and_rounded_values_are_the_operators_own():
    plain = side(("conv", "a", "x"), ("dense", "b", "a"))
    rounded = side(
        *(("conv", "p", "x"), ("moving", "q", "p"), ("quantise", "r", "q"), ("dequantise", "s", "r")),
        ("dense", "t", "s"),
        scales={"r": 0.1},
    )
    assert [pair[:2] for pair in names(plain, rounded)] == [("x", "x"), ("a", "r"), ("b", "t")]


@pytest.mark.parametrize("swapped", [False, True])
def test_twins_whose_kernels_tell_them_apart_keep_them_where_their_order_is_swapped(swapped):
    kernels = {"a": kernel(1), "b": kernel(2), "p": kernel(1), "q": kernel(2)}
    first = side(("conv", "a", "x"), ("conv", "b", "x"), ("subtract", "c", "ab"), kernels=kernels)
    read = "qp" if swapped else "pq"
    second = side(("conv", "p", "x"), ("conv", "q", "x"), ("subtract", "r", read), kernels=kernels)
    assert names(first, second) == [
        ("x", "x", "position"),
        ("a", "p", "kernels"),
        ("b", "q", "kernels"),
        ("c", "r", "structure"),
    ]


def test_twins_without_kernels_are_told_by_their_values():
    values = {"a": [1.0, 2.0], "b": [5.0, 6.0], "p": [5.0, 6.1], "q": [1.0, 2.1]}
    first = side(("tanh", "a", "x"), ("tanh", "b", "x"), ("add", "c", "ab"), values=values)
    second = side(("tanh", "p", "x"), ("tanh", "q", "x"), ("add", "r", "pq"), values=values)
    assert names(first, second)[1:3] == [("a", "q", "values"), ("b", "p", "values")]


def test_exchanged_kernels_do_not_change_what_the_structure_says():
    kernels = {"a": kernel(1), "b": kernel(2), "p": kernel(2), "q": kernel(1)}
    first = side(("conv", "a", "x"), ("conv", "b", "a"), kernels=kernels)
    second = side(("conv", "p", "x"), ("conv", "q", "p"), kernels=kernels)
    assert [pair[:2] for pair in names(first, second)] == [("x", "x"), ("a", "p"), ("b", "q")]


def test_an_operator_of_another_kind_between_the_same_neighbours_is_its_counterpart():
    first = side(("conv", "a", "x"), ("pool_max", "b", "a"), ("conv", "c", "b"))
    second = side(("conv", "p", "x"), ("pool_average", "q", "p"), ("conv", "r", "q"))
    assert ("b", "q", "neighbours") in names(first, second)


def test_what_one_format_splits_has_no_counterpart_and_costs_no_other_its_own():
    kernels = {name: kernel(seed) for seed, pair in enumerate(("ap", "ct", "eu")) for name in pair}
    first = side(
        *(("conv", "a", "x"), ("hard_swish", "b", "a"), ("conv", "c", "b"), ("hard_swish", "d", "c")),
        ("conv", "e", "d"),
        kernels=kernels,
    )
    second = side(
        *(("conv", "p", "x"), ("hard_sigmoid", "q", "p"), ("multiply", "r", "pq"), ("conv", "t", "r")),
        *(("hard_sigmoid", "s", "t"), ("multiply", "v", "ts"), ("conv", "u", "v")),
        kernels=kernels,
    )
    assert [pair[:2] for pair in names(first, second)] == [("x", "x"), ("a", "p"), ("c", "t"), ("e", "u")]


def test_inputs_may_be_in_another_order():
    def two(first, second):
        return Side(blocks_of(Graph((), (first, second), (), specs)), ((4,), (4,)), {}, lambda _: np.zeros(1))

    specs = {name: TensorSpec(name=name, shape=(1, 4), dtype="float32") for name in ("x", "y")}
    assert names(two("x", "y"), two("y", "x"), order=[1, 0]) == [("x", "x", "position"), ("y", "y", "position")]


def test_folding_a_normalisation_leaves_kernels_alike():
    one = kernel(1)
    folded = Kernel(one.values * np.float32([2, -3, 0.1, 1]).reshape(4, 1, 1, 1), one.steps, -1)
    assert kernel_similarity(one, folded) == pytest.approx(1.0)
    assert kernel_similarity(one, kernel(2)) < 0.5
    assert kernel_similarity(one, None) is None
