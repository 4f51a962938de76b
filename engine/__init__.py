"""Rules and facts -> verdicts and proofs.

The room's calls; each is imported from its module, so that what is not used (DuckDB, sqlglot) is not loaded:

- `analyse`: `load`, `load_text`, `analyse`, from rule files to `ir.Program`.
- `duckdb_store`: `DuckDBStore.open`, `.from_memory`, `.query`, `.lookup`, `.round_of`; `derive.StoreFault`.
- `check`: `check`, from a program, a store and its `facts.Coverage` to verdicts and violations.
- `statistics`: `statistics`, the counts of all candidates of a template.
- `families`: `families`, rules of one shape; `plan.build`: `compile_body`; `sql`: `query`, a plan as SQL.
- `naive`: `evaluate`, `instances`, `statistics`, what everything else must agree with.
- `provenance`, `proof`, `why_not`: why, and why not.
"""
