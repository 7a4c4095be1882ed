# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as a program, without Ansible around it.

    python collection.py requests OPTIONS   prints the searches of a read that find more than one entry, as JSON
    python collection.py decode OPTIONS     reads and decodes these entries, and keeps nothing
    python collection.py read OPTIONS       reads: a snapshot, by the digests of the store that the options name
    python collection.py run OPTIONS        synchronizes, and prints the result as the module would, with the seconds
                                            that it took once everything was imported (engine_seconds), how often it
                                            began (tries), and the seconds that it waited for others (waited_seconds)

OPTIONS is a JSON file with the options of user_synchronization.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
# The checkout becomes importable as a collection by the first, and the other is imported late: see `engine_seconds`.
# What a run imports only if it needs it is imported below only where it is needed.
import conftest  # noqa: F401 # pylint: disable=unused-import
import ldap3  # noqa: F401 # pylint: disable=unused-import
from ansible_collections.usersync.directory.plugins.module_utils import _read
from ansible_collections.usersync.directory.plugins.module_utils import _synchronize as way
from ansible_collections.usersync.directory.plugins.module_utils._directory import connection, search
from ansible_collections.usersync.directory.plugins.module_utils._directory.detect import directory_type
from ansible_collections.usersync.directory.plugins.module_utils._directory.identity import identify, naming_context
from ansible_collections.usersync.directory.plugins.module_utils._directory.overrides import resolve
from ansible_collections.usersync.directory.plugins.module_utils._directory.source import Source
from ansible_collections.usersync.directory.plugins.module_utils._options import (
    CONNECTION,
    STORE,
    SYNCHRONIZATION,
    module_arguments,
)
from ansible_collections.usersync.directory.plugins.module_utils._settings import settings_from
from ansible_collections.usersync.directory.plugins.module_utils._store import for_reader, opening
from ansible_collections.usersync.directory.plugins.module_utils._store.address import File


def _warn(text: str) -> None:
    print(text, file=sys.stderr)


def read(settings):
    """What `synchronize` does until it has its snapshot."""
    from ansible_collections.usersync.directory.plugins.module_utils._directory import full

    with opening.look(settings.store) as store, connection.connect(settings, _warn) as session:
        preset = resolve(settings, directory_type(settings, session.root_dse))
        directory = identify(settings, session, preset)
        digests = for_reader.digests(for_reader.Known(store, settings.name, _read._salt(settings, preset)))
        return full.read(Source(settings, session, preset, directory, int(time.time())), digests)


def decode(settings) -> None:
    """Read what `read` reads as one who has never read it, entry by entry."""
    from ansible_collections.usersync.directory.plugins.module_utils._directory import filters, groups

    with connection.connect(settings, _warn) as session:
        preset = resolve(settings, directory_type(settings, session.root_dse))
        context = naming_context(settings, session, preset)
        for filter, attributes, page_size in (
            (preset.user_filter, filters.user_attributes(preset), session.page_size),
            (preset.group_filter, filters.group_attributes(preset), min(groups.A_PAGE, session.page_size)),
        ):
            for _entry in search.search(session, context, "sub", filter, attributes, search.How(page_size=page_size)):
                pass


def requests(settings) -> list[dict]:
    """The searches that `read` sends and that find more than one entry, as the others are to send them."""
    from ansible_collections.usersync.directory.plugins.module_utils._directory import full

    found = []
    searching = full.encoded_entries

    def recording(session, base, scope, filter, attributes, how=search.AS_USUAL):
        entries = 0
        for part in searching(session, base, scope, filter, attributes, how):
            entries += len(part)
            yield part
        if scope == "sub" and entries > 1:
            found.append(
                {
                    "base": base,
                    "filter": filter,
                    "attributes": list(attributes),
                    "page_size": how.page_size or session.page_size,
                    "entries": entries,
                }
            )

    full.encoded_entries = search.encoded_entries = recording
    read(settings)
    return found


def main(what: str, options: str) -> None:
    specification = module_arguments(CONNECTION, STORE, SYNCHRONIZATION)["argument_spec"]
    unset = {option: described.get("default") for option, described in specification.items()}
    settings = settings_from({**unset, **json.loads(Path(options).read_text(encoding="utf-8"))}, _warn)
    if what == "requests":
        print(json.dumps(requests(settings)))
    elif what == "decode":
        decode(settings)
    elif what == "read":
        read(settings)
    else:
        took = {"try": [], "lock": []}
        way._try_to_synchronize = _timed(way._try_to_synchronize, took["try"])
        if not isinstance(settings.store, File):
            import psycopg  # noqa: F401 # pylint: disable=unused-import
            from ansible_collections.usersync.directory.plugins.module_utils._store.postgresql import PostgresStore

            PostgresStore._lock = _timed(PostgresStore._lock, took["lock"])
        started = time.perf_counter()
        result = way.synchronize(settings, False, False, _warn)
        seconds = time.perf_counter() - started
        more = {"engine_seconds": seconds, "tries": len(took["try"]), "waited_seconds": sum(took["lock"])}
        print(json.dumps({**result, **more}))


def _timed(function, seconds):
    """The same function, which notes how long each call takes."""

    def timed(*arguments):
        started = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            seconds.append(time.perf_counter() - started)

    return timed


if __name__ == "__main__":
    main(*sys.argv[1:])
