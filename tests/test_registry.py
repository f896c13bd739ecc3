"""Plug-ins are files: found by name, described without being imported."""

import sys
import textwrap

import pytest

from edgekd import recipe, registry
from edgekd.errors import RecipeError

# Importing this file fails, so a test that passes has not imported it.
UNIMPORTABLE = '''
"""Compares nothing at all.

A second paragraph.
"""

import no_such_package_at_all

COMPARES = "logits"
SIZES: tuple[int, ...] = (1, 2)
COMPUTED = len("four")
_PRIVATE = 1
lower = 2
BARE: int


def tiny(first, second, *, rate: float, mode="fast", sizes: tuple[int, int] = (3, -4), limit: int | None = None):
    pass
'''


@pytest.fixture
def folder_package(tmp_path, monkeypatch):
    """A package of two plug-ins in a folder of its own; returns its dotted name and its folder."""
    folder = tmp_path / "plugins_under_test" / "losses"
    folder.mkdir(parents=True)
    for init in (folder.parent, folder):
        (init / "__init__.py").touch()
    (folder / "tiny.py").write_text(UNIMPORTABLE)
    (folder / "other.py").write_text("VALUE = 7\n\n\ndef other():\n    pass\n")
    (folder / "_private.py").touch()
    (folder / "notes.txt").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield "plugins_under_test.losses", folder
    for name in [name for name in sys.modules if name.startswith("plugins_under_test")]:
        del sys.modules[name]
    registry.describe.cache_clear()


def add(folder, name, source):
    (folder / f"{name}.py").write_text(textwrap.dedent(source))


def test_file_names_are_the_plugins_and_underscores_are_private(folder_package):
    assert registry.discover(folder_package[0]) == ("other", "tiny")


def test_a_new_file_is_found_at_once(folder_package):
    package, folder = folder_package
    assert "fresh" not in registry.discover(package)
    add(folder, "fresh", "")
    assert "fresh" in registry.discover(package)


def test_a_plugin_may_be_a_folder(folder_package):
    package, folder = folder_package
    (folder / "large").mkdir()
    (folder / "large" / "__init__.py").touch()
    assert "large" in registry.discover(package)


def test_two_plugins_of_one_name_are_refused(tmp_path, monkeypatch):
    # A namespace package may be spread over several folders.
    for root in ("here", "there"):
        (tmp_path / root / "spread_under_test").mkdir(parents=True)
        (tmp_path / root / "spread_under_test" / "twin.py").touch()
        (tmp_path / root / "spread_under_test" / f"only_{root}.py").touch()
        monkeypatch.syspath_prepend(tmp_path / root)
    with pytest.raises(RecipeError, match=r"spread_under_test has more than one plug-in named twin: rename or remove"):
        registry.discover("spread_under_test")


@pytest.mark.parametrize(
    "package", ["no_such_package_at_all", "no_such_package_at_all.losses", "edgekd.nothing", "ast"]
)
def test_what_is_no_package_is_refused(package):
    with pytest.raises(RecipeError, match="is not an importable package"):
        registry.discover(package)


def test_a_known_plugin_is_loaded(folder_package):
    assert registry.load(folder_package[0], "other").VALUE == 7


def test_an_unknown_plugin_is_refused_with_the_nearest_and_all_known_ones(folder_package):
    with pytest.raises(RecipeError, match=r"unknown loss 'othr'. Did you mean 'other'\? Known: other, tiny\."):
        registry.load(folder_package[0], "othr")


@pytest.mark.parametrize("name", ["_private", "tiny.deeper", "../tiny", ""])
def test_a_name_that_is_no_plugin_is_refused_before_anything_is_imported(folder_package, name):
    with pytest.raises(RecipeError, match="unknown loss"):
        registry.load(folder_package[0], name)


def test_a_description_is_read_without_importing(folder_package):
    plugin = registry.describe(folder_package[0], "tiny", entry="tiny")
    assert plugin.name == "tiny"
    assert plugin.summary == "Compares nothing at all."
    assert plugin.parameters == {"rate": registry.REQUIRED, "mode": "fast", "sizes": (3, -4), "limit": None}
    assert plugin.annotations == {"rate": "float", "sizes": "tuple[int, int]", "limit": "int | None"}
    assert plugin.constants == {"COMPARES": "logits", "SIZES": (1, 2), "BARE": None}
    # Neither is any package that it lies in.
    assert not [name for name in sys.modules if name.startswith("plugins_under_test")]


