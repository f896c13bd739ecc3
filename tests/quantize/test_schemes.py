"""Schemes are data: found, named and checked without importing TensorFlow."""

import pytest

from edgekd import quantize, registry
from edgekd.errors import RecipeError


def test_every_scheme_is_found_with_its_bits():
    bits = {each.name: (each.weight_bits, each.activation_bits) for each in quantize.all_schemes()}
    assert bits == {"float32": (32, 32), "float16": (16, 32), "dynamic_int8": (8, 32), "int8": (8, 8)}


@pytest.mark.parametrize("alias", [alias for each in quantize.all_schemes() for alias in each.aliases])
def test_an_alias_decodes_to_the_bits_it_names(alias):
    found = quantize.scheme(alias)
    weights, activations = alias.split("_")
    assert weights.removeprefix("w") == f"{'i' if found.weight_bits == 8 else 'fp'}{found.weight_bits}"
    assert activations.removeprefix("a") == f"{'i' if found.activation_bits == 8 else 'fp'}{found.activation_bits}"


def test_only_integer_activations_need_calibration():
    assert [each.name for each in quantize.all_schemes() if each.needs_calibration] == ["int8"]


def test_the_formats_that_schemes_name_are_the_formats_that_exist():
    named = {name for each in quantize.all_schemes() for name in each.formats}
    assert named == set(registry.discover("edgekd.export"))


def test_an_unknown_scheme_is_answered_with_the_nearest():
    with pytest.raises(RecipeError, match=r"unknown scheme 'int_8'.*Did you mean 'int8'.*dynamic_int8"):
        quantize.scheme("int_8")
