"""A trained model that predicts from raw input."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from autoft import backbones, evaluation
from autoft.artifact.bundle import Bundle, read_bundle
from autoft.core.configs import TrialConfig
from autoft.core.errors import ConfigError, DataError, FormatError
from autoft.core.jsonable import Json
from autoft.core.metrics import all_quality_metrics
from autoft.core.storage import Store
from autoft.data import LazyInputs, decode_picture, quiet_pillow, read_evaluation_data, read_inputs
from autoft.tasks import Network, build_inputs, get_task
from autoft.tasks.inference import forward_all

ROWS_AT_ONCE = 1024
"""Rows that are decoded and held in memory together."""


def _device(name: str | None) -> torch.device:
    has_gpu = torch.cuda.is_available()
    try:
        device = torch.device(name or ("cuda" if has_gpu else "cpu"))
    except RuntimeError as error:
        raise ConfigError(f"Unknown device '{name}'; give 'cpu' or 'cuda', or leave it out.") from error
    if device.type == "cuda" and not has_gpu:
        raise ConfigError(f"The device '{name}' is asked for, and torch sees no GPU here; give 'cpu', or leave it out.")
    return device


class Model:
    """The winner of a search, with the preprocessing of its training.

    Args:
        bundle: What `read_bundle` returned.
        device: "cpu", "cuda", or None: a GPU if torch sees one.

    Raises:
        ConfigError: If torch has no such device.
        FormatError: If the weights do not fit the architecture.
    """

    def __init__(self, bundle: Bundle, *, device: str | None = None) -> None:
        self.labels = bundle.labels
        """Labels in the order of the probabilities' columns."""
        self.config: TrialConfig = bundle.config
        self.metrics: Json = bundle.metrics
        self._task = get_task(bundle.config.task)
        self._device = _device(device)
        self._inputs = build_inputs(bundle.preprocessing["inputs"])
        backbone = backbones.rebuild(bundle.preprocessing["architecture"])
        head = self._task.build_head(backbone.num_features, len(self.labels), bundle.config.recipe, seed=0)
        self._network = Network(backbone.module, head)
        try:
            self._network.load_state_dict(dict(bundle.tensors))
        except RuntimeError as error:
            raise FormatError(f"The bundle's weights do not fit its architecture: {error}.") from error
        self._network.to(self._device).eval()
        execution = bundle.config.execution
        self._channels_last = bool(execution.get("channels_last", False))
        self._dtype = str(execution.get("dtype", "float32"))
        self._batch_size = int(execution.get("eval_batch", 32))
        if self._channels_last:
            self._network.to(memory_format=torch.channels_last)

    @classmethod
    def load(cls, folder: str | Path, *, device: str | None = None) -> Self:
        """Read a bundle from a folder or URI.

        Raises:
            FormatError: If it is none, is damaged, or is of a newer format.
        """
        return cls(read_bundle(Store.open(folder)), device=device)

    @property
    def input_kind(self) -> str:
        """What a row is: "image" or "text"."""
        return self._task.input_kind

    def predict(self, inputs: Any) -> list[str]:
        """Return the label of each input; see `predict_proba`."""
        return [self.labels[index] for index in self.predict_proba(inputs).argmax(axis=1)]

    def predict_proba(self, inputs: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return probabilities, float64 (N, C), columns in the order of `labels`.

        Args:
            inputs: Texts, or paths or contents (bytes) of pictures: one or a sequence; a folder or table's path;
                a DataFrame. Strings in a sequence are texts to a model of texts; there, give a `Path` for a file.

        Raises:
            DataError: If an input cannot be read; names it.
        """
        _, rows = self.read(inputs)
        return self.probabilities(rows)

    def read(self, inputs: Any, *, stdin: Iterable[str] | None = None) -> tuple[list[str], LazyInputs]:
        """Return the names of inputs and the inputs, of a table those in the column of the training if it is there.

        Args:
            inputs: As `predict_proba` takes them.
            stdin: Given by a command line: the lines that "-" stands for.

        Raises:
            DataError: If a source is missing, or holds nothing of the kind.
        """
        spec = self.config.data
        return read_inputs(inputs, self.input_kind, stdin=stdin, column=spec.get("input"), target=spec.get("target"))

    def probabilities(
        self, rows: Sequence[str | bytes], *, report: Callable[[int], None] | None = None
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return probabilities, float64 (N, C), of rows as `autoft.data` reads them.

        Args:
            rows: Contents of pictures, or texts.
            report: Called with the number of rows that are done.

        Raises:
            DataError: If a picture cannot be decoded.
        """
        if not len(rows):
            raise DataError("There is nothing to predict: no input was given.")
        parts = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            logits = forward_all(
                self._network,
                self._network,
                self._inputs,
                self._encoded(part, start),
                num_rows=len(part),
                batch_size=self._batch_size,
                device=self._device,
                channels_last=self._channels_last,
                autocast=torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._dtype == "bfloat16"),
            )
            parts.append(self._task.predictions(logits).numpy())
            if report is not None:
                report(start + len(part))
        return np.concatenate(parts)

    def why_unusable(self, rows: Sequence[str | bytes]) -> dict[int, str]:
        """Return why rows cannot be read or decoded, by their places in `rows`; empty where all can."""
        found = {}
        for place in range(len(rows)):
            try:
                self._encoded(rows[place : place + 1], place)
            except DataError as error:
                found[place] = str(error)
        return found

    def _encoded(self, part: Sequence[str | bytes], start: int) -> Any:
        """Return rows as the network's inputs are stored; an error names the row, or its number from 1."""
        place = start

        def decode(content: bytes, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
            nonlocal place
            place += 1
            try:
                return decode_picture(content, size)
            except DataError as error:
                name = part.name(place - start - 1) if isinstance(part, LazyInputs) else f"input {place}"
                raise DataError(f"'{name}' cannot be used: {error}.") from error

        with quiet_pillow():
            return self._inputs.encode(part, decode)

    def evaluate(self, data: Any, *, target: str | None = None, seed: int = 0) -> Json:
        """Return metrics with 95 % intervals, per-class figures and the confusion matrix on labelled data.

        Args:
            data: A folder of class folders, a table's path, a DataFrame, ...
            target: Column with the labels, for tables; None: the one of the training.
            seed: Of the bootstrap behind the intervals.

        Raises:
            DataError: If the data cannot be read, or hold labels that the model does not know.
        """
        spec = self.config.data
        rows, targets = read_evaluation_data(
            data,
            kind=self.input_kind,
            labels=self.labels,
            column=spec.get("input"),
            target=target,
            trained_target=spec.get("target"),
        )
        names = all_quality_metrics(self.config.metrics)
        report: Json = evaluation.report(names, targets, self.probabilities(rows), self.labels, seed=seed)
        return report
