"""Small networks of all eight generators, whose exports are tried."""

from typing import Any

import jax
import numpy as np
from helpers import random_variables

from sr_jax.models import create_model
from sr_jax.models.network import Network

NETWORKS: dict[str, dict[str, Any]] = {
    "srcnn_955": {"n_feats": (8, 4)},
    "vdsr": {"depth": 4, "n_feats": 8},
    "srresnet": {"n_resblocks": 2, "n_feats": 8, "scale": 4, "output": "tanh"},
    "edsr_baseline": {"n_resblocks": 2, "n_feats": 8, "scale": 3},
    "mdsr_baseline": {"n_resblocks": 1, "n_feats": 8},
    "rcan": {"n_resgroups": 2, "n_resblocks": 2, "n_feats": 8, "reduction": 4, "scale": 4},
    "san": {"n_resgroups": 2, "n_resblocks": 1, "n_feats": 8, "reduction": 4, "scale": 2},
    "csnln": {"n_feats": 8, "depth": 2, "scale": 2},
}
FIXED = ("san", "csnln")  # one program is not for all sizes


def build(name: str) -> tuple[Network, dict[str, Any]]:
    """A network of the table and its variables, none of which are zero."""
    model = create_model(name, **NETWORKS[name])
    variables = dict(random_variables(model, 0.1))
    if "batch_stats" in variables:  # a variance is not negative
        variables["batch_stats"] = jax.tree.map(np.abs, variables["batch_stats"])
    return model, variables
