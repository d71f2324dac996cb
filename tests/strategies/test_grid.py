from autoft.space import Choice, SearchSpace, Uniform
from autoft.strategies import Composite, Start
from autoft.strategies.grid import Grid
from autoft.strategies.rungs import RunToEnd
from autoft.strategies.simulate import simulate
from tests.strategies.worlds import history

DECAY = "optimizer[adamw].weight_decay"
SPACE = SearchSpace(
    task="image-classification",
    backbone="timm:resnet18",
    optimizer={"name": "adamw", "weight_decay": Uniform(0.0, 0.6, prior=0.5)},
    batch_size=Choice([8, 16]),
)


def test_all_points_come_before_any_other():
    search = simulate(
        Composite(searcher=Grid(points=3), scheduler=RunToEnd()),
        history(space=SPACE, trials=8, epochs=1, slots=1),
        lambda view: [0.5],
    )
    starts = [one for one in search.decisions if isinstance(one, Start) and one.kind == "trial"]
    points = {(one.assignment["batch_size"], round(one.assignment[DECAY], 6)) for one in starts[:6]}
    assert points == {(size, decay) for size in (8, 16) for decay in (0.1, 0.3, 0.5)}
    assert [one.reason for one in starts[6:]] == ["a random draw: the grid seems to hold no other point"] * 2