def test_a_plugin_that_is_only_data_needs_no_entry_function(folder_package):
    plugin = registry.describe(folder_package[0], "other", entry=None)
    assert plugin.parameters == {}
    assert plugin.constants == {"VALUE": 7}
    assert plugin.summary == ""


def test_a_plugin_without_its_entry_function_is_refused(folder_package):
    with pytest.raises(RecipeError, match=r"losses\.other does not define tiny\(\)"):
        registry.describe(folder_package[0], "other", entry="tiny")


def test_a_default_that_is_computed_is_refused_by_name(folder_package):
    package, folder = folder_package
    add(folder, "computed", "def computed(*, rate=1 / 3):\n    pass\n")
    with pytest.raises(RecipeError, match=r"losses\.computed: the default of rate is computed; write it as a literal"):
        registry.describe(package, "computed", entry="computed")


def test_a_file_that_is_not_python_is_refused_by_name(folder_package):
    package, folder = folder_package
    add(folder, "broken", "def broken(:\n")
    with pytest.raises(RecipeError, match=r"losses\.broken is not valid Python"):
        registry.describe(package, "broken", entry="broken")


@pytest.fixture
def tiny(folder_package):
    return registry.describe(folder_package[0], "tiny", entry="tiny")


def test_known_arguments_are_accepted(tiny):
    registry.check_arguments(tiny, {"rate": 0.5, "mode": "slow"}, kind="argument of loss 'tiny':")
    registry.check_types(tiny, {"rate": 1, "mode": 3, "limit": None}, kind="argument of loss 'tiny':")


def test_an_unknown_argument_is_refused_with_the_nearest_of_those_valid_at_that_place(tiny):
    with pytest.raises(RecipeError, match=r"unknown argument 'rat'. Did you mean 'rate'\?"):
        registry.check_arguments(tiny, {"rate": 1, "rat": 2}, kind="argument")
    with pytest.raises(RecipeError, match=r"unknown argument 'wieght'. Did you mean 'weight'\?"):
        registry.check_arguments(tiny, {"rate": 1, "wieght": 2}, kind="argument", also=("weight",))


def test_a_missing_required_argument_is_named(tiny):
    with pytest.raises(RecipeError, match=r"missing argument: rate\. Give a value for each\."):
        registry.check_arguments(tiny, {"mode": "slow"}, kind="argument")


def test_an_argument_of_another_type_is_refused_by_name_and_value(tiny):
    with pytest.raises(RecipeError, match=r"argument of loss 'tiny': rate must be a finite number, got 'fast'\."):
        registry.check_types(tiny, {"rate": "fast"}, kind="argument of loss 'tiny':")


@pytest.mark.parametrize(
    ("package", "kind"),
    [
        (recipe.LOSSES, "loss"),
        (recipe.ARCHITECTURES, "architecture"),
        (recipe.SOURCES, "dataset source"),
        (recipe.FORMATS, "format"),
        (recipe.TARGETS, "target"),
        (recipe.SCHEMES, "scheme"),
        ("edgekd.quantize.ranges", "calibration"),
        ("edgekd.cli", "command"),
    ],
)
def test_messages_call_a_plugin_by_what_it_is(package, kind):
    assert registry.kind_of(package) == kind
    with pytest.raises(RecipeError, match=f"unknown {kind} 'no such thing'"):
        registry.require(package, "no such thing")


@pytest.mark.parametrize(
    ("package", "entry", "section", "own"),
    [
        (recipe.LOSSES, None, recipe.Loss, ()),
        (recipe.ARCHITECTURES, "build", recipe.Network, ()),
        (recipe.SOURCES, "load", recipe.Data, ()),
        (recipe.FORMATS, "export", recipe.Export, ("scheme", "batch", "input_dtype", "output_dtype")),
    ],
)
def test_every_plugins_defaults_fit_their_types_and_no_argument_hides_a_key_of_the_recipe(package, entry, section, own):
    assert registry.discover(package)
    for name in registry.discover(package):
        plugin = registry.describe(package, name, entry=entry or name)
        defaults = {key: value for key, value in plugin.parameters.items() if value is not registry.REQUIRED}
        registry.check_types(plugin, defaults, kind=name)
        hidden = (set(plugin.parameters) - set(own)) & set(section.model_fields)
        assert not hidden, f"{name}: {hidden}"
