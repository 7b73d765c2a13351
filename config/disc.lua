-- SPDX-License-Identifier: GPL-2.0-or-later
-- The status of DiSC as a page for people and as JSON for programs: "http-request use-service lua.disc-status"; and the
-- original study's way to refer to a body: "http-response lua.disc-reference" (at the end of this file).
--
--   lua-load disc.lua BACKEND STATS-SOCKET
--
-- BACKEND is the one whose servers are the nodes. The counters are asked from STATS-SOCKET ("show disc"): HAProxy's Lua
-- interface offers a proxy's standard counters, but not those that DiSC registers.

local backend_name, stats_socket = ...
assert(backend_name and stats_socket, "disc.lua needs two arguments: lua-load disc.lua BACKEND STATS-SOCKET")

local ANSWER_SECONDS = 1

-- Runs one command on the stats socket. Returns its answer, or nil and the reason.
local function ask(command)
    local socket = core.tcp()
    socket:settimeout(ANSWER_SECONDS)
    local connected, reason = socket:connect("unix@" .. stats_socket)
    if not connected then
        return nil, "cannot connect to " .. stats_socket .. ": " .. tostring(reason)
    end
    socket:send(command .. "\n")
    local answer, fault = socket:receive("*a")
    socket:close()
    if not answer then
        return nil, "no answer from " .. stats_socket .. ": " .. tostring(fault)
    end
    return answer
end

-- Reads "name: value" lines. Returns a list of { name, value } in their order, where whole numbers are numbers; or nil if
-- this is not the answer of "show disc", which says "disc: on" or "disc: off" somewhere.
local function parse_counters(answer)
    local counters, known = {}, false
    for line in answer:gmatch("[^\r\n]+") do
        local name, value = line:match("^([%w_]+):%s*(.-)%s*$")
        if name then
            counters[#counters + 1] = { name, math.tointeger(tonumber(value)) or value }
            known = known or name == "disc"
        end
    end
    return known and counters or nil
end

local function nodes()
    local list = {}
    local backend = core.backends[backend_name]
    if not backend then
        return list
    end
    for name, server in pairs(backend.servers) do
        local stats = server:get_stats()
        list[#list + 1] = {
            { "name", name },
            { "address", stats.addr },
            { "status", stats.status },
            { "sessions", stats.scur },
            { "sessions_total", stats.stot },
            { "bytes_from_node", stats.bout },
            { "failed", (stats.econ or 0) + (stats.eresp or 0) },
            { "retries", stats.wretr },
        }
    end
    table.sort(list, function(a, b) return a[1][2] < b[1][2] end)
    return list
end

local JSON_ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function json_value(value)
    if math.type(value) == "integer" then
        return tostring(value)
    end
    if value == nil then
        return "null"
    end
    local text = tostring(value):gsub('[%c"\\]', function(c)
        return JSON_ESCAPES[c] or string.format("\\u%04x", c:byte())
    end)
    return '"' .. text .. '"'
end

local function json_object(pairs_in_order)
    local members = {}
    for i, pair in ipairs(pairs_in_order) do
        members[i] = json_value(pair[1]) .. ": " .. json_value(pair[2])
    end
    return "{" .. table.concat(members, ", ") .. "}"
end

local function render_json(counters, list)
    local objects = {}
    for i, node in ipairs(list) do
        objects[i] = "    " .. json_object(node)
    end
    return string.format('{\n  "haproxy": %s,\n  "nodes": [\n%s\n  ]\n}\n', json_object(counters), table.concat(objects, ",\n"))
end

local HTML_ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function html_text(value)
    return (tostring(value == nil and "" or value):gsub('[&<>"]', HTML_ESCAPES))
end

local function html_row(tag, cells)
    local row = {}
    for i, cell in ipairs(cells) do
        row[i] = string.format("<%s>%s</%s>", tag, html_text(cell), tag)
    end
    return "<tr>" .. table.concat(row) .. "</tr>\n"
end

local HTML_PAGE = [[
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5"><title>DiSC status</title>
<style>
body { font: 15px/1.5 sans-serif; margin: 2em; color: #222 }
table { border-collapse: collapse; margin: 0 0 2em }
th, td { border-bottom: 1px solid #ddd; padding: .25em 1em .25em 0; text-align: left; font-variant-numeric: tabular-nums }
</style></head><body>
<h1>DiSC status</h1>
<h2>This HAProxy</h2>
<table>
%s</table>
<h2>Nodes</h2>
<table>
%s</table>
<p><a href="?format=json">JSON</a></p>
</body></html>
]]

local function render_html(counters, list)
    local counter_rows, node_rows = {}, {}
    for i, pair in ipairs(counters) do
        counter_rows[i] = html_row("td", { (pair[1]:gsub("_", " ")), pair[2] })
    end
    for _, node in ipairs(list) do
        local names, values = {}, {}
        for i, pair in ipairs(node) do
            names[i], values[i] = pair[1]:gsub("_", " "), pair[2] == nil and "" or pair[2]
        end
        if #node_rows == 0 then
            node_rows[1] = html_row("th", names)
        end
        node_rows[#node_rows + 1] = html_row("td", values)
    end
    return HTML_PAGE:format(table.concat(counter_rows), table.concat(node_rows))
end

local function wants_json(applet)
    if (applet.qs or ""):find("format=json", 1, true) then
        return true
    end
    local accept = applet.headers["accept"]
    return accept ~= nil and (accept[0] or ""):find("application/json", 1, true) ~= nil
end

local function respond(applet, status, content_type, body)
    applet:set_status(status)
    applet:add_header("Content-Type", content_type)
    applet:add_header("Content-Length", tostring(#body))
    applet:add_header("Cache-Control", "no-store")
    applet:add_header("Vary", "Accept")
    applet:start_response()
    if applet.method ~= "HEAD" then
        applet:send(body)
    end
end

core.register_service("disc-status", "http", function(applet)
    local answer, reason = ask("show disc")
    local counters = answer and parse_counters(answer)
    if not counters then
        respond(applet, 503, "text/plain; charset=utf-8",
            (reason or "this HAProxy does not know the command 'show disc'") .. "\n")
        return
    end
    if wants_json(applet) then
        respond(applet, 200, "application/json", render_json(counters, nodes()))
    else
        respond(applet, 200, "text/html; charset=utf-8", render_html(counters, nodes()))
    end
end)

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
