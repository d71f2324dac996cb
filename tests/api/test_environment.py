from pathlib import Path

from autoft.api.folder import environment, gpu_names


def test_gpus_are_named_by_the_driver_in_the_order_of_their_places(tmp_path: Path) -> None:
    for place, model in (("0000:65:00.0", "NVIDIA H200"), ("0000:17:00.0", "NVIDIA H100 80GB HBM3")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 42\nDevice Minor: \t 0\n")
    assert gpu_names(tmp_path) == ["NVIDIA H100 80GB HBM3", "NVIDIA H200"]


def test_a_machine_without_gpus_names_none(tmp_path: Path) -> None:
    assert gpu_names(tmp_path / "nothing") == []


def test_the_environment_says_versions_and_hardware() -> None:
    assert list(environment()) == ["format", "python", "packages", "system", "machine", "cores", "memory_mb", "gpus"]
