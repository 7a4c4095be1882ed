// Copyright (c) 2026 usersync.directory contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// scimmy-routers with what it is given in memory. The first argument is the token. It prints its address.

import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

const token = process.argv[2];

function keep(Resource, named) {
    const there = new Map();
    let given = 0;

    function holder(name) {
        return [...there.values()].find((each) => each[named].toLowerCase() === name.toLowerCase());
    }

    SCIMMY.Resources.declare(Resource)
        .ingress((resource, data) => {
            const id = resource.id ?? `${Resource.name.toLowerCase()}-${++given}`;
            const found = holder(data[named]);
            if (resource.id && !there.has(id)) throw new SCIMMY.Types.Error(404, null, "nothing is here");
            if (found && found.id !== id) throw new SCIMMY.Types.Error(409, "uniqueness", "the name is taken");
            there.set(id, {...JSON.parse(JSON.stringify(data)), id});
            return there.get(id);
        })
        .egress((resource) => {
            if (!resource.id) {
                const all = [...there.values()];
                return resource.filter ? resource.filter.match(all) : all;
            }
            if (!there.has(resource.id)) throw new SCIMMY.Types.Error(404, null, "nothing is here");
            return there.get(resource.id);
        })
        .degress((resource) => {
            if (!there.delete(resource.id)) throw new SCIMMY.Types.Error(404, null, "nothing is here");
        });
}

keep(SCIMMY.Resources.User, "userName");
keep(SCIMMY.Resources.Group, "displayName");

const app = express();
app.use("/scim", new SCIMMYRouters({
    type: "bearer",
    handler: (request) => {
        if (request.header("Authorization") !== `Bearer ${token}`) throw new Error("no such token");
        return "tests";
    },
}));
const server = app.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/scim`));
