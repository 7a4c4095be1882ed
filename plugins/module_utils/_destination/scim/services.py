# Copyright (c) 2026 usersync.directory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# PRIVATE: for this collection only; may change in any release.

"""What is known of services that speak SCIM, and is not as RFC 7644 has it. Each has the source of the facts.

What a service says of itself (`ServiceProviderConfig`) counts where nothing stands here, and single options count more
than both.
"""

from __future__ import annotations

from enum import Enum

from ..._named_tuple import NamedTuple
from ..contract import Kind


class Paging(Enum):
    """How a service gives a long list."""

    INDEX = "index"  # RFC 7644, 3.4.2.4
    CURSOR = "cursor"  # RFC 9865
    WHOLE = "whole"  # all in one answer, whatever is asked for


class Members(Enum):
    """Where a service shows the members of a group."""

    IN_LISTS = "in_lists"
    SINGLY = "singly"  # only where one group is asked for
    NEVER = "never"


class Service(NamedTuple):
    """How one service is spoken to. What is None is as the service says itself, else as in the RFC."""

    source: str
    kinds: frozenset[Kind] = frozenset(Kind)
    lists: frozenset[Kind] = frozenset(Kind)
    paging: Paging | None = None
    page_size: int = 100
    members: Members = Members.IN_LISTS
    patches: bool | None = None  # else PUT
    puts: bool = True
    filters: frozenset[str] = frozenset({"userName", "externalId", "displayName"})  # by which eq finds something
    largest_change: int = 100  # members in one PATCH
    removes_by_value: bool = False  # as Entra does: `path: members, value: [...]`, not `members[value eq "..."]`
    nests: bool = False
    deletes: bool = True
    later_in_500: str = ""  # said in an answer of 500 that means 429
    writes_per_minute: int | None = None  # that are let through; None: it asks to wait


_ACCOUNTS = frozenset({Kind.ACCOUNT})
_NOTHING: frozenset[Kind] = frozenset()

SERVICES = {
    "rfc": Service("RFC 7643, RFC 7644, RFC 9865", nests=True),
    "authentik": Service(
        "https://docs.goauthentik.io/docs/sources/scim: Users, Groups, ServiceProviderConfig, ResourceTypes; nothing "
        "that differs is known",
    ),
    "aws_identity_center": Service(
        "https://docs.aws.amazon.com/singlesignon/latest/developerguide/limitations.html: filters eq and and, no "
        "replace of members; .../patchgroup.html: 100 members; .../getgroup.html: groups show no members. Lists gave "
        "50 and said that these were all, until 2026 (https://github.com/awslabs/ssosync/issues/1): reading on tells.",
        patches=True,
        puts=False,
        page_size=50,
        largest_change=100,
        members=Members.NEVER,
    ),
    "databricks": Service(
        "https://github.com/databricks/databricks-sdk-go/pull/721: 500 with REQUEST_LIMIT_EXCEEDED; "
        "https://github.com/databrickslabs/ucx/pull/660: lists of groups are asked for without members",
        later_in_500="REQUEST_LIMIT_EXCEEDED",
        members=Members.SINGLY,
        nests=True,
    ),
    "entra": Service(
        "https://learn.microsoft.com/en-us/entra/identity/app-provisioning/entra-id-scim-api-reference: cursors only, "
        "no PUT, no totalResults",
        paging=Paging.CURSOR,
        patches=True,
        puts=False,
    ),
    "github": Service(
        "https://docs.github.com/en/enterprise-cloud@latest/admin/managing-iam/provisioning-user-accounts-with-scim/"
        "provisioning-users-and-groups-with-scim-using-the-rest-api: 1,000 users in an hour, 1,000 members of a group "
        "in an hour, DELETE suspends for ever",
        deletes=False,
        writes_per_minute=16,
    ),
    "gitlab": Service(
        "https://docs.gitlab.com/api/scim and https://gitlab.com/gitlab-org/gitlab/-/merge_requests/184997: a group of "
        "GitLab.com has users only",
        kinds=_ACCOUNTS,
    ),
    "google": Service(
        "https://docs.cloud.google.com/identity/docs/scim/reference/rest: no pages, no ETag, no Bulk",
        paging=Paging.WHOLE,
    ),
    "grafana": Service(
        "https://grafana.com/docs/grafana/next/setup-grafana/configure-security/configure-scim-provisioning: "
        "Enterprise and Cloud, with SAML; nothing that differs is known",
    ),
    "keycloak": Service(
        "https://phasetwo.io/tutorials/scim/filtering/: at most 100 in a page, an attribute that is not mapped filters "
        "to nothing; https://github.com/keycloak/keycloak/issues/46216: members are not to be PUT",
        filters=frozenset({"userName"}),
        puts=False,
    ),
    "slack": Service(
        "https://docs.slack.dev/reference/scim-api/rate-limits: 180 creations and changes of users in a minute, 600 "
        "writes",
        writes_per_minute=180,
    ),
    "snowflake": Service(
        "https://docs.snowflake.com/release-notes/bcr-bundles/2026_03/bcr-2276: lists without a filter gave one object "
        "that was made up, and filters that are not supported find nothing",
        lists=_NOTHING,
        filters=frozenset({"userName", "displayName"}),
    ),
}


def service(name: str, **options: object) -> Service:
    """Return what is known of a service, with single options that count more. Raises ValueError if it is not known."""
    if name not in SERVICES:
        raise ValueError("service: '%s' is not known: choose one of %s" % (name, ", ".join(sorted(SERVICES))))
    unknown = sorted(options.keys() - set(Service._fields))
    if unknown:
        raise ValueError("service: there is no option %s" % ", ".join(unknown))
    return SERVICES[name]._replace(**options)  # type: ignore[arg-type]
