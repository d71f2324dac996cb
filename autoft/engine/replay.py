"""Takes the decisions of a recorded search again, from the order in which results came, and compares."""

from dataclasses import dataclass

from autoft.core.configs import Budget, EpochResult, SearchConfig
from autoft.core.jsonable import Json
from autoft.core.recipe import complete
from autoft.core.storage import Store
from autoft.engine.ledger import Entry, Ledger
from autoft.engine.strategy import strategy_of
from autoft.record.reader import read_events
from autoft.space import SearchSpace
from autoft.strategies import Decision, History, Start, TrialView
from autoft.strategies.advance import trial_name
from autoft.strategies.costs import epoch_cost
from autoft.strategies.experience import Experience

COMPARED = ("action", "trial", "until_epoch", "reason")


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The first decision that is not taken again."""

    number: int
    """Of the decision in the record, from 1."""
    recorded: Json
    """Its action, trial, until_epoch and reason; of a start, the assignment too."""
    now: Json
    """Those of the decision that is taken now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """How far the decisions were the same."""

    num_decisions: int
    """Decisions that were taken again, one that differs included."""
    difference: Difference | None


def replay(search: SearchConfig, store: Store, *, evidence: Experience | None = None) -> Replay:
    """Decide again at every recorded decision, on what was known then, up to the first that differs.

    Args:
        search: Of the run.
        store: The run folder.
        evidence: What earlier searches found: the content of the run's experience.parquet.

    Raises:
        FormatError: If the folder holds no run, or its record is damaged or of a newer format.
    """
    space = SearchSpace.from_record(search.space)
    strategy = strategy_of(search.searcher, search.scheduler)
    ledger = Ledger(search, evidence=evidence)
    events = list(read_events(store))
    assignments = {event["trial"]: event["assignment"] for event in events if event["event"] == "trial"}
    budget, slots, count = search.budget, 1, 0
    for event in events:
        match event["event"]:
            case "search":
                slots = event.get("slots", slots)
                budget = Budget(**event["budget"]) if "budget" in event else budget
                if budget.seconds is not None:
                    ledger.ask_after_each_epoch()
            case "places":
                slots = event["slots"]
            case "decision":
                seconds = event.get("seconds") or (0.0, 0.0)
                history = ledger.history(space, budget=budget, slots=slots, seconds=(seconds[0], seconds[1]))
                decision = strategy.next(history)
                recorded, now = {key: event[key] for key in COMPARED}, _compared(decision, history)
                if "assignment" in now and event["trial"] in assignments:
                    recorded["assignment"] = assignments[event["trial"]]
                else:
                    now.pop("assignment", None)
                count += 1
                if now != recorded:
                    return Replay(
                        num_decisions=count,
                        difference=Difference(number=event["number"], recorded=recorded, now=now),
                    )
                if event["action"] == "continue":
                    ledger.grant(event["trial"], event["until_epoch"])
            case _:
                _learn(ledger, event)
    return Replay(num_decisions=count, difference=None)


def _compared(decision: Decision, history: History) -> Json:
    """Return of a decision what is recorded of one."""
    if isinstance(decision, Start):
        form = decision.to_json()
        return {key: form[key] for key in COMPARED if key != "trial"} | {
            "trial": trial_name(history, decision),
            "assignment": form["assignment"],
        }
    form = {"trial": None, "until_epoch": None, **decision.to_json()}
    return {key: form[key] for key in COMPARED}


def _learn(ledger: Ledger, event: Json) -> None:
    """Take what an event tells of a trial."""
    match event["event"]:
        case "trial":
            view = TrialView(
                trial=event["trial"],
                kind=event["kind"],
                assignment=event["assignment"],
                until_epoch=event["until_epoch"],
                epoch_cost=epoch_cost(complete(event["config"]["recipe"], task=event["config"]["task"])),
                confirms=event.get("confirms"),
            )
            ledger.add(Entry(view=view, config=event["config"]))
        case "epoch":
            ledger.add_epoch(event["trial"], EpochResult.from_json(event["result"], where="the record"))
        case "status":
            ledger.set_status(event["trial"], event["status"], event["reason"])
