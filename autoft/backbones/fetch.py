"""Downloads from the hub, once, into its own cache; with errors that a person can act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from autoft.backbones.sources import cached_download
from autoft.core.catalog import Entry
from autoft.core.errors import WeightsError, first_line

_HTTP_ERROR: type[Exception] = HfHubHTTPError.__mro__[1]
"""The error of the client that the hub's library uses, whose name changes with its versions."""
_TOKENIZER_FILES = ("*.json", "*.txt", "*.model")


def fetch_timm(entry: Entry) -> Path:
    """Return the file of a timm model's weights, downloaded.

    Raises:
        WeightsError: If the hub does not have it, or fails.
    """
    hub = str(entry.facts["hub"])
    with _failures_of(hub):
        if hub.startswith("https://"):
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            folder.mkdir(parents=True, exist_ok=True)
            path = cached_download(hub) or folder / hub.rpartition("/")[2]
            if not path.is_file():
                torch.hub.download_url_to_file(hub, str(path), progress=False)
            return path
        repository, _, revision = hub.partition("@")
        try:
            return Path(hf_hub_download(repository, "model.safetensors", revision=revision or None))
        except RemoteEntryNotFoundError:
            return Path(hf_hub_download(repository, "pytorch_model.bin", revision=revision or None))


def fetch_hf(hub: str, *, weights: bool) -> Path:
    """Return the folder of a hub model's configuration and tokenizer, and of its weights if wanted, downloaded.

    Raises:
        WeightsError: If the hub does not have it, or fails.
    """
    repository, _, revision = hub.partition("@")
    with _failures_of(hub):
        folder = Path(
            snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=[*_TOKENIZER_FILES, *(["model*.safetensors"] if weights else [])],
            )
        )
        if weights and not any(folder.glob("model*.safetensors")):
            snapshot_download(repository, revision=revision or None, allow_patterns=["pytorch_model*.bin"])
        return folder


@contextmanager
def _failures_of(hub: str) -> Iterator[None]:
    """Turn the hub's errors into one sentence, and show no progress bars inside."""
    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    except (_HTTP_ERROR, OSError, URLError, ValueError) as error:
        reason = first_line(error)
        raise WeightsError(
            f"The weights '{hub}' cannot be downloaded: {reason}; give a local copy with `weights: PATH`."
        ) from error
    finally:
        if shown:
            enable_progress_bars()
