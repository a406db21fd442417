"""The options by which commands find the agent and the configuration of a node."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hamgr.cli.client import RUN_DIR

CONFIG = Path("/etc/hamgr/hamgr.toml")
Command = TypeVar("Command", bound=Callable[..., Any])

run_dir_option = click.option(
    "--run-dir", type=click.Path(path_type=Path), default=RUN_DIR, envvar="HAMGR_RUN_DIR",
    show_default=True, show_envvar=True, help="Of the agent to ask.")


def config_option(use: str = "Used when no agent answers.") -> Callable[[Command], Command]:
    """Return the option that names the file; `use`: what for, in the help."""
    return click.option(
        "--config", type=click.Path(path_type=Path), default=CONFIG, envvar="HAMGR_CONFIG",
        show_default=True, show_envvar=True, help=use)
