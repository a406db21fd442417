"""The command `hamgr`, one file a family of commands."""
