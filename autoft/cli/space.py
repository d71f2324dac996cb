"""`autoft space show`, `autoft space check` and `autoft space schema`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from autoft.cli import options, parsing
from autoft.cli.failures import unwritable
from autoft.cli.output import emit, emit_lines, print_table, say
from autoft.core.errors import ConfigError, DataError
from autoft.core.jsonable import Json

if TYPE_CHECKING:
    from autoft.space import SearchSpace
    from autoft.space.size import Size
    from autoft.space.tree import Block

Task = Annotated[
    str | None,
    typer.Option(metavar="TASK", help="For a space that does not say its task.", show_default="the space's"),
]
Seed = Annotated[int, typer.Option(parser=parsing.whole_number, metavar="N", help="Of the samples that are shown.")]
_FORMS = ("tree", "yaml", "json", "table")


def show(
    space: options.Space,
    *,
    task: Task = None,
    samples: Annotated[
        int, typer.Option(parser=parsing.whole_number, metavar="N", help="Configurations to draw and show.")
    ] = 0,
    seed: Seed = 0,
    form: Annotated[
        Literal["tree", "yaml", "json", "table"],
        typer.Option(
            "--format",
            parser=parsing.choice(*_FORMS),
            metavar="FORM",
            help="tree: branches, with how much is active in each; yaml: whole, to start your own from; json; "
            "table: what varies.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = "tree",
    augmentations: Annotated[
        Path | None,
        typer.Option(
            metavar="PNG",
            help="Draw what each of its augmentations does to a picture, and show nothing else.",
            show_default="not drawn",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Picture for --augmentations.",
            show_default="one that is drawn",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
) -> None:
    """Show a space, with all that it extends filled in, its size, and samples of it."""
    from autoft.space import load_space

    loaded = load_space(space, task=task)
    if augmentations is not None:
        _draw_augmentations(loaded, augmentations, picture, seed)
        return
    if picture is not None:
        raise ConfigError("--picture is for --augmentations, which is not given.")
    if samples and form not in ("tree", "json"):
        raise ConfigError(f"--samples goes with --format tree or json, not {form}.")
    if form == "yaml":
        emit(loaded.to_yaml())
    elif form == "json":
        import json

        # With samples they are the result, one recipe each; the space is what it is without.
        content: Any = list(_drawn(loaded, samples, seed)) if samples else loaded.to_json()
        emit(json.dumps(content, indent=2, ensure_ascii=False))
    elif form == "table":
        print_table(
            _parameters(loaded),
            columns=("parameter", "values", "default", "active when"),
            wrap=("parameter", "values", "default", "active when"),
        )
    else:
        emit_lines([*_tree(loaded), *_samples(loaded, samples, seed)])


def _draw_augmentations(space: "SearchSpace", out: Path, picture: Path | None, seed: int) -> None:
    """Write the contact sheet of a space for pictures."""
    if space.task != "image-classification":
        raise ConfigError(f"--augmentations draws pictures, and {space.name} is a space for {space.task}.")
    from autoft.augment import contact_sheet
    from autoft.data.pictures import rgb_picture
    from autoft.data.rows import read_file

    rows = contact_sheet.rows_of(space)
    if not rows:
        raise ConfigError(f"{space.name} has no augmentation: its backbones are probed, not trained.")
    shown = contact_sheet.example_picture()
    if picture is not None:
        try:
            shown = rgb_picture(read_file(picture))
        except DataError as error:
            raise ConfigError(f"--picture {picture} cannot be read as a picture: {error}.") from error
    sheet = contact_sheet.draw_sheet(rows, shown, seed=seed)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(out, format="PNG")
    except OSError as error:
        raise unwritable("--augmentations", out, error) from error
    count = f"{len(rows)} row{'' if len(rows) == 1 else 's'}"
    say(f"{out} is written: {count}, each the picture and {contact_sheet.COLUMNS} draws (seed {seed}).")


def check(space: options.Space, task: Task = None, seed: Seed = 0) -> None:
    """Check a space; say its size, and show a sample.

    Exits with 2 and every mistake, each with its line, when there are any.
    """
    from autoft import api

    loaded = api.check_space(space, task=task)
    lines = [f"{space} is right: a space for {loaded.task}.", *loaded.description.strip().splitlines()]
    lines.append(f"backbones: {', '.join(str(backbone['name']) for backbone in loaded.backbones())}")
    emit_lines([*lines, f"size: {_size(loaded)}", *_samples(loaded, 1, seed)])


def schema(
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="Names for TASK alone.", show_default="every task")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write.", show_default="standard output")
    ] = None,
) -> None:
    """Write a JSON Schema, by which an editor completes and checks a space's YAML as it is written."""
    import json

    from autoft.space.schema import space_schema

    text = json.dumps(space_schema(task), indent=1, ensure_ascii=False) + "\n"
    if out is None:
        emit(text)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable("--out", out, error) from error
    say(f"{out} is written. For an editor, the first line of a space: # yaml-language-server: $schema={out}")


