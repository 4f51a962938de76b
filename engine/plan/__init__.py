"""The relational plan: what a body means as joins, before any store is chosen."""
