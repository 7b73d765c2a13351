-- SPDX-License-Identifier: GPL-2.0-or-later
-- The status of DiSC as a page for people and as JSON for programs: "http-request use-service lua.disc-status".
--
--   lua-load disc-status.lua BACKEND STATS-SOCKET [AGENT]
--
-- BACKEND is the one whose servers are the nodes. What DiSC counts is asked from STATS-SOCKET ("show disc"), since HAProxy's
-- Lua interface offers a proxy's standard counters only; what the agent knows of the nodes from AGENT, disc-spoa's
-- admin.listen. The user that HAProxy runs as must be allowed to connect to STATS-SOCKET: a HAProxy that starts as root and gives
-- that up needs "user" on its line. Responses of the frontend that serves this page do not count.

local backend_name, stats_socket, agent_address = ...
assert(backend_name and stats_socket,
    "disc-status.lua needs two arguments or three: lua-load disc-status.lua BACKEND STATS-SOCKET [AGENT]")

local ANSWER_SECONDS = 1
local SAMPLE_SECONDS = 10
local SAMPLES_MAX = 90 -- a quarter of an hour
local REFRESH_SECONDS = 5

local PATHS = { "splice", "direct", "proxy" }
local PROTOCOLS = { "h1", "h2", "h3" }
local PROTOCOL_NAMES = { h1 = "HTTP/1.1", h2 = "HTTP/2", h3 = "HTTP/3" }

-- What a reason of the log means, for somebody who has not read the manual.
local MEANINGS = {
    ["not-asked"] = "not a candidate: no GET, a short range, or a URL whose body was short or declined the last time",
    ["off"] = "DiSC was switched off",
    ["mux"] = "the client speaks a protocol whose responses are not offloaded here",
    ["tls"] = "the client's connection is not TLS",
    ["handshake"] = "the request came before the TLS handshake was over",
    ["suite"] = "the client chose a cipher suite that cannot be leased",
    ["method"] = "the request is no GET",
    ["body"] = "the request has a body",
    ["filter"] = "a filter looks at bodies: compression, cache or Lua",
    ["wait-for-body"] = "rules wait for the response's body",
    ["maxrecord"] = "tune.ssl.hard-maxrecord is below 16384",
    ["too-long"] = "the URL is too long to ask disc-spoa about",
    ["closed"] = "the client closed its connection",
    ["backoff"] = "a lease was lost on this connection a moment ago",
    ["budget"] = "too many TLS key updates on this connection",
    ["tainted"] = "two leases were lost on this connection",
    ["pending"] = "other data of ours was on its way to the client",
    ["lost"] = "the keys were used before the node's answer came",
    ["busy"] = "a body is under way on this connection, or all control channels are full",
    ["no-route"] = "no route of disc-spoa.conf matches",
    ["policy"] = "the route says pass",
    ["rollout"] = "outside of the route's percentage",
    ["no-node"] = "no node of the pool is alive",
    ["draining"] = "all nodes of the pool drain",
    ["full"] = "all nodes of the pool have max-offloads",
    ["changing"] = "the file was written a short time ago",
    ["bad-lease"] = "disc-spoa could not read the lease",
    ["bad-request"] = "disc-spoa could not read the request",
    ["internal"] = "disc-spoa lacked memory or randomness",
    ["agent-error"] = "disc-spoa gave no answer in time",
    ["no-ticket"] = "there was an answer without ticket and reason",
    ["bad-ticket"] = "the ticket was malformed, or there were several",
    ["no-agent"] = "a body for the direct path, but no disc-socket is configured",
    ["declined"] = "the node had no body to seal: too short, not modified, not found",
    ["unannounced"] = "the server's answer said nothing about the ticket",
    ["unproven"] = "the server's answer lacks its proof",
    ["headers"] = "Range, If-Range or If-Match came twice or empty",
    ["retry"] = "the server failed, and the request was sent again",
    ["ended"] = "the transaction ended before its response",
    ["other"] = "other reasons",
}

-- --- asking ---

-- Sends <question> to <address>, and a port if it is no UNIX socket. Returns all of the answer, or nil and the reason.
local function ask(question, name, address, port)
    local socket = core.tcp()
    socket:settimeout(ANSWER_SECONDS)
    local connected, reason
    if port then
        connected, reason = socket:connect(address, port)
    else
        connected, reason = socket:connect(address)
    end
    if not connected then
        return nil, "cannot connect to " .. name .. ": " .. tostring(reason)
    end
    socket:send(question)
    local answer, fault = socket:receive("*a")
    socket:close()
    if not answer then
        return nil, "no answer from " .. name .. ": " .. tostring(fault)
    end
    return answer
