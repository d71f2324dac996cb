"""What happened in a search: one writer journals it, readers follow it, and it becomes the leaderboard."""

from autoft.record.lock import is_left
from autoft.record.model import Decision, Record, TrialRow
from autoft.record.ranking import leading, winner
from autoft.record.reader import RecordReader, follow, read_events, read_record
from autoft.record.writer import RecordWriter

__all__ = [
    "Decision",
    "Record",
    "RecordReader",
    "RecordWriter",
    "TrialRow",
    "follow",
    "is_left",
    "leading",
    "read_events",
    "read_record",
    "winner",
]
