# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""Looking somebody up by a filter, which is believed where it was seen to work.

A service that does not know a filter answers with nobody, or with everybody, and some compare with case. What is found
must match. That nobody is found counts only if the same filter has found somebody who is known to be there, by his name
in the other case.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..contract import CannotBeRead, Kind, Read, Sought
from ..http_client import Client
from .listing import matching
from .resources import NAME, PATHS, Resource, equals, id_of, is_named, path_of
from .services import Service


class LookUps:
    """Look-ups in one service. ``known`` are ids that are linked, by which a filter is tried."""

    def __init__(self, client: Client, service: Service, known: Mapping[Kind, Collection[str]]) -> None:
        self._client, self._service, self._known = client, service, known
        self._proven: dict[Kind, bool] = {}

    def found(self, sought: Sought) -> Read[dict[str, Resource]]:
        """Return who has the key or the name, by id."""
        name, path = NAME[sought.kind], PATHS[sought.kind]
        found: dict[str, Resource] = {}
        for attribute, value in (("externalId", sought.external_id), (name, sought.name)):
            if attribute not in self._service.filters or not value:
                continue
            resources = matching(self._client, path, equals(attribute, value))
            if isinstance(resources, CannotBeRead):
                return resources
            for resource in resources:
                fits = is_named(sought.kind, resource, value) if attribute == name else resource.get(attribute) == value
                number = id_of(resource)
                if not fits or number is None:
                    return CannotBeRead("the service does not filter by %s: it answers with others" % attribute)
                found[number] = resource
        if not found and not self._is_proven(sought.kind):
            return CannotBeRead("nothing proves that the service filters by %s, and without case" % name)
        return found

    def _is_proven(self, kind: Kind) -> bool:
        """Tell whether somebody who is there is found by his name."""
        if kind not in self._proven:
            self._proven[kind] = NAME[kind] in self._service.filters and any(
                self._finds(kind, number) for number in sorted(self._known.get(kind, ()))[:1]
            )
        return self._proven[kind]

    def _finds(self, kind: Kind, number: str) -> bool:
        answer = self._client.send("GET", path_of(kind, number))
        name = answer.data.get(NAME[kind]) if isinstance(answer.data, dict) else None
        if not isinstance(name, str):
            return False
        found = matching(self._client, PATHS[kind], equals(NAME[kind], name.swapcase()))
        return not isinstance(found, CannotBeRead) and [each.get("id") for each in found] == [number]
