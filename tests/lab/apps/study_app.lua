-- SPDX-License-Identifier: GPL-2.0-or-later
-- An application inside HAProxy that answers as the original study's middle tier did: by naming the machine that owns the
-- body and the size of it. The path of the body is the path of the request.
--
--   lua-load study_app.lua ADDRESS PORT        of the owner it names unless the request says another: ?ip=..&port=..&length=..

local owner_address, owner_port = ...

local function parameter(query, name, otherwise)
    local value = ("&" .. (query or "")):match("&" .. name .. "=([^&]*)")
    return value or otherwise
end

core.register_service("study", "http", function(applet)
    applet:set_status(200)
    applet:add_header("Content-Length", "0")
    applet:add_header("Content-Type", "application/x-study")
    applet:add_header("X-Application", "study")
    applet:add_header("Backend-Content-Length", parameter(applet.qs, "length", "1"))
    applet:add_header("Backend-IP", parameter(applet.qs, "ip", owner_address))
    applet:add_header("Backend-Port", parameter(applet.qs, "port", owner_port))
    applet:start_response()
end)
