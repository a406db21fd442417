"""Looks at this machine and its surroundings, changes nothing, and makes facts of what it sees."""
