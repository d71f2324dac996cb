"""From a recipe's section, or a bundle's description, to the builder of its library."""

from autoft.backbones.backbone import Backbone
from autoft.backbones.hf_models import build_hf, rebuild_hf
from autoft.backbones.locate import NO_WEIGHTS, entry_of
from autoft.backbones.timm_models import build_timm, rebuild_timm
from autoft.core.errors import ConfigError, FormatError, nearest
from autoft.core.jsonable import Json


def build_backbone(config: Json, *, pretrained: bool) -> Backbone:
    """Return the backbone of a recipe's section; see `autoft.backbones.build`.

    Raises:
        ConfigError: If the name is unknown, or a setting does not fit the model or would have no effect.
        WeightsError: If the weights cannot be had, are no weights, or do not fit the model.
    """
    entry = entry_of(str(config.get("name")))
    settings = {"name": entry.name} | {argument.name: argument.default for argument in entry.arguments}
    for key, value in config.items():
        argument = entry.argument(key)
        if key != "name" and argument is None:
            names = [argument.name for argument in entry.arguments]
            raise ConfigError(f"{entry.name} has no setting '{key}'.{nearest(key, names)} Allowed: {', '.join(names)}.")
        if argument is not None and (problem := argument.problem(value)):
            raise ConfigError(f"The setting {key} of {entry.name} {problem}: {argument.description}")
        settings[key] = value
    if not pretrained:
        settings["weights"] = NO_WEIGHTS
    build = build_timm if entry.name.startswith("timm:") else build_hf
    return build(entry, settings)


def rebuild_backbone(architecture: Json, *, seed: int) -> Backbone:
    """Return the backbone that `architecture` describes; see `autoft.backbones.rebuild`.

    Raises:
        FormatError: If it describes no backbone that this version can build.
    """
    library = architecture.get("library")
    builders = {"timm": rebuild_timm, "transformers": rebuild_hf}
    if library not in builders:
        raise FormatError(f"The architecture of the backbone names no known library, but {library!r}.")
    try:
        return builders[library](architecture, seed=seed)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise FormatError(
            f"The backbone {architecture.get('name')!r} of the bundle cannot be built with the installed {library}: "
            f"{error}"
        ) from error
