"""How a pretrained backbone is fine-tuned."""

from autoft.core.catalog import Argument, Entry

_LAYER_DECAY = Argument(
    name="layer_decay",
    type="float",
    default=1.0,
    low=0,
    low_open=True,
    high=1,
    description="Factor on the learning rate per layer group from the head toward the input.",
)
_L2_SP = Argument(
    name="l2_sp",
    type="float",
    default=0.0,
    low=0,
    high=100,
    description="Strength of the pull back to the pretrained weights (L2-SP, arXiv:1802.01483); 0: none.",
)
PROBE_ROWS = 5000
"""Training rows that a probe is solved on at most, unless its configuration says otherwise."""
_PROBE_ROWS = Argument(
    name="probe_rows",
    type="int",
    default=PROBE_ROWS,
    low=1,
    high=10_000_000,
    description="The most training rows that the head is solved on; of more a stratified sample is drawn.",
)
_ADAPTER_ARGUMENTS = (
    Argument(name="rank", type="int", default=8, low=1, high=1024, description="Rank of each layer's change."),
    Argument(
        name="alpha",
        type="float",
        default=16.0,
        low=0,
        low_open=True,
        high=4096,
        description="Scale of the change: it is multiplied by alpha / rank.",
    ),
    Argument(
        name="dropout", type="float", default=0.0, low=0, high=0.95, description="Dropout before each layer's change."
    ),
    Argument(
        name="targets",
        type="str",
        default="attention",
        choices=("attention", "all"),
        description="Linear layers that change: those of attention, or all of the blocks.",
    ),
)

ENTRIES = (
    Entry(
        kind="finetune",
        name="probe",
        target="autoft.training.probe:Probe",
        description="Frozen features and a linear head by a fixed solver; each backbone's probe starts every search.",
        source="Alain & Bengio, arXiv:1610.01644; Kornblith et al., arXiv:1805.08974",
        arguments=(_PROBE_ROWS,),
    ),
    Entry(
        kind="finetune",
        name="head",
        target="autoft.training.finetune.modes:head_only",
        description="The head by gradient steps on a frozen backbone.",
        source="Kornblith et al., arXiv:1805.08974",
    ),
    Entry(
        kind="finetune",
        name="full",
        target="autoft.training.finetune.modes:full",
        description="All weights: smaller steps toward the input, fresh top layers, a pull to the start, if wanted.",
        source="Clark et al., ELECTRA, arXiv:2003.10555 (layer decay); Zhang et al., arXiv:2006.05987 (fresh layers)",
        arguments=(
            _LAYER_DECAY,
            Argument(
                name="reinit_groups",
                type="int",
                default=0,
                low=0,
                high=1000,
                description="Last layer groups of the backbone that start from fresh weights; at most all but one.",
            ),
            _L2_SP,
        ),
    ),
    Entry(
        kind="finetune",
        name="lp_ft",
        target="autoft.training.finetune.lp_ft:lp_ft",
        description="All weights, from the probe's head; batch norms keep their statistics.",
        source="Kumar et al., arXiv:2202.10054",
        arguments=(_LAYER_DECAY, _L2_SP, _PROBE_ROWS),
    ),
    Entry(
        kind="finetune",
        name="partial",
        target="autoft.training.finetune.modes:partial",
        description="The first layer groups stay frozen, the others learn.",
        source="Yosinski et al., How transferable are features in deep neural networks?, arXiv:1411.1792",
        arguments=(
            Argument(
                name="frozen_groups",
                type="int",
                default=1,
                low=1,
                high=1000,
                description="First layer groups of the backbone that stay as they are; at most all but one.",
            ),
            _LAYER_DECAY,
            _L2_SP,
        ),
    ),
    Entry(
        kind="finetune",
        name="gradual",
        target="autoft.training.finetune.modes:gradual",
        description="The head first, then one layer group after another from the output.",
        source="Howard & Ruder, ULMFiT, arXiv:1801.06146",
        arguments=(
            Argument(
                name="unfreeze_fraction",
                type="float",
                default=0.5,
                low=0,
                low_open=True,
                high=1,
                description="Part of the epochs by whose last one all groups learn; the second epoch at the earliest.",
            ),
            _LAYER_DECAY,
            _L2_SP,
        ),
    ),
    Entry(
        kind="finetune",
        name="norm_bias",
        target="autoft.training.finetune.modes:norm_bias",
        description="Norms, biases and the head.",
        source="Ben Zaken et al., BitFit, arXiv:2106.10199; Frankle et al., arXiv:2003.00152",
    ),
    Entry(
        kind="finetune",
        name="lora",
        target="autoft.training.finetune.modes:adapters_only",
        description="A change of low rank beside each linear layer, and the head.",
        source="Hu et al., LoRA, arXiv:2106.09685; peft",
        arguments=_ADAPTER_ARGUMENTS,
    ),
    Entry(
        kind="finetune",
        name="dora",
        target="autoft.training.finetune.modes:adapters_only",
        description="LoRA on the direction of each weight, with a length that learns by itself, and the head.",
        source="Liu et al., DoRA, arXiv:2402.09353; peft",
        arguments=_ADAPTER_ARGUMENTS,
    ),
    Entry(
        kind="finetune",
        name="ia3",
        target="autoft.training.finetune.modes:adapters_only",
        description="Learned factors on keys, values and inner activations, and the head.",
        source="Liu et al., (IA)^3, arXiv:2205.05638; peft",
    ),
)