end

-- Reads the lines of "show disc". Returns { list = { { name, value }... } in their order, whole numbers as numbers; the same
-- by name in values; reasons = { { word, count }... }; parked = how many connections }, or nil if this is no such answer.
local function parse_counters(answer)
    local counters = { list = {}, values = {}, reasons = {}, parked = 0 }
    for line in answer:gmatch("[^\r\n]+") do
        local name, value = line:match("^([%w_ %-]+):%s*(.-)%s*$")
        local word = name and name:match("^reason (%S+)$")
        value = math.tointeger(tonumber(value)) or value
        if word then
            counters.reasons[#counters.reasons + 1] = { word, value }
        elseif name == "parked" then
            counters.parked = counters.parked + 1
        elseif name then
            counters.values[name] = value
            if not name:find(" ", 1, true) then
                counters.list[#counters.list + 1] = { name, value }
            end
        end
    end
    return counters.values.disc and counters or nil
end

local function show_disc()
    local answer, reason = ask("show disc\n", stats_socket, "unix@" .. stats_socket)
    local counters = answer and parse_counters(answer)
    return counters, reason or "this HAProxy does not know the command 'show disc'"
end

-- The metrics of disc-spoa: by name, and of each node by its name. Returns nil and the reason if there are none.
local function ask_agent()
    if not agent_address then
        return nil, "disc-status.lua has no third argument, disc-spoa's admin.listen"
    end
    local host, port = agent_address:match("^(.*):(%d+)$")
    local answer, reason
    if agent_address:match("^unix:") then
        host, port = "unix@" .. agent_address:sub(6), nil
    end
    answer, reason = ask("GET /metrics HTTP/1.0\r\n\r\n", agent_address, (host or agent_address):gsub("^%[(.*)%]$", "%1"), tonumber(port))
    if not answer then
        return nil, reason
    end
    local metrics, nodes = {}, {}
    for line in answer:gmatch("[^\r\n]+") do
        local name, value = line:match("^(disc_spoa_%S+) (%-?%d+)$")
        if name then
            local family, node = name:match('^disc_spoa_node_([%w_]+){node="(.*)"}$')
            if node then
                nodes[node] = nodes[node] or {}
                nodes[node][family] = math.tointeger(tonumber(value))
            else
                metrics[name] = math.tointeger(tonumber(value))
            end
        end
    end
    if not metrics.disc_spoa_notifies_total then
        return nil, agent_address .. " does not answer as disc-spoa does"
    end
    return { metrics = metrics, nodes = nodes }
end

-- --- summing up ---

local own_frontends = {}

-- All responses of the site, by protocol, and their bytes: those of all frontends for HTTP but ours.
local function count_site()
    local site = { responses = 0, bytes = 0, h1 = 0, h2 = 0, h3 = 0 }
    for name, frontend in pairs(core.frontends) do
        if not own_frontends[name] and frontend:get_mode() == "http" then
            local stats = frontend:get_stats()
            for class = 2, 5 do
                site.responses = site.responses + (stats["hrsp_" .. class .. "xx"] or 0)
            end
            site.bytes = site.bytes + (stats.bout or 0)
            for _, protocol in ipairs(PROTOCOLS) do
                site[protocol] = site[protocol] + (stats[protocol .. "req"] or 0)
            end
        end
    end
    return site
end

-- One row a path: responses by protocol, all of them, bytes. The last is what no rule of ours has seen.
local function paths_of(counters, site)
    local rows = {}
    local rest = { path = "not asked", responses = site.responses, bytes = site.bytes, h1 = site.h1, h2 = site.h2, h3 = site.h3 }
    for i, path in ipairs(PATHS) do
        local row = { path = path, responses = 0, bytes = 0 }
        for _, protocol in ipairs(PROTOCOLS) do
            row[protocol] = counters.values["responses " .. path .. " " .. protocol] or 0
            row.responses = row.responses + row[protocol]
            row.bytes = row.bytes + (counters.values["bytes " .. path .. " " .. protocol] or 0)
            rest[protocol] = math.max(rest[protocol] - row[protocol], 0)
        end
        rest.responses = math.max(rest.responses - row.responses, 0)
        rest.bytes = math.max(rest.bytes - row.bytes, 0)
        rows[i] = row
    end
    rows[#rows + 1] = rest
    return rows
end

-- { reason, responses } of all that was not offloaded, the most frequent first.
local function reasons_of(counters, not_asked)
    local list, seen = {}, false
    for _, pair in ipairs(counters.reasons) do
        local count = pair[2]
        if pair[1] == "not-asked" then
            count, seen = count + not_asked, true
        end
        list[#list + 1] = { pair[1], count }
    end
    if not seen and not_asked > 0 then
        list[#list + 1] = { "not-asked", not_asked }
    end
    table.sort(list, function(a, b) return a[2] > b[2] or (a[2] == b[2] and a[1] < b[1]) end)
    return list
end

local function meaning_of(reason)
    return MEANINGS[reason] or (reason:match("^bad%-") and "the server announced something wrong: " .. reason:sub(5)) or reason
end

-- Up, down or draining, by what disc-spoa and HAProxy say about it.
local function state_of(status, known)
    if known and known.up == 0 then
        return "down"
    elseif known and (known.draining or 0) > 0 then
        return "draining"
    elseif status:match("^DOWN") or status:match("^MAINT") then
        return known and "up, but not for HAProxy" or "down"
    end
    return "up"
end

-- A server that waits for a record of DNS: nothing that anybody need see.
local function is_vacant(stats)
    return (stats.status or ""):match("^MAINT") and not (stats.addr or ""):match(":%d+$")
end

-- The servers of the backend, with what the agent knows of the node of that name, or of that address: its name for nodes that DNS has. Those
-- of its nodes that no server is, because HAProxy does not have their record yet, or not any more, come with what the agent knows.
local function nodes_of(agent)
    local list = {}
    local backend = core.backends[backend_name]
    local others = {}
    for name, node in pairs(agent and agent.nodes or {}) do
        others[name] = node
    end
    for name, server in pairs(backend and backend.servers or {}) do
        local stats = server:get_stats()
        local known = agent and (agent.nodes[name] or agent.nodes[stats.addr or ""])
        others[name] = nil
        others[stats.addr or ""] = nil
        list[#list + 1] = not is_vacant(stats) and {
            name = name,
            address = stats.addr,
            status = stats.status or "",
            state = state_of(stats.status or "", known),
            offloads = known and known.active_offloads,
            spills = known and known.spills_total,
            failures = known and known.failures_total,
            sessions = stats.scur,
            sessions_total = stats.stot,
            bytes_from_node = stats.bout,
            failed = (stats.econ or 0) + (stats.eresp or 0),
            retries = stats.wretr,
        } or nil
    end
    for name, node in pairs(others) do
        list[#list + 1] = {
            name = name,
            address = name,
            status = "",
            state = state_of("MAINT", node),
            offloads = node.active_offloads,
            spills = node.spills_total,
            failures = node.failures_total,
            failed = 0,
        }
    end
    table.sort(list, function(a, b) return a.name < b.name end)
    return list
end

-- --- history ---

local history = {} -- of { time, bytes offloaded, bytes of all }, the oldest first

local function sample_of(counters, site)
    local offloaded = 0
    for _, path in ipairs({ "splice", "direct" }) do
        for _, protocol in ipairs(PROTOCOLS) do
            offloaded = offloaded + (counters.values["bytes " .. path .. " " .. protocol] or 0)
        end
    end
    return { core.now().sec, offloaded, math.max(site.bytes, offloaded) }
end

-- The first samples follow each other soon, so that there is something to see.
core.register_task(function()
    local seconds = 1
    while true do
        local counters = show_disc()
        if counters then
            history[#history + 1] = sample_of(counters, count_site())
            if #history > SAMPLES_MAX then
                table.remove(history, 1)
            end
        end
        core.sleep(seconds)
        seconds = math.min(2 * seconds, SAMPLE_SECONDS)
    end
end)

-- Bytes per second between samples: { seconds ago, offloaded, all }. <last> is the sample of this moment.
local function rates_of(last)
    local rates = {}
    local before = history[1]
    for i = 2, #history + 1 do
        local sample = history[i] or last
        local seconds = sample[1] - before[1]
        if seconds > 0 then
            rates[#rates + 1] = { last[1] - sample[1], math.max(sample[2] - before[2], 0) // seconds, math.max(sample[3] - before[3], 0) // seconds }
            before = sample
        end
    end
    return rates
end

-- --- all of it ---

local function share(part, whole)
    return whole > 0 and math.min(part / whole, 1) or nil
end

-- Returns what the page and JSON show, or nil and the reason.
local function summary()
    local counters, reason = show_disc()
    if not counters then
        return nil, reason
    end
    local site = count_site()
    local agent, agent_fault = ask_agent()
    local rows = paths_of(counters, site)
    local sample = sample_of(counters, site)
    local offloaded = { responses = rows[1].responses + rows[2].responses, bytes = rows[1].bytes + rows[2].bytes }
    local rate = counters.values["proxy-rate"] or 0
    return {
        counters = counters,
        offloaded = offloaded,
        all = { responses = math.max(site.responses, offloaded.responses), bytes = sample[3] },
        rows = rows,
        reasons = reasons_of(counters, rows[4].responses),
        rate = rate,
        saved = rate > 0 and offloaded.bytes / rate or nil,
        agent = agent,
        agent_fault = agent_fault,
        nodes = nodes_of(agent),
        rates = rates_of(sample),
    }
end

-- --- JSON ---

local JSON_ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function json_value(value)
    if math.type(value) == "integer" or type(value) == "boolean" then
        return tostring(value)
    elseif math.type(value) == "float" then
        return string.format("%.6f", value)
    elseif value == nil then
        return "null"
    end
    local text = tostring(value):gsub('[%c"\\]', function(c)
        return JSON_ESCAPES[c] or string.format("\\u%04x", c:byte())
    end)
    return '"' .. text .. '"'
end

-- <names> and <values> in pairs, since nil values must not be lost.
local function json_object(members)
    local texts = {}
    for i, name in ipairs(members.names) do
        texts[i] = json_value(name) .. ": " .. json_value(members.values[name])
    end
    return "{" .. table.concat(texts, ", ") .. "}"
end

local function json_list(list, to_json)
    local texts = {}
    for i, entry in ipairs(list) do
        texts[i] = "    " .. to_json(entry)
    end
    return "[\n" .. table.concat(texts, ",\n") .. "\n  ]"
end

local function row_json(names)
    return function(row) return json_object({ names = names, values = row }) end
end

local function render_json(status)
    local counter_names = {}
    for i, pair in ipairs(status.counters.list) do
        counter_names[i] = pair[1]
    end
    local offload = {
        names = { "responses", "bytes", "all_responses", "all_bytes", "response_share", "byte_share", "cpu_seconds_saved_estimate",
            "bytes_per_cpu_second", "handed_off" },
        values = {
            responses = status.offloaded.responses,
            bytes = status.offloaded.bytes,
            all_responses = status.all.responses,
            all_bytes = status.all.bytes,
            response_share = share(status.offloaded.responses, status.all.responses),
            byte_share = share(status.offloaded.bytes, status.all.bytes),
            cpu_seconds_saved_estimate = status.saved,
            bytes_per_cpu_second = status.rate,
            handed_off = status.counters.parked,
        },
    }
    local agent = { names = {}, values = {} }
    for name, value in pairs(status.agent and status.agent.metrics or {}) do
        agent.names[#agent.names + 1] = name
        agent.values[name] = value
    end
    table.sort(agent.names)
    if not status.agent then
        agent = { names = { "fault" }, values = { fault = status.agent_fault } }
    end
    return table.concat({
        '{\n  "haproxy": ', json_object({ names = counter_names, values = status.counters.values }),
        ',\n  "offload": ', json_object(offload),
        ',\n  "paths": ', json_list(status.rows, row_json({ "path", "h1", "h2", "h3", "responses", "bytes" })),
        ',\n  "reasons": ', json_list(status.reasons, function(pair)
            return json_object({
                names = { "reason", "responses", "meaning" },
                values = { reason = pair[1], responses = pair[2], meaning = meaning_of(pair[1]) },
            })
        end),
        ',\n  "nodes": ', json_list(status.nodes, row_json({ "name", "address", "state", "status", "offloads", "spills", "failures", "sessions",
            "sessions_total", "bytes_from_node", "failed", "retries" })),
        ',\n  "agent": ', json_object(agent),
        ',\n  "history": ', json_list(status.rates, function(rate)
            return json_object({
                names = { "seconds_ago", "offloaded_bytes_per_second", "bytes_per_second" },
                values = { seconds_ago = rate[1], offloaded_bytes_per_second = rate[2], bytes_per_second = rate[3] },
            })
        end),
        "\n}\n",
    })
end

-- --- human units ---

local function human_count(number)
    if number == nil then
        return "-"
    end
    local text, left = string.format("%d", number), 1
    while left > 0 do
        text, left = text:gsub("^(%d+)(%d%d%d)", "%1,%2")
    end
    return text
end

local function human_bytes(number)
    local units, unit = { "B", "kB", "MB", "GB", "TB", "PB" }, 1
    while number >= 999.5 and unit < #units do
        number, unit = number / 1000, unit + 1
    end
    return string.format((unit == 1 or number >= 99.5) and "%.0f %s" or number >= 9.95 and "%.1f %s" or "%.2f %s", number, units[unit])
end

local function human_share(part, whole)
    local value = share(part, whole)
    if not value then
        return "-"
    elseif value > 0 and value < 0.001 then
        return "< 0.1 %"
    elseif value > 0.999 and value < 1 then
        return "> 99.9 %"
    end
    return string.format((value == 0 or value == 1) and "%.0f %%" or "%.1f %%", value * 100)
end

local function human_seconds(seconds)
    if seconds < 60 then
        return string.format(seconds < 10 and seconds % 1 ~= 0 and "%.2f s" or "%.0f s", seconds)
    elseif seconds < 3600 then
        return string.format("%d min %d s", seconds // 60, seconds % 60)
    elseif seconds < 172800 then
        return string.format("%d h %d min", seconds // 3600, seconds % 3600 // 60)
    end
    return string.format("%d days %d h", seconds // 86400, seconds % 86400 // 3600)
end

-- --- HTML ---

local HTML_ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function html_text(value)
    return (tostring(value == nil and "-" or value):gsub('[&<>"]', HTML_ESCAPES))
end

-- A table with these heads; cells are HTML already, numbers by "#" in front of their head to the right.
local function html_table(id, heads, rows)
    local out = { '<div class="scroll"><table id="', id, '"><thead><tr>' }
    local classes = {}
    for i, head in ipairs(heads) do
        classes[i] = head:sub(1, 1) == "#" and ' class="n"' or ""
        out[#out + 1] = "<th" .. classes[i] .. ">" .. html_text(head:gsub("^#", "")) .. "</th>"
    end
    out[#out + 1] = "</tr></thead><tbody>\n"
    for _, row in ipairs(rows) do
        out[#out + 1] = "<tr>"
        for i, cell in ipairs(row) do
            out[#out + 1] = "<td" .. classes[i] .. ">" .. cell .. "</td>"
        end
        out[#out + 1] = "</tr>\n"
    end
    out[#out + 1] = "</tbody></table></div>\n"
    return table.concat(out)
end

local function html_card(id, title, value, detail)
    return string.format('<section class="card" id="%s"><h2>%s</h2><p class="big">%s</p><p>%s</p></section>\n', id, title, html_text(value),
        html_text(detail))
end

local function cards(status)
    local saved = status.saved and human_seconds(status.saved) or "not known"
    local saved_detail = status.saved and
        "an estimate: what copying and encrypting " .. human_bytes(status.offloaded.bytes) .. " takes at " .. human_bytes(status.rate) ..
        " per CPU second, measured when this process started" or "the rate could not be measured at the start"
    local handoff = tostring(status.counters.values.handoff or "")
    return table.concat({
        html_card("bytes", "Bytes offloaded", human_share(status.offloaded.bytes, status.all.bytes),
            human_bytes(status.offloaded.bytes) .. " of " .. human_bytes(status.all.bytes)),
        html_card("responses", "Responses offloaded", human_share(status.offloaded.responses, status.all.responses),
            human_count(status.offloaded.responses) .. " of " .. human_count(status.all.responses)),
        html_card("saved", "CPU saved here (estimate)", saved, saved_detail),
        html_card("handoffs", "Handed off now", human_count(status.counters.parked),
            handoff:match("^not configured") and "the direct path is not configured" or handoff),
    })
end

local WIDTH, HEIGHT = 600, 150

-- The line through <rates> of their column <column>, closed at the bottom.
local function area(rates, column, longest, highest)
    local points = {}
    for i, rate in ipairs(rates) do
        points[i] = string.format("%.1f,%.1f", WIDTH * (1 - rate[1] / longest), HEIGHT * (1 - rate[column] / highest))
    end
    return string.format("%.1f,%d %s %d,%d", WIDTH * (1 - rates[1][1] / longest), HEIGHT, table.concat(points, " "), WIDTH, HEIGHT)
end

local function chart(rates)
    if #rates < 2 then
        return '<p id="history">The history begins when this process has run for some seconds.</p>\n'
    end
    local longest, highest = math.max(rates[1][1], 1), 1
    for _, rate in ipairs(rates) do
        highest = math.max(highest, rate[3])
    end
    return string.format([[
<figure id="history"><svg viewBox="0 0 %d %d" preserveAspectRatio="none" role="img" aria-label="bytes per second, offloaded and all, of the last %s">
<polygon class="all" points="%s"/><polygon class="offloaded" points="%s"/>
<line x1="0" y1="0" x2="%d" y2="0"/><line x1="0" y1="%d" x2="%d" y2="%d"/></svg>
<figcaption><span>%s ago</span><span><i class="offloaded"></i> offloaded <i class="all"></i> all, to %s/s</span><span>now</span></figcaption></figure>
]], WIDTH, HEIGHT, human_seconds(longest), area(rates, 3, longest, highest), area(rates, 2, longest, highest), WIDTH, HEIGHT, WIDTH, HEIGHT,
        human_seconds(longest), human_bytes(highest))
end

local PATH_WORDS = {
    ["splice"] = "<b>splice</b><span>: sealed by a node, through this HAProxy</span>",
    ["direct"] = "<b>direct</b><span>: sent by a node on the client's connection</span>",
    ["proxy"] = "<b>proxy</b><span>: asked about, and sent by this HAProxy</span>",
    ["not asked"] = "<b>not asked</b><span>: sent by this HAProxy</span>",
}

local function paths_table(status)
    local rows = {}
    for i, row in ipairs(status.rows) do
        rows[i] = { PATH_WORDS[row.path], human_count(row.h1), human_count(row.h2), human_count(row.h3),
            human_share(row.responses, status.all.responses), human_bytes(row.bytes), human_share(row.bytes, status.all.bytes) }
    end
    return html_table("paths", { "path", "#" .. PROTOCOL_NAMES.h1, "#" .. PROTOCOL_NAMES.h2, "#" .. PROTOCOL_NAMES.h3, "#share", "#bytes", "#share" },
        rows)
end

local function reasons_table(status)
    local rows, sum = {}, 0
    for _, pair in ipairs(status.reasons) do
        sum = sum + pair[2]
    end
    if sum == 0 then
        return '<p id="reasons">No response was sent by this HAProxy yet.</p>\n'
    end
    for i, pair in ipairs(status.reasons) do
        rows[i] = { html_text(meaning_of(pair[1])) .. " <code>" .. html_text(pair[1]) .. "</code>", human_count(pair[2]), human_share(pair[2], sum) }
    end
    return html_table("reasons", { "why", "#responses", "#share" }, rows)
end

local function nodes_table(status)
    local rows = {}
    for i, node in ipairs(status.nodes) do
        local class = node.state == "up" and "good" or node.state == "down" and "bad" or "fair"
        rows[i] = { "<b>" .. html_text(node.name) .. "</b> " .. html_text(node.address),
            '<span class="' .. class .. '">' .. html_text(node.state) .. "</span>", human_count(node.offloads),
            human_count((node.failures or 0) + node.failed), human_count(node.spills), human_count(node.sessions), human_bytes(node.bytes_from_node or 0) }
    end
    local fault = status.agent_fault and '<p class="bad">disc-spoa: ' .. html_text(status.agent_fault) .. "</p>\n" or ""
    return fault .. html_table("nodes", { "node", "state", "#offloads now", "#failures", "#spills", "#requests now", "#bytes" }, rows)
end

local function counters_table(status)
    local rows = {}
    for i, pair in ipairs(status.counters.list) do
        rows[i] = { html_text(pair[1]), html_text(pair[2]) }
    end
    return html_table("counters", { "show disc", "#" }, rows)
end

local PAGE = [[
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>DiSC status</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<noscript><meta http-equiv="refresh" content="@REFRESH@"></noscript>
<style>
:root { --back: #f6f7f9; --card: #fff; --text: #1c2126; --soft: #5b6570; --line: #dde1e6; --accent: #0b67c2; --all: #c3ccd6;
  --good: #14742f; --fair: #8a5a00; --bad: #b3201f }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171a; --card: #1e2327; --text: #e6e9ec; --soft: #9aa5b0; --line: #343b42; --accent: #58a6ff; --all: #46515c;
    --good: #56d37a; --fair: #e0b04c; --bad: #ff7b72 } }
* { box-sizing: border-box }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0; background: var(--back); color: var(--text) }
main { max-width: 1000px; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.3rem; margin: 0 0 1rem } h1 span { font-size: .9rem; font-weight: normal; margin-left: .5em }
h2 { font-size: .95rem; margin: 1.6rem 0 .5rem } .card h2 { margin: 0; color: var(--soft); font-weight: normal }
p { margin: .2rem 0 } code { color: var(--soft); white-space: nowrap }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8rem }
.card, figure, table { background: var(--card); border: 1px solid var(--line); border-radius: 8px }
.card { padding: .8rem } .card p { color: var(--soft); font-size: .85rem } .card .big { color: var(--text); font-size: 1.8rem; font-weight: 600 }
figure { margin: 0; padding: .8rem } svg { display: block; width: 100%; height: 130px } svg line { stroke: var(--line); stroke-width: 1 }
.all { fill: var(--all); background: var(--all) } .offloaded { fill: var(--accent); background: var(--accent) }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: .5rem; color: var(--soft); font-size: .8rem; padding-top: .4rem }
figcaption i { display: inline-block; width: .7em; height: .7em; margin-left: .5em }
.scroll { overflow-x: auto } table { border-collapse: separate; border-spacing: 0; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .7rem; text-align: left; border-bottom: 1px solid var(--line) } tr:last-child td { border-bottom: 0 }
th { color: var(--soft); font-weight: normal; font-size: .8rem } td b { white-space: nowrap } .n { text-align: right; white-space: nowrap }
.good { color: var(--good) } .fair { color: var(--fair) } .bad, .stale h1::after { color: var(--bad) }
.stale h1::after { content: "not refreshed: HAProxy does not answer"; display: block; font-size: .9rem }
@media (max-width: 600px) { #paths td span { display: none } main { padding: .6rem } th, td { padding: .35rem .5rem } .card .big { font-size: 1.5rem } }
a { color: var(--accent) } summary { margin-top: 1.6rem; color: var(--soft); cursor: pointer }
</style></head><body>
<main>
<h1>DiSC on this HAProxy @STATE@</h1>
<div class="cards">
@CARDS@</div>
<h2>Traffic</h2>
@CHART@<h2>Responses by path and protocol</h2>
@PATHS@<h2>Why the others were not offloaded</h2>
@REASONS@<h2>Nodes</h2>
@NODES@<details><summary>All counters</summary>
@COUNTERS@</details>
<p><a href="?format=json">JSON</a>: a response counts when it has ended, since this process started.</p>
</main>
<script>
setInterval(async () => {
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw answer.status;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    fresh.querySelector("details").open = document.querySelector("details").open;
    document.querySelector("main").replaceWith(fresh);
    document.body.className = "";
  } catch (error) {
    document.body.className = "stale";
  }
}, @REFRESH@ * 1000);
</script>
</body></html>
]]

local function render_html(status)
    local values = status.counters.values
    local state = values.disc ~= "on" and '<span class="bad">off: takes no new leases</span>' or
        values.configured ~= "yes" and '<span class="fair">on, but no rule takes leases</span>' or '<span class="good">on</span>'
    local parts = {
        REFRESH = tostring(REFRESH_SECONDS),
        STATE = state,
        CARDS = cards(status),
        CHART = chart(status.rates),
        PATHS = paths_table(status),
        REASONS = reasons_table(status),
        NODES = nodes_table(status),
        COUNTERS = counters_table(status),
    }
    return (PAGE:gsub("@(%u+)@", parts))
end

-- --- the service ---

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
    own_frontends[applet.f:fe_name()] = true
    local status, reason = summary()
    if not status then
        respond(applet, 503, "text/plain; charset=utf-8", reason .. "\n")
    elseif wants_json(applet) then
        respond(applet, 200, "application/json", render_json(status))
    else
        respond(applet, 200, "text/html; charset=utf-8", render_html(status))
    end
end)
