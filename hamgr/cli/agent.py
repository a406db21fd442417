"""`hamgr agent`: be the agent of this node, or clean up after one that is gone."""

import sys
from pathlib import Path

import click

from hamgr.adapters.runlock import AgentRunsError
from hamgr.config.document import DEFAULT_FILE
from hamgr.config.faults import ConfigError
from hamgr.config.identity import (
    IdentityError,
    NoNodeFitsError,
    addresses_here,
    find_self,
    host_names,
)
from hamgr.config.private import KeyFileError
from hamgr.daemon import cleanup, run
from hamgr.place import find

EX_CONFIG = 78
"""Exit status for a configuration that cannot be used (sysexits.h): no restart would help."""


@click.command()
@click.option("--config", type=click.Path(path_type=Path), default=Path(DEFAULT_FILE),
              show_default=True)
@click.option("--node", envvar="HAMGR_NODE", show_envvar=True, metavar="NAME",
              help="Which node this is; default: found by host name or address.")
@click.option("--run-dir", type=click.Path(path_type=Path), default=Path("/run/hamgr"),
              show_default=True)
@click.option("--state-dir", type=click.Path(path_type=Path), default=Path("/var/lib/hamgr"),
              show_default=True)
@click.option("--cleanup", "only_clean", is_flag=True,
              help="Remove what an agent that is gone has left here, and exit.")
def agent(
    config: Path, node: str | None, run_dir: Path, state_dir: Path, only_clean: bool
) -> None:
    """Run the agent on this node, in the foreground. Several can run on one machine, each in a
    network namespace of its own, with its own run and state directory.

    SIGTERM and SIGINT stop it in order (what is active here is handed over), a second one at once.
    SIGHUP takes a changed key file over, checks the configuration file, and logs what is wrong or
    new.

    Exit status: 0 stopped in order, or clean; 1 it could not start, which may be mended by trying
    again, or was stopped by a second signal, or something is left; 70 a bug of hamgr, after
    everything exclusive was stopped; 78 the configuration cannot be used.

    Environment, beside the options': NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, JOURNAL_STREAM and
    CREDENTIALS_DIRECTORY, as systemd sets them.
    """
    try:
        place = find(config, lambda document: find_self(
            document, node, host_names(), addresses_here(document)), run_dir, state_dir,
                     files=not only_clean)
        if only_clean:
            cleanup(place)
            click.echo(f"nothing of cluster {place.document.cluster.name} is left on {place.node}")
        else:
            sys.exit(run(place))
    except NoNodeFitsError as error:
        # Early in a boot a node may have no address yet: status 78 would keep it out for good.
        later = ("an agent that starts here cleans up first" if only_clean
                 else "hamgr.service tries again each second")
        click.echo(f"hamgr agent: {error}; {later}", err=True)
        sys.exit(1)
    except (ConfigError, IdentityError, KeyFileError) as error:
        click.echo(error, err=True)
        sys.exit(EX_CONFIG)
    except (AgentRunsError, OSError) as error:
        click.echo(f"hamgr agent: {error}", err=True)
        sys.exit(1)
