-- SPDX-License-Identifier: GPL-2.0-or-later
-- The original study's way to refer to a body: "http-response lua.disc-reference".
--
--   lua-load disc.lua BACKEND
--
-- BACKEND is the one whose servers are the nodes. The status page is disc-status.lua.

local backend_name = ...
assert(backend_name, "disc.lua needs an argument: lua-load disc.lua BACKEND")

-- "http-response lua.disc-reference": reads Backend-IP, Backend-Port and Backend-Content-Length, by which the original
-- study's applications name the machine that owns the body. txn.reference.server becomes the name of the server of BACKEND
-- at that address, for "disc-follow" and "use-server"; see config/middle-tier.cfg. A response without these fields is
-- left alone. If they are malformed, incomplete, repeated, or name an address that no server has, txn.reference.fault says
-- so instead, and the response is to be denied: there is no body that could be sent. HAProxy has already removed these
-- fields from responses of servers without "disc-trust".

local REFERENCE_FIELDS = { "backend-ip", "backend-port", "backend-content-length" }

-- The name of the server at that address, written as HAProxy writes it; nil if there is none.
local function server_at(ip, port)
    local backend = core.backends[backend_name]
    for name, server in pairs(backend and backend.servers or {}) do
        if server:get_addr() == ip:lower() .. ":" .. port then
            return name
        end
    end
    return nil
end

-- Returns the table of the three fields, an empty one if there is none of them, or nil and the reason.
local function reference_fields(headers)
    local fields, count = {}, 0
    for _, name in ipairs(REFERENCE_FIELDS) do
        local values = headers[name]
        if values then
            if values[1] then
                return nil, name .. " is repeated"
            end
            fields[name] = values[0]
            count = count + 1
        end
    end
    if count > 0 and count < #REFERENCE_FIELDS then
        return nil, "fields are missing"
    end
    return fields
end

local function reference_owner(headers)
    local fields, fault = reference_fields(headers)
    if not fields or not next(fields) then
        return nil, fault
    end
    if not fields["backend-content-length"]:match("^%d+$") then
        return nil, "backend-content-length is no number"
    end
    if not fields["backend-ip"]:match("^[%x.:]+$") or not fields["backend-port"]:match("^[1-9]%d*$") then
        return nil, "backend-ip and backend-port are no address"
    end
    local server = server_at(fields["backend-ip"], fields["backend-port"])
    return server, not server and ("no server of %s has the address it names, %s port %s"):format(backend_name,
        fields["backend-ip"], fields["backend-port"]) or nil
end

core.register_action("disc-reference", { "http-res" }, function(txn)
    local server, fault = reference_owner(txn.http:res_get_headers())
    if fault then
        txn:log(core.err, "disc-reference: response refused: " .. fault)
        txn:set_var("txn.reference.fault", fault)
    elseif server then
        txn:set_var("txn.reference.server", server)
    end
end, 0)
