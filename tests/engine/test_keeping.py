"""Which checkpoints a running search keeps."""

from autoft.core.configs import EpochResult
from autoft.core.storage import Store
from autoft.engine.keeping import MANY, Pruner
from autoft.engine.ledger import Entry, Ledger
from autoft.strategies import TrialView


class Search:
    """A ledger and the checkpoints that workers would write, without workers."""

    def __init__(self, search, store: Store) -> None:
        self.store, self.ledger = store, Ledger(search)
        self.pruner = Pruner(store, self.ledger, keep=search.keep)

    def start(self, number: int) -> str:
        trial = f"t{number:04d}"
        view = TrialView(trial=trial, kind="trial", assignment={}, until_epoch=1)
        self.ledger.add(Entry(view=view, config={}))
        self.write(trial)
        return trial

    def write(self, trial: str) -> None:
        for name in ("best.safetensors", "last.safetensors"):
            self.store.write(f"checkpoints/{trial}/{name}", b"{}")

    def end(self, trial: str, value: float, status: str = "completed", **costs: float) -> None:
        metrics = {"val_accuracy": value, **costs}
        result = EpochResult(epoch=1, metrics=metrics, seconds=1.0, status="running", is_best=True)
        self.ledger.add_epoch(trial, result)
        self.ledger.set_status(trial, status, "")
        self.pruner()

    def folders(self) -> list[str]:
        return self.store.list("checkpoints")


def test_the_leading_trials_keep_their_best_and_unfinished_ones_all(make_search, tmp_path):
    s = Search(make_search(keep=2), Store.open(tmp_path))
    trials = [s.start(number) for number in range(1, 6)]
    for trial, value in zip(trials[:3], (0.2, 0.1, 0.3), strict=True):
        s.end(trial, value)
    s.end(trials[3], 0.0, "paused")
    assert s.folders() == ["t0001", "t0003", "t0004", "t0005"]
    assert s.store.list("checkpoints/t0001") == s.store.list("checkpoints/t0003") == ["best.safetensors"]
    assert (
        s.store.list("checkpoints/t0004")
        == s.store.list("checkpoints/t0005")
        == ["best.safetensors", "last.safetensors"]
    )


def test_in_a_large_search_what_ends_is_removed_at_once_and_what_is_written_afterwards_a_little_later(
    make_search, tmp_path
):
    s = Search(make_search(keep=2), Store.open(tmp_path))
    trials = [s.start(number) for number in range(1, 4 * MANY)]
    late = []
    for count, trial in enumerate(trials[: 2 * MANY], start=1):
        s.end(trial, count / 1000)
        kept = {f"t{count:04d}", f"t{count - 1:04d}"} if count > 1 else {trial}
        late = [name for name in s.folders() if name not in kept and name not in trials[count:]]
        if count == 4:
            assert late == []
            s.write("t0001")
    assert late == []
    short = s.start(4 * MANY)
    s.end(short, 0.0)
    assert short not in s.folders()


def test_of_a_leading_trial_that_ends_the_state_to_go_on_from_is_removed(make_search, tmp_path):
    s = Search(make_search(keep=1), Store.open(tmp_path))
    trial = s.start(1)
    s.store.write(f"checkpoints/{trial}/former.safetensors", b"{}")
    s.end(trial, 0.5)
    assert s.store.list(f"checkpoints/{trial}") == ["best.safetensors"]


def front_of(make_search, tmp_path, *points: tuple[float, float, str]) -> Search:
    """Return a search by accuracy and latency whose trials ended so, one after the other, of which two are kept."""
    s = Search(make_search(keep=2, metrics=("accuracy", "-latency_ms"), confirm=1), Store.open(tmp_path))
    for number, (accuracy, latency, status) in enumerate(points, start=1):
        s.end(s.start(number), accuracy, status, latency_ms=latency)
    return s


def test_of_a_front_who_may_lead_again_once_others_are_pushed_off_it_stays(make_search, tmp_path):
    points = [(0.9, 9.0), (0.8, 8.0), (0.7, 7.0), (0.6, 7.5), (0.5, 7.5)]
    s = front_of(make_search, tmp_path, *((*point, "completed") for point in points))
    assert s.ledger.ranking()[:2] == ["t0001", "t0002"]
    assert s.folders() == ["t0001", "t0002", "t0003", "t0004"]
    assert {tuple(s.store.list(f"checkpoints/{trial}")) for trial in s.folders()} == {("best.safetensors",)}
    s.end(s.start(6), 0.95, latency_ms=7.7)
    assert s.ledger.ranking()[:2] == ["t0006", "t0003"]
    assert s.folders() == ["t0001", "t0002", "t0003", "t0004", "t0006"]
    s.end(s.start(7), 0.95, latency_ms=6.0)
    assert s.folders() == ["t0003", "t0006", "t0007"]


def test_of_a_front_who_leads_only_because_others_are_paused_puts_nobody_off(make_search, tmp_path):
    points = [(0.7, 3.0, "completed"), (0.95, 4.0, "paused"), (0.9, 9.0, "completed"), (0.8, 8.0, "completed")]
    s = front_of(make_search, tmp_path, *points)
    assert s.ledger.ranking()[:2] == ["t0002", "t0001"]
    assert "t0001" in s.folders()


def test_of_equals_on_a_front_the_earlier_ones_are_kept(make_search, tmp_path):
    s = front_of(make_search, tmp_path, *[(0.5, 1.0, "completed")] * 4)
    assert s.folders() == ["t0001", "t0002"]


def test_a_store_is_asked_to_remove_only_what_it_may_hold(make_search, s3):
    s = Search(make_search(keep=1), Store.open(s3.uri("run")))
    trial = s.start(1)
    with s3.counted() as requests:
        s.end(trial, 0.5)
    assert s.store.list(f"checkpoints/{trial}") == ["best.safetensors"]
    # The list of folders; then pyarrow looks, removes, and leaves a mark of the folder.
    folder = f"{s3.bucket}/run/checkpoints/{trial}"
    assert [(request.method, request.path) for request in requests] == [
        ("GET", s3.bucket),
        ("HEAD", f"{folder}/last.safetensors"),
        ("DELETE", f"{folder}/last.safetensors"),
        ("PUT", folder),
    ]
