"""The ground floor: what everything else may use, and imports nothing of autoft."""
