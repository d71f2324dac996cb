"""A search on Ray Tune: decisions by a strategy, trials in warm workers, everything in the record.

`search.run_search` is the door. Nothing here imports torch in the driver; a worker does, through the factory that
`job.WorkerSpec` names.
"""
