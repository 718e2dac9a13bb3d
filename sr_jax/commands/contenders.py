"""What `sr-jax evaluate` lets contend: networks, bicubic interpolation, and their scales."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sr_jax.commands.model import open_model

if TYPE_CHECKING:
    from sr_jax.evaluation.scoring import Contender
    from sr_jax.inference.settings import Settings
    from sr_jax.models.network import Network


class Contest(NamedTuple):
    """Who contends.

    Attributes:
        contenders: bicubic interpolation first.
        scales: at which all are scored.
        identities: of the networks, which tell each from every other.
    """

    contenders: "list[Contender]"
    scales: list[int]
    identities: list[Any]


def open_contenders(
    models: Sequence[str],
    scales: Sequence[int] | None,
    settings: "Settings",
    *,
    name: str | None,
    ensemble: bool,
    step: int | None,
    allow: Collection[str],
) -> Contest:
    """Opens the networks of `--model`; says what there is to say of each.

    Raises:
        ValueError: a network cannot be opened, two have one name, or they share no scale.
    """
    from sr_jax.evaluation.scoring import BICUBIC, list_contenders

    named = [_named(given) for given in models if given != BICUBIC.method]
    places = dict(named)
    if len(places) < len(named):
        raise ValueError("two of the networks have the same name or place: give each its own")
    if not places and (name or ensemble):
        raise ValueError("--name, --ensemble and --comparison are about a network, not bicubic")
    if name and len(places) > 1:
        raise ValueError("--name is for one network: give --model NAME=PLACE for each")
    contenders, networks, identities = [BICUBIC], [], []
    for label, place in places.items():
        opened = open_model(place, allow=allow, step=step)
        networks.append(opened.model)
        identities.append(opened.identity)
        called = name if label == place else label
        network = opened.model, opened.variables
        contenders += list_contenders(network, settings, name=called, ensemble=ensemble)[1:]
        if opened.note:
            print(opened.note)
    methods = [contender.method for contender in contenders]
    if twice := next((method for method in methods if methods.count(method) > 1), None):
        raise ValueError(f"two of the networks are called {twice}: give --model NAME=PLACE")
    if networks:
        scales = _common_scales(networks, scales)
    if not scales:
        raise ValueError("--model bicubic has no scale of its own: give --scale")
    return Contest(contenders, list(dict.fromkeys(scales)), identities)


def _named(given: str) -> tuple[str, str]:
    """The name that NAME=PLACE gives, else the place itself, and the place."""
    name, equals, place = given.partition("=")
    if equals and name and "/" not in name and not Path(given).exists():
        return name, place
    return given, given


def _common_scales(networks: "Sequence[Network]", asked: Sequence[int] | None) -> list[int]:
    """The scales that were asked for, which all networks must have, or else that they share."""
    from sr_jax.inference.upscaler import network_scale

    each = [
        [network_scale(network, factor) for factor in asked or network.known_scales or (None,)]
        for network in networks
    ]
    shared = [factor for factor in each[0] if all(factor in known for known in each)]
    if not shared:
        raise ValueError("the networks have no scale in common: score them one by one")
    return shared
