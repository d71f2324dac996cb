"""One trial, without Ray: a configuration and data in, an `EpochResult` after each epoch out."""
