"""Optimizers, from torch and timm's registry, and Muon and SAM."""

from autoft.core.catalog import Argument, Entry


def _lr(default: float) -> Argument:
    return Argument(
        name="lr", type="float", default=default, low=0, low_open=True, high=10, description="Largest learning rate."
    )


def _decay(default: float) -> tuple[Argument, Argument]:
    return (
        Argument(
            name="weight_decay",
            type="float",
            default=default,
            low=0,
            high=10,
            description="Decay of the weights; of norms and biases only with decay_norms_and_biases.",
        ),
        Argument(
            name="decay_norms_and_biases",
            type="bool",
            default=False,
            description="Whether norms, biases, position embeddings and class tokens decay too, if weight_decay is "
            "above 0.",
        ),
    )


def _beta(number: int, default: float, what: str) -> Argument:
    return Argument(
        name=f"beta{number}",
        type="float",
        default=default,
        low=0,
        high=0.99999,
        description=f"Decay of the moving average of {what}.",
    )


def _betas(beta1: float, beta2: float) -> tuple[Argument, ...]:
    return _beta(1, beta1, "the gradient"), _beta(2, beta2, "the squared gradient")


def _eps(default: float) -> Argument:
    return Argument(
        name="eps",
        type="float",
        default=default,
        low=0,
        low_open=True,
        high=1,
        description="Added to the denominator; larger makes steps smaller where gradients are small.",
    )


def _momentum(default: float, what: str) -> tuple[Argument, Argument]:
    return (
        Argument(name="momentum", type="float", default=default, low=0, high=0.9999, description=what),
        Argument(
            name="nesterov",
            type="bool",
            default=True,
            description="Whether the gradient looks one step of momentum ahead; has an effect if momentum is above 0.",
        ),
    )


