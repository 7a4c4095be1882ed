// Copyright (c) 2026 usersync.directory contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What receives accounts in @boxyhq/saml-jackson (Ory Polis), with a database in memory. It prints its address, and the
// token, which it makes itself.

import http from "node:http";
import jackson from "@boxyhq/saml-jackson";

const {directorySyncController} = await jackson.default({
    externalUrl: "http://127.0.0.1",
    samlPath: "/saml",
    scimPath: "/scim",
    db: {engine: "mem"},
    noAnalytics: true,
    logger: {info: () => {}, error: console.error, warn: console.error},
});
const {data: directory, error} = await directorySyncController.directories.create({
    tenant: "tests", product: "usersync", name: "tests", type: "generic-scim-v2",
});
if (error) throw new Error(error.message);

// Whom it has in a group: it tells that to nobody else.
async function membersOf(groupId) {
    const {data} = await directorySyncController.groups
        .setTenantAndProduct(directory.tenant, directory.product).getGroupMembers({groupId});
    return {status: 200, data: data.map((each) => each.user_id)};
}

async function answered(request) {
    const parts = [];
    for await (const part of request) parts.push(part);
    const url = new URL(request.url, "http://127.0.0.1");
    const [, , resourceType, resourceId] = url.pathname.split("/").map(decodeURIComponent);
    if (resourceType === "members") return membersOf(resourceId);
    const number = (name) => url.searchParams.has(name) ? Number(url.searchParams.get(name)) : undefined;
    return directorySyncController.requests.handle({
        method: request.method,
        body: parts.length ? JSON.parse(Buffer.concat(parts)) : undefined,
        directoryId: directory.id,
        resourceType: resourceType ?? "",
        resourceId,
        apiSecret: (request.headers.authorization ?? "").replace("Bearer ", ""),
        query: {
            count: number("count"),
            startIndex: number("startIndex"),
            filter: url.searchParams.get("filter") ?? undefined,
        },
    }, () => {});
}

const server = http.createServer(async (request, response) => {
    const {status, data} = await answered(request).catch((failed) => ({status: 500, data: {detail: String(failed)}}));
    response.writeHead(status, {"Content-Type": "application/scim+json"});
    response.end(JSON.stringify(data ?? {}));
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/scim ${directory.scim.secret}`));
