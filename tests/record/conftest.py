"""The stores on which the record's contract is tested."""

from pathlib import Path

import pytest
from pyarrow import fs

from autoft.core.storage import Store
from tests.s3 import Server


@pytest.fixture(params=["local disk", "object store", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local disk":
        return Store.open(tmp_path / "run")
    if request.param == "s3":
        server: Server = request.getfixturevalue("s3")
        return Store.open(server.uri("run"))
    if request.param == "memory":
        return Store(fs._MockFileSystem(), "bucket/run", False)
    # The same disk, but as a store whose files are written whole and never appended to.
    (tmp_path / "bucket").mkdir()
    return Store(fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem()), "run", False)
