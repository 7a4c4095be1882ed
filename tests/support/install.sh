# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# To be sourced: finds and installs what tests and benchmarks need. The caller sets $checkout, and $work to a temporary
# directory of its own.

: "${checkout:?}" "${work:?}"
cache=${USERSYNC_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/usersync-tests}
mkdir -p "$cache"
export PIP_DISABLE_PIP_VERSION_CHECK=1

# need PACKAGE...: install Debian packages that are missing.
need() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2> /dev/null | grep -q '^ii' || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    if ! command -v apt-get > /dev/null || ((EUID != 0)); then
        echo "Not installed: ${missing[*]}. Install them, as root: apt-get install --no-install-recommends ${missing[*]}" >&2
        return 1
    fi
    echo "Installing ${missing[*]}"
    (
        flock 9
        # A packaged slapd or Samba must not start: the test servers need their ports.
        if [[ ! -e /usr/sbin/policy-rc.d ]]; then
            trap 'rm -f /usr/sbin/policy-rc.d' EXIT
            printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
            chmod 755 /usr/sbin/policy-rc.d
        fi
        export DEBIAN_FRONTEND=noninteractive
        if ! { apt-get -qq update && apt-get -qq -y install --no-install-recommends "${missing[@]}"; } > "$work/apt.log" 2>&1 < /dev/null; then
            tail -n 20 "$work/apt.log" >&2
            exit 1
        fi
    ) 9> "$cache/lock"
}

# find_python VERSION: print the path of such an interpreter that can make virtual environments.
find_python() {
    local candidate
    # pyenv's shims look like interpreters and are none: its real ones come first.
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python"$1" /usr/local/bin/python"$1" /usr/bin/python"$1"; do
        if "$candidate" -c 'import ensurepip, venv' 2> /dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# first_python WHAT-FOR VERSION...: the first of these that is there.
first_python() {
    local what=$1 version
    shift
    for version in "$@"; do find_python "$version" && return; done
    echo "Not run: $what needs one of these Pythons, with venv: $*" >&2
    return 1
}

# make_venv NAME PYTHON PIP-ARGUMENTS...: print the path of a virtual environment that has just this.
make_venv() {
    local name=$1 python=$2 key venv
    shift 2
    # The same for each checkout of it, wherever that lies.
    key=$({ "$python" -V; echo "${@//"$checkout"/}"; cat "$checkout"/requirements.txt "$checkout"/tests/requirements*.txt; } | sha256sum | cut -c1-12)
    venv=$cache/venv/$name-$key
    (
        flock 9
        [[ -e $venv/complete ]] && exit
        echo "Making a virtual environment for $name" >&2
        rm -rf "$venv"
        if ! "$python" -m venv "$venv" || ! "$venv/bin/pip" install -q "$@" > "$work/pip.log" 2>&1; then
            tail -n 20 "$work/pip.log" >&2
            exit 1
        fi
        touch "$venv/complete"
    ) 9> "$cache/lock" || return
    echo "$venv"
}
