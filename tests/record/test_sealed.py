from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from autoft.core.storage import Store
from autoft.record.columns import integers
from autoft.record.sealed import SealedTable
from autoft.record.tables import SCHEMAS


def test_what_is_read_holds_no_memory_of_pythons(tmp_path: Path) -> None:
    """A thread of Arrow's that let go of it while the interpreter ends would abort the process."""
    schema = SCHEMAS["decisions"]
    pq.write_table(schema.empty_table(), tmp_path / "decisions.parquet")
    before = pa.total_allocated_bytes()
    content = Store.open(tmp_path).read_buffer("decisions.parquet")
    assert pa.total_allocated_bytes() >= before + content.size
    table = SealedTable(content, schema, where="decisions.parquet", from_seq=0)
    assert np.array_equal(integers(table.column("seq")), [])
