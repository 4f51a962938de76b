"""Traces of TrainCheck (the folder that `traincheck-collect` writes) become runs.

- `importer`: from a trace folder to a run folder.
- `header`: what the folder says about itself: the script, sampling, which functions were traced.
- `process`: the records of one process: steps, ranks, gaps; `calls`: nesting; `events`: facts with a relation of the
  schema; `details`, `values`: everything else.
- `relations`: the user relations that hold what the schema has no relation for.
"""
