"""Text encoders: token ids and mask to pooled features."""

import inspect
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedConfig

from autoft.backbones.backbone import LayerGroups, num_features
from autoft.backbones.layers import groups_by_name
from autoft.backbones.pooling import MeanPooling, make_pooling
from autoft.core.entries.hf_types import DEFAULT_INPUT_SIZE, dropouts_of
from autoft.core.errors import ConfigError, first_line
from autoft.core.jsonable import Json

_IMAGE_DEFAULTS: Json = {"input_size": DEFAULT_INPUT_SIZE, "drop_path": 0.0, "batch_norm": "pretrained"}
_DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "hidden_dropout",
    "dropout",
    "dropout_rate",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "embd_pdrop",
    "resid_pdrop",
    "attn_pdrop",
)
"""Names under which configurations hold the dropout of embeddings, layers and attention, where the catalog knows none
of the type."""


class TextEncoder(nn.Module):
    """An encoder whose token states are pooled to one vector.

    Args:
        encoder: From ids and mask, each (B, L), to states (B, L, F).
        pooling: From states and mask (B, L) to features (B, F).
    """

    def __init__(self, encoder: nn.Module, pooling: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return features (B, F) of ids and mask, each (B, L)."""
        states: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        features: Tensor = self.pooling(states, attention_mask)
        return features


class TextBuilder:
    """Fits a Hugging Face encoder of texts to the settings of a recipe."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pooling = "mean"
        self._max_length = 0
        self._preprocessing: Json = {}

    def configure(self, config: PreTrainedConfig, settings: Json, folder: Path) -> None:
        """Take the settings over into `config`, and read the tokenizer from `folder`.

        Raises:
            ConfigError: If a setting does not fit a text encoder, or there is no tokenizer.
        """
        for key, default in _IMAGE_DEFAULTS.items():
            if settings.get(key, default) != default:
                raise ConfigError(f"{self.name} reads texts: it has no setting '{key}'.")
        self._pooling, self._max_length = settings["pooling"], settings["max_length"]
        if settings["dropout"] is not None:
            self._set_dropout(config, settings["dropout"])
        tokenizer = self._tokenizer(folder)
        if tokenizer.get_vocab_size() > config.vocab_size:
            raise ConfigError(
                f"The tokenizer of {self.name} has {tokenizer.get_vocab_size()} tokens, the model {config.vocab_size}."
            )
        self._preprocessing = {
            "kind": "text",
            "max_length": self._max_length,
            "tokenizer": tokenizer.to_str(),
            "pad_id": _pad_id(config),
        }

    def restore(self, settings: Json, preprocessing: Json) -> None:
        """Take the state of `settings` and `preprocessing` back."""
        self._pooling, self._preprocessing = settings["pooling"], preprocessing

    def settings(self) -> Json:
        """Return what `restore` needs besides the preprocessing."""
        return {"pooling": self._pooling}

    def preprocessing(self) -> Json:
        """Return the backbone's preprocessing."""
        return self._preprocessing

    def pooler_arguments(self, model: type[nn.Module], config: PreTrainedConfig) -> Json:
        """Return the argument that leaves out a pooler, whose output is not used."""
        return {"add_pooling_layer": False} if takes(model.__init__, "add_pooling_layer") else {}

    def wrap(self, encoder: nn.Module) -> nn.Module:
        """Return the module from ids and mask to features."""
        states = num_features(TextEncoder(encoder, MeanPooling()).eval(), *self._few_tokens())
        return TextEncoder(encoder, make_pooling(self._pooling, states))

    def pooling(self, module: nn.Module) -> nn.Module | None:
        """Return the part with fresh parameters, if there is one."""
        part = module.get_submodule("pooling")
        return part if next(part.parameters(), None) is not None else None

    def embeddings(self, module: nn.Module) -> nn.Module | None:
        """Return the part from token ids to embeddings, if the encoder says what that is."""
        encoder: Any = module.get_submodule("encoder")
        try:
            found = encoder.get_input_embeddings()
        except NotImplementedError:
            return None
        return found if isinstance(found, nn.Module) else None

    def check(self, module: nn.Module) -> int:
        """Return the number of features.

        Raises:
            ConfigError: If the encoder cannot read `max_length` tokens, or gives no states.
        """
        limit = _position_limit(module)
        if limit is not None and self._max_length > limit:
            raise ConfigError(f"{self.name} reads texts of at most {limit} tokens, max_length is {self._max_length}.")
        return num_features(module, *self._few_tokens())

    def layer_groups(self, module: nn.Module) -> LayerGroups:
        """Return the embeddings, each layer, and what follows."""
        return groups_by_name(module.get_submodule("encoder").named_parameters(), nested=False)

    def _few_tokens(self) -> tuple[Tensor, Tensor]:
        ids = torch.zeros(1, min(8, self._preprocessing["max_length"]), dtype=torch.int64)
        return ids, torch.ones_like(ids)

    def _set_dropout(self, config: PreTrainedConfig, dropout: float) -> None:
        known = dropouts_of(config.model_type)
        names = _DROPOUTS if known is None else known
        found = [name for name in names if isinstance(getattr(config, name, None), int | float)]
        if not found:
            raise ConfigError(f"{self.name} has no dropout that can be set; leave out the setting 'dropout'.")
        for name in found:
            setattr(config, name, dropout)

    def _tokenizer(self, folder: Path) -> Any:
        """Return the fast tokenizer, without truncation and padding of its own."""
        path = folder / "tokenizer.json"
        try:
            if path.is_file():
                tokenizer = Tokenizer.from_file(str(path))
            else:
                made = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
                tokenizer = Tokenizer.from_str(made.backend_tokenizer.to_str())
        # The tokenizers library raises bare Exception for a file that it cannot read.
        except Exception as error:
            reason = first_line(error)
            raise ConfigError(f"The folder '{folder}' of {self.name} holds no fast tokenizer: {reason}") from error
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer


def takes(function: Any, argument: str) -> bool:
    """Return whether `function` has an argument of that name."""
    return argument in inspect.signature(function).parameters


def _pad_id(config: PreTrainedConfig) -> int:
    """Return the model's own padding id: encoders like RoBERTa count positions by it."""
    for name in ("pad_token_id", "eos_token_id"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value >= 0:
            return value
    return 0


def _position_limit(module: nn.Module) -> int | None:
    """Return the most tokens for which the module has learned positions; None where it needs none."""
    for name, part in module.named_modules():
        if name.endswith(("position_embeddings", "wpe")) and isinstance(part, nn.Embedding):
            # RoBERTa counts from behind its padding id.
            return part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1)
    config = getattr(module.get_submodule("encoder"), "config", None)
    limit = getattr(config, "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None
