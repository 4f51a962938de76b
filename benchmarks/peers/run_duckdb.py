"""DuckDB on `program.sql folder`: `$folder` in the program is the folder; the last statement gives names and counts."""

import sys
from pathlib import Path

import duckdb

connection = duckdb.connect(config={"threads": 2, "memory_limit": "4GB"})
program = Path(sys.argv[1]).read_text().replace("$folder", sys.argv[2])
for name, count in connection.execute(program).fetchall():
    print(f"{name}\t{count}")
