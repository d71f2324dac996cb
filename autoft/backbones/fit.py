"""Whether pretrained tensors fit a model, said in one sentence."""

from collections.abc import Collection

from autoft.core.errors import WeightsError


def check_fit(
    name: str, source: str, *, num_tensors: int, missing: Collection[str], unexpected: Collection[str]
) -> None:
    """Refuse weights that leave a part of the model random, or belong to a larger model.

    Args:
        name: Of the backbone.
        source: Of the weights, in words.
        num_tensors: Of the model.
        missing: Tensors of the model that the weights do not have.
        unexpected: Tensors of the weights that the model does not have, its classifier left out.

    Raises:
        WeightsError: If there are any of either; says how many and names one.
    """
    if not missing and not unexpected:
        return
    parts = []
    if missing:
        parts.append(f"{len(missing)} of the model's {num_tensors} tensors are missing (such as '{min(missing)}')")
    if unexpected:
        parts.append(f"{len(unexpected)} of the weights' tensors are not in the model (such as '{min(unexpected)}')")
    raise WeightsError(f"The weights ({source}) do not fit {name}: {' and '.join(parts)}.")
