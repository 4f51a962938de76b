"""tcrules: find silent training errors. A run becomes facts, invariants are rules, every violation is explained."""
