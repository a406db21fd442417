"""What can become of a call to systemd other than an answer."""


class Lost(Exception):
    """The connection broke before an answer came. The text says why, in words."""


class Refused(Exception):
    """systemd, or the bus, said no. The text is its own sentence."""

    def __init__(self, text: str, name: str = "") -> None:
        """name is that of the D-Bus error, if it is one."""
        super().__init__(text)
        self.name = name
