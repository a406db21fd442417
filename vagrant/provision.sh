#!/bin/bash
# Makes this machine a node with ZooKeeper and hamgr from the working tree.
# Usage: provision.sh NAME ADDRESS..., with the addresses of n1, n2, ... on ring 1. Safe to repeat.
set -euo pipefail
SOURCE=/usr/src/hamgr
PREFIX=/opt/hamgr
name=$1
shift
export DEBIAN_FRONTEND=noninteractive

set_up_zookeeper() {
    apt-get install -qy --no-install-recommends zookeeper
    local number=0 address
    {
        grep -v '^server\.' "$SOURCE/systemd/zoo.cfg"
        for address in "$@"; do
            printf 'server.%d=%s:2888:3888\n' $((number += 1)) "$address"
        done
    } >/etc/zookeeper/conf/zoo.cfg
    install -d -o zookeeper -g zookeeper /var/lib/zookeeper
    printf '%s\n' "${name#n}" >/var/lib/zookeeper/myid
}

set_up_hamgr() {
    [[ -x $PREFIX/bin/python3 ]] || python3 -m venv "$PREFIX"
    "$PREFIX/bin/pip" install -qq --disable-pip-version-check "$SOURCE"
    ln -sf "$PREFIX/bin/hamgr" /usr/local/bin/hamgr
    install -d -m 0755 /etc/hamgr
    install -m 0644 "$SOURCE/vagrant/hamgr.toml" /etc/hamgr/hamgr.toml
    if [[ -e /tmp/cluster.key ]]; then
        install -m 0600 -o root -g root /tmp/cluster.key /etc/hamgr/cluster.key
        rm /tmp/cluster.key
    fi
    "$PREFIX/bin/hamgr" config check /etc/hamgr/hamgr.toml
}

start() {
    install -m 0644 "$SOURCE"/systemd/*.service "$SOURCE"/systemd/*.socket /etc/systemd/system/
    install -m 0644 "$SOURCE/systemd/hamgr.sysctl.conf" /etc/sysctl.d/60-hamgr.conf
    sysctl -q --load /etc/sysctl.d/60-hamgr.conf
    systemctl daemon-reload
    systemctl enable --now hamgr-zookeeper.service hamgr-deadman.socket
    systemctl enable hamgr.service
    # The first node has no ZooKeeper majority yet: do not wait for it here.
    systemctl restart --no-block hamgr.service
}

"$SOURCE/.ci/setup" --packages
set_up_zookeeper "$@"
set_up_hamgr
start
