"""Schemes are data: found, named and checked without importing TensorFlow."""

import re

import pytest

from edgekd import quantize, registry
from edgekd.errors import RecipeError

ALIASES = [(each, alias) for each in quantize.all_schemes() for alias in each.aliases]


def test_every_scheme_is_found_with_its_bits():
    bits = {each.name: (each.weight_bits, each.activation_bits) for each in quantize.all_schemes()}
    assert bits == {
        "float32": (32, 32),
        "float16": (16, 32),
        "dynamic_int8": (8, 32),
        "weight_only_int8": (8, 32),
        "int8": (8, 8),
        "int16x8": (8, 16),
        "dynamic_int4": (4, 32),
        "weight_only_int4": (4, 32),
        "int8x4": (4, 8),
    }


@pytest.mark.parametrize(("scheme", "alias"), ALIASES, ids=[alias for _, alias in ALIASES])
def test_an_alias_decodes_to_the_scheme_that_it_names(scheme, alias):
    assert quantize.scheme(alias) == scheme
    decoded = re.fullmatch(r"(?:(dynamic|weight_only)_)?w(i|fp)(\d+)_a(i|fp)(\d+)", alias)
    assert decoded, alias
    way, weights, weight_bits, activations, activation_bits = decoded.groups()
    assert (int(weight_bits), int(activation_bits)) == (scheme.weight_bits, scheme.activation_bits)
    assert (weights == "i") == (scheme.weight_bits < 16)
    assert (activations == "i") == (scheme.arithmetic == "integer")
    if way is not None:
        assert {"dynamic": "dynamic", "weight_only": "float"}[way] == scheme.arithmetic


def test_only_integer_arithmetic_needs_calibration():
    for each in quantize.all_schemes():
        assert each.needs_calibration == (each.arithmetic == "integer") == (each.activation_bits < 32)


def test_only_int8_can_be_trained_for():
    assert [each.name for each in quantize.all_schemes() if each.aware] == ["int8"]


def test_operators_without_a_4_bit_kernel_get_8_bits():
    assert {each.other_weight_bits for each in quantize.all_schemes() if each.weight_bits == 4} == {8}
    assert all(each.other_weight_bits == each.weight_bits for each in quantize.all_schemes() if each.weight_bits > 4)


def test_every_scheme_takes_floats_and_only_integer_arithmetic_takes_its_own_integers():
    dtypes = {each.name: set(each.dtypes) - {"float32"} for each in quantize.all_schemes()}
    assert all("float32" in each.dtypes for each in quantize.all_schemes())
    assert {name: kinds for name, kinds in dtypes.items() if kinds} == {
        "int8": {"int8", "uint8"},
        "int8x4": {"int8"},
        "int16x8": {"int16"},
    }


def test_the_formats_that_schemes_name_are_the_formats_that_exist():
    named = {name for each in quantize.all_schemes() for name in each.formats}
    assert named == set(registry.discover("edgekd.export"))


def test_every_scheme_names_an_engine_for_each_of_its_formats():
    engine = {"tflite": "litert", "onnx": "onnxruntime"}
    for each in quantize.all_schemes():
        assert {engine[name] for name in each.formats} <= set(each.runtimes)
        assert set(each.runtimes) <= {"litert", "onnxruntime", "tflite_micro"}


def test_an_unknown_scheme_is_answered_with_the_nearest():
    with pytest.raises(RecipeError, match=r"unknown scheme 'int_8'.*Did you mean 'int8'.*dynamic_int8"):
        quantize.scheme("int_8")


def test_the_list_shows_what_each_scheme_needs(edgekd_command):
    import json

    listed = json.loads(edgekd_command("list", "schemes", "--json").out)
    assert listed["int16x8"] == {
        "name": "int16x8",
        "summary": quantize.scheme("int16x8").summary,
        "options": {},
        "weight_bits": 8,
        "other_weight_bits": 8,
        "activation_bits": 16,
        "arithmetic": "integer",
        "needs_calibration": True,
        "aware": False,
        "aliases": ["wi8_ai16"],
        "formats": ["tflite"],
        "dtypes": ["float32", "int16"],
        "runtimes": ["litert", "tflite_micro"],
    }
    lines = edgekd_command("list", "schemes").out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("int8x4 "))
    assert [line.strip() for line in lines[start + 1 : start + 5]] == [
        "weights: 4 bits (8 where no kernel has 4), activations: 8 bits, arithmetic: integer",
        "calibration: needed, quantisation-aware training: no",
        "formats: tflite; inputs and outputs: float32, int8; runtimes: litert",
        "also called wi4_ai8",
    ]


def test_a_mix_of_schemes_is_calibrated_where_one_of_them_is_and_says_which_layer_has_which():
    assert not quantize.needs_calibration("dynamic_int8", {"logits": "float32"})
    assert quantize.needs_calibration("float32", {"logits": "wi8_ai8"})
    assert quantize.needs_calibration("int8")
    assert quantize.label("wi8_ai8", {"stem": "wfp32_afp32", "logits": "dynamic_int4"}) == (
        "int8, logits: dynamic_int4, stem: float32"
    )
    assert quantize.label("int8", None) == "int8"
