"""What to do next: searchers choose what to start, schedulers who goes on, a composite asks both.

Every decision is a pure function of the history, so that resume, replay and determinism need nothing else.
"""

from autoft.strategies.base import (
    Continue,
    Decision,
    Done,
    History,
    Pause,
    Promotion,
    Scheduler,
    Searcher,
    Start,
    Stop,
    Strategy,
    Suggestion,
    TrialView,
    Verdict,
    Wait,
)
from autoft.strategies.composite import Composite, build_strategy

__all__ = [
    "Composite",
    "Continue",
    "Decision",
    "Done",
    "History",
    "Pause",
    "Promotion",
    "Scheduler",
    "Searcher",
    "Start",
    "Stop",
    "Strategy",
    "Suggestion",
    "TrialView",
    "Verdict",
    "Wait",
    "build_strategy",
]
