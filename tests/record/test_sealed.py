import io
import sys

import numpy as np
import pyarrow.parquet as pq

from autoft.record.columns import integers
from autoft.record.sealed import SealedTable
from autoft.record.tables import SCHEMAS


def test_what_is_read_holds_no_memory_of_pythons() -> None:
    """A thread of Arrow's that let go of it while the interpreter ends would abort the process."""
    schema = SCHEMAS["decisions"]
    stream = io.BytesIO()
    pq.write_table(schema.empty_table(), stream)
    content = stream.getvalue()
    before = sys.getrefcount(content)
    table = SealedTable(content, schema, where="decisions.parquet", from_seq=0)
    assert np.array_equal(integers(table.column("seq")), [])
    assert sys.getrefcount(content) == before
