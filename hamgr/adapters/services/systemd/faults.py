"""What can become of a call to systemd other than an answer."""


class Lost(Exception):
    """The connection broke before an answer came. The text says why, in words."""


class Refused(Exception):
    """systemd, or the bus, said no. The text is its own sentence."""
