"""Rules and facts -> verdicts and proofs."""
