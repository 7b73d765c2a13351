-- SPDX-License-Identifier: GPL-2.0-or-later
-- A filter that sees every response's body: it counts the bytes and logs the sum.
local counter = {}
counter.id = "body-counter"
counter.flags = filter.FLT_CFG_FL_HTX
counter.__index = counter

function counter:new()
	return setmetatable({ seen = 0 }, counter)
end

function counter:start_analyze(txn, channel)
	if channel:is_resp() then
		filter.register_data_filter(self, channel)
	end
end

function counter:http_payload(txn, message)
	self.seen = self.seen + message:input()
end

function counter:http_end(txn, message)
	if message.channel:is_resp() then
		core.Info("lua filter saw " .. self.seen .. " bytes")
	end
end

core.register_filter("body-counter", counter, function(self, arguments)
	return self
end)
