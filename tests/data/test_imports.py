import subprocess
import sys

import pytest


@pytest.mark.parametrize("room", ["data", "evaluation"])
def test_a_room_of_the_driver_loads_no_heavy_library(room):
    heavy = ("torch", "pandas", "sklearn", "timm", "transformers", "ray", "datasets")
    code = f"import sys, autoft.{room}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_preparing_a_table_loads_no_torch(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"text {index},{index % 2}\n" for index in range(20)))
    code = (
        "import sys; from pathlib import Path; from autoft.core.configs import DataSpec;"
        "from autoft.data import prepare;"
        f"prepare({str(tmp_path / 'a.csv')!r}, DataSpec(source=None), out=Path({str(tmp_path)!r}));"
        "print([name for name in ('torch', 'sklearn', 'transformers') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
