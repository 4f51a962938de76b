"""Facts in files: `<relation>.facts`, `.tsv`, `.csv`, `.parquet` to columns of arrays, and back.

- `read`: `find`, `read_relation`; `write`: `write_relation`; `faults`: `FileFault`, with all faults of a file.
- `quick` reads text at the speed of NumPy, or not at all; `careful` reads it line by line and says what is wrong.
"""
