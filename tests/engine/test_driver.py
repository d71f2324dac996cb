import subprocess
import sys

HEAVY = ("torch", "torchvision", "timm", "transformers", "sklearn", "hyperopt")


def modules_after(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_driver_of_a_search_loads_no_library_that_trains():
    loaded = modules_after("import autoft.engine.search, autoft.engine.binding, autoft.engine.cluster")
    assert "ray" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_ray_is_loaded_when_a_search_starts_and_not_before():
    assert "ray" not in modules_after("import autoft.engine.search, autoft.engine.machine")
