"""What the leader decides: when to take the record, who holds and inherits each group, and why."""
