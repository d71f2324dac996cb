"""Tasks, each with the recipe that fills in what a space leaves out."""

from autoft.core.catalog import Entry

ENTRIES = (
    Entry(
        kind="task",
        name="image-classification",
        target="autoft.tasks.classification:ImageClassification",
        description="One of several labels for a picture.",
        source="autoft",
        facts={
            "input": "image",
            "metric": "accuracy",
            "space": "image-classification/default",
            "recipe": {
                "backbone": {"name": "timm:tf_efficientnet_lite0"},
                "finetune": {"mode": "full"},
                "augmentation": {"name": "crop_flip"},
                "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
                "optimizer": {"name": "adamw", "lr": 3.0e-4, "weight_decay": 0.05},
                "schedule": {"name": "cosine", "warmup_fraction": 0.1},
                "batch_size": 32,
            },
        },
    ),
    Entry(
        kind="task",
        name="text-classification",
        target="autoft.tasks.classification:TextClassification",
        description="One of several labels for a text.",
        source="autoft",
        facts={
            "input": "text",
            "metric": "accuracy",
            "space": "text-classification/default",
            "recipe": {
                "backbone": {"name": "hf:sentence-transformers/all-MiniLM-L6-v2"},
                "finetune": {"mode": "full"},
                "augmentation": {"name": "none"},
                "loss": {"name": "cross_entropy"},
                "optimizer": {"name": "adamw", "lr": 5.0e-5, "weight_decay": 0.01},
                "schedule": {"name": "linear", "warmup_fraction": 0.1},
                "batch_size": 16,
            },
        },
    ),
)
