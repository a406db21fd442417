"""The configuration file: its schema, its checks, and what the rest of hamgr reads out of it."""
