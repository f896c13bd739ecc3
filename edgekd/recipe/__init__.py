"""The recipe: one strict YAML document that says what to train, distil, export, verify and measure.

Every key is checked before any work: an unknown one raises and names the nearest known one. Plug-in arguments (of a
network, a loss, a data source, a format) stand flat beside the section's own keys and are checked against the plug-in's
signature, which is read without importing it.
"""

from edgekd.recipe.data import Augment, Data, Unlabelled, is_dataset_name
from edgekd.recipe.distillation import (
    NO_ADAPTER,
    Adapter,
    Cache,
    Distill,
    Ensemble,
    Loss,
    common_temperature,
    default_objective,
)
from edgekd.recipe.document import Recipe, canonical_json
from edgekd.recipe.loading import (
    RECIPE_FILE,
    assigned,
    data_section,
    find,
    from_document,
    load,
    section,
    smoke,
    summary,
    zoo,
)
from edgekd.recipe.networks import Network, Peer, Teacher, Training
from edgekd.recipe.outputs import (
    OF_RECONSTRUCTION,
    Bench,
    Calibration,
    Export,
    Target,
    Verify,
    check_layers,
    shown_name,
    target_of,
)
from edgekd.recipe.quantisation import Aware, Quantize
from edgekd.recipe.section import (
    ADAPTERS,
    ARCHITECTURES,
    ESTIMATES,
    FORMATS,
    LOSSES,
    PARITIES,
    SCHEMES,
    SOURCES,
    TARGET_ENTRIES,
    TARGETS,
    Section,
)
from edgekd.recipe.sparsity import Cluster, Prune, Ramp, Shrink, Sparsify

__all__ = [
    "ADAPTERS",
    "ARCHITECTURES",
    "ESTIMATES",
    "FORMATS",
    "LOSSES",
    "NO_ADAPTER",
    "OF_RECONSTRUCTION",
    "PARITIES",
    "RECIPE_FILE",
    "SCHEMES",
    "SOURCES",
    "TARGETS",
    "TARGET_ENTRIES",
    "Adapter",
    "Augment",
    "Aware",
    "Bench",
    "Cache",
    "Calibration",
    "Cluster",
    "Data",
    "Distill",
    "Ensemble",
    "Export",
    "Loss",
    "Network",
    "Peer",
    "Prune",
    "Quantize",
    "Ramp",
    "Recipe",
    "Section",
    "Shrink",
    "Sparsify",
    "Target",
    "Teacher",
    "Training",
    "Unlabelled",
    "Verify",
    "assigned",
    "canonical_json",
    "check_layers",
    "common_temperature",
    "data_section",
    "default_objective",
    "find",
    "from_document",
    "is_dataset_name",
    "load",
    "section",
    "shown_name",
    "smoke",
    "summary",
    "target_of",
    "zoo",
]
