"""Facts from elsewhere become run folders: traces of TrainCheck, CSV and Parquet files.

- `target`: a run folder that is being written, whatever its source.
- `lines`, `tally`: JSON lines of damaged files, and an account of what was left out.
- `traincheck/`: the predecessor's traces.
- `files`, `text`, `parquet`: files that are named after relations.
"""