_STEPPING = (
    Entry(
        kind="optimizer",
        name="adamw",
        target="autoft.optim.optimizers:adamw",
        description="Adam with decoupled weight decay.",
        source="torch; Loshchilov & Hutter, arXiv:1711.05101",
        arguments=(_lr(3.0e-4), *_decay(0.01), *_betas(0.9, 0.999), _eps(1.0e-8)),
    ),
    Entry(
        kind="optimizer",
        name="sgd",
        target="autoft.optim.optimizers:sgd",
        description="Stochastic gradient descent with momentum, Nesterov's by default.",
        source="torch; Sutskever et al., ICML 2013",
        arguments=(
            _lr(1.0e-2),
            *_decay(1.0e-4),
            *_momentum(0.9, "Share of the last step that is kept."),
        ),
    ),
    Entry(
        kind="optimizer",
        name="nadamw",
        target="autoft.optim.optimizers:nadamw",
        description="AdamW with Nesterov momentum.",
        source="timm; Dozat, ICLR workshop 2016; Dahl et al., arXiv:2306.07179",
        arguments=(_lr(3.0e-4), *_decay(0.01), *_betas(0.9, 0.999), _eps(1.0e-8)),
    ),
    Entry(
        kind="optimizer",
        name="radam",
        target="autoft.optim.optimizers:radam",
        description="Adam whose first steps are rectified for their variance, with decoupled weight decay.",
        source="torch; Liu et al., arXiv:1908.03265",
        arguments=(_lr(3.0e-4), *_decay(0.01), *_betas(0.9, 0.999), _eps(1.0e-8)),
    ),
    Entry(
        kind="optimizer",
        name="lamb",
        target="autoft.optim.optimizers:lamb",
        description="Adam with steps in proportion to each layer's weights.",
        source="timm; You et al., arXiv:1904.00962",
        arguments=(_lr(1.0e-3), *_decay(0.01), *_betas(0.9, 0.999), _eps(1.0e-6)),
    ),
    Entry(
        kind="optimizer",
        name="lion",
        target="autoft.optim.optimizers:lion",
        description="The sign of an interpolated momentum; wants a rate 3 to 10 times below AdamW's.",
        source="timm; Chen et al., arXiv:2302.06675",
        arguments=(
            _lr(3.0e-5),
            *_decay(0.1),
            _beta(1, 0.9, "the gradient, in the step"),
            _beta(2, 0.99, "the gradient, that is kept"),
        ),
    ),
    Entry(
        kind="optimizer",
        name="adan",
        target="autoft.optim.optimizers:adan",
        description="Adaptive Nesterov momentum from the change of the gradient.",
        source="timm; Xie et al., arXiv:2208.06677",
        arguments=(
            _lr(3.0e-4),
            *_decay(0.02),
            _beta(1, 0.98, "the gradient"),
            _beta(2, 0.92, "the change of the gradient"),
            _beta(3, 0.99, "the squared gradient"),
            _eps(1.0e-8),
        ),
    ),
    Entry(
        kind="optimizer",
        name="adafactor",
        target="autoft.optim.optimizers:adafactor",
        description="Adam with factored second moments and steps clipped by their root mean square; little memory.",
        source="timm; Shazeer & Stern, arXiv:1804.04235",
        arguments=(
            _lr(3.0e-4),
            *_decay(0.0),
            Argument(
                name="beta1",
                type="float",
                default=None,
                low=0,
                high=0.99999,
                optional=True,
                description="Decay of the moving average of the step; null: none is kept.",
            ),
            Argument(
                name="decay_rate",
                type="float",
                default=0.8,
                low=0,
                low_open=True,
                high=1,
                description="Exponent with which the memory of squared gradients grows.",
            ),
            Argument(
                name="clip_threshold",
                type="float",
                default=1.0,
                low=0,
                low_open=True,
                description="Largest root mean square of a step before the rate.",
            ),
        ),
    ),
    Entry(
        kind="optimizer",
        name="muon",
        target="autoft.optim.optimizers:muon",
        description="Orthogonal steps for the matrices within the backbone, at AdamW's rates; AdamW for all else.",
        source="autoft; Jordan et al. 2024, kellerjordan.github.io/posts/muon; Liu et al., arXiv:2502.16982",
        arguments=(
            _lr(3.0e-4),
            *_decay(0.01),
            *_momentum(0.95, "Share of the last momentum that is kept, of matrices."),
            Argument(
                name="ns_steps",
                type="int",
                default=5,
                low=1,
                high=10,
                description="Newton-Schulz iterations that make a step orthogonal; more are slower.",
            ),
            Argument(
                name="adamw_lr_ratio",
                type="float",
                default=1.0,
                low=0,
                low_open=True,
                high=100,
                description="Rate of what AdamW steps (head, embeddings, norms, biases) over lr.",
            ),
            _beta(1, 0.9, "the gradient, of what AdamW steps"),
            _beta(2, 0.95, "the squared gradient, of what AdamW steps"),
            _eps(1.0e-8),
        ),
    ),
)

ENTRIES = (
    *_STEPPING,
    Entry(
        kind="optimizer",
        name="sam",
        target="autoft.optim.optimizers:sam",
        description="Any other optimizer, by the gradient at the worst point nearby; every update costs two.",
        source="autoft; Foret et al., arXiv:2010.01412; Kwon et al., arXiv:2102.11600 (adaptive)",
        arguments=(
            Argument(
                name="rho",
                type="float",
                default=0.05,
                low=0,
                low_open=True,
                high=10,
                description="Length of the climb to that point; adaptive wants it about 10 times as large.",
            ),
            Argument(
                name="adaptive",
                type="bool",
                default=False,
                description="Whether a weight is climbed along in proportion to its size (ASAM).",
            ),
            Argument(
                name="base",
                type="block",
                default={"name": "adamw"},
                kind="optimizer",
                choices=tuple(entry.name for entry in _STEPPING),
                description="The optimizer that steps, with its own settings, the learning rate among them.",
            ),
        ),
    ),
)
