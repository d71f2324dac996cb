"""The model card: what a reader of the bundle must know."""

from collections.abc import Mapping, Sequence

import yaml

from autoft.core.configs import TrialConfig
from autoft.core.jsonable import Json
from autoft.core.recipe import complete


def model_card(config: TrialConfig, reported: Json, labels: Sequence[str], metrics: Json) -> str:
    """Return the card as Markdown: data, recipe, figures, environment, use."""
    test = metrics.get("test", {})
    num_epochs = len(reported["epochs"])
    return "\n".join(
        [
            f"# {config.recipe['backbone']['name']} for {config.task}",
            "",
            f"Trial {reported['trial']} of an autoft search, after epoch {reported['epoch']} of {num_epochs} trained.",
            "",
            "## Use",
            "```",
            "autoft predict . INPUT...           # label and probabilities of files, folders or tables",
            "autoft evaluate . DATA              # metrics with intervals on labelled data",
            "autoft reproduce config.yaml --data DATA",
            "```",
            '```python\nimport autoft\n\nmodel = autoft.load(".")\nmodel.predict(["INPUT"])\n```',
            "",
            "## Figures",
            "| metric | validation | test | test, 95 % interval |",
            "|---|---|---|---|",
            *[_figure(name, value, test.get(name)) for name, value in metrics.get("val", {}).items()],
            "",
            "The validation split chose the model, so its figures flatter it; the test split was looked at once.",
            "",
            "## Data",
            _data(config, reported["num_rows"], labels),
            "",
            "## Recipe",
            "```yaml",
            yaml.safe_dump(complete(config.recipe, task=config.task), sort_keys=False, allow_unicode=True).rstrip(),
            "```",
            f"Seed {config.seed}; epochs planned: {config.epochs}.",
            "",
            "## Environment",
            f"Pretrained weights: {config.weights.get('source')} (sha256 {config.weights.get('sha256')}).",
            "",
            ", ".join(f"{name} {value}" for name, value in config.versions.items()) + ".",
            "",
            ", ".join(f"{name}: {value}" for name, value in config.execution.items()) + ".",
            "",
        ]
    )


def _figure(name: str, value: float | None, test: Json | None) -> str:
    shown = "" if value is None else f"{value:.4f}"
    if test is None or test.get("value") is None:
        return f"| {name} | {shown} | | |"
    return f"| {name} | {shown} | {test['value']:.4f} | {test['low']:.4f} to {test['high']:.4f} |"


def _data(config: TrialConfig, num_rows: Mapping[str, int], labels: Sequence[str]) -> str:
    sizes = ", ".join(f"{rows:,} {split}" for split, rows in num_rows.items())
    shown = ", ".join(labels[:20]) + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")
    return f"{sizes} rows; {len(labels)} labels: {shown}. Fingerprint {config.data.get('fingerprint')}."