def _drawn(space: "SearchSpace", number: int, seed: int) -> Iterator[Json]:
    from autoft.core.seeds import generator

    rng = generator(seed, "sample")
    for _ in range(number):
        yield space.recipe(space.sample(rng))


def _samples(space: "SearchSpace", number: int, seed: int) -> Iterator[str]:
    for index, recipe in enumerate(_drawn(space, number, seed), start=1):
        yield f"a sample (seed {seed}):" if number == 1 else f"sample {index} of {number} (seed {seed}):"
        for section, value in recipe.items():
            yield f"  {section}: {_inline(value)}"


def _size(space: "SearchSpace") -> str:
    domains = [parameter.domain for parameter in space.parameters]
    endless = sum(domain.num_values is None for domain in domains)
    branches = _counted(space.num_branches, "combination")
    parameters = _counted(len(domains), "parameter")
    return f"{branches} of branches, {parameters}, {endless} of them continuous; {_extent(space.size)}"


def _extent(size: "Size") -> str:
    if size.is_finite:
        count = _counted(size.count or 1, "configuration")
        return count if size.is_exact else f"at most {count}"
    if size.min_continuous == size.max_continuous:
        return f"{_counted(size.max_continuous, 'continuous dimension')} at a time"
    return f"{size.min_continuous} to {size.max_continuous} continuous dimensions at a time, by branch"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _tree(space: "SearchSpace") -> Iterator[str]:
    """Yield the lines of the tree, then the size."""
    from autoft.space.tree import Block

    size = space.size
    yield f"{space.name}: {space.task}, {_span(size.min_active, size.max_active)} of {len(space.parameters)} active"
    for section in space.sections:
        if isinstance(section, Block):
            yield from _block(section, "  ")
        else:
            yield f"  {section.name}: {_domain(section.value)}"
    for forbidden in space.forbidden:
        yield f"  forbidden: {_inline(forbidden.to_json())}"
    yield f"size: {_size(space)}"


def _block(block: "Block", indent: str) -> Iterator[str]:
    from autoft.space.size import branch_size, section_size

    name = block.path.rpartition(".")[2]
    size = section_size(block)
    if block.choice is None:
        (branch,) = block.branches
        head = f"{indent}{name}: {branch.label}"
    else:
        given = block.choice.domain.to_json()
        extras = [f"{key}: {_inline(given[key])}" for key in ("prior", "probabilities", "when") if key in given]
        active = _span(size.min_active, size.max_active)
        head = f"{indent}{name}: choice of {len(block.branches)}, {active} active"
        head += f" ({', '.join(extras)})" if extras else ""
    yield head
    for branch in block.branches:
        inner = indent + "  "
        if block.choice is not None:
            own = branch_size(branch)
            counts = f"{_span(own.min_active, own.max_active)} active" if own.max_active else "nothing to search"
            endless = f", {_span(own.min_continuous, own.max_continuous)} continuous" if own.max_continuous else ""
            yield f"{inner}- {branch.label}: {counts}{endless}"
            inner += "  "
        for key, value in branch.settings.items():
            if key in branch.blocks:
                yield from _block(branch.blocks[key], inner)
            else:
                yield f"{inner}{key}: {_domain(value)}"


def _domain(value: Any) -> str:
    return _inline(value.to_json()) if hasattr(value, "to_json") else _inline(value)


def _parameters(space: "SearchSpace") -> list[Json]:
    return [
        {
            "parameter": parameter.label,
            "values": _inline({key: value for key, value in parameter.domain.to_json().items() if key != "prior"}),
            "default": parameter.domain.default,
            "active when": " and ".join(
                [f"{condition.label} is {' or '.join(condition.values)}" for condition in parameter.conditions]
                + [f"{when.path}: {_inline(when.test.to_json())}" for when in parameter.when]
            ),
        }
        for parameter in space.parameters
    ]


def _inline(value: Any) -> str:
    """Return JSON values on one line, as YAML's flow style has them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
