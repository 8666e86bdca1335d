-- Requests for `bench.gateway`: arguments are how many events a request has, and the credentials in base64.
-- Every event has a messageId and a person of its own. Prints one line of JSON at the end.

local number, size, headers = 0, 1, {}

local event = '{"type":"track","event":"Audience %s","messageId":"%08x-0000-4000-a000-%012x","userId":"u-%d",'
  .. '"timestamp":"2026-11-21T10:00:00.000Z","properties":{"audience_key":"vip_buyers","vip_buyers":%s},'
  .. '"context":{"traits":{"email":"user%d@example.com"},"personas":{"computation_class":"audience",'
  .. '"computation_key":"vip_buyers","computation_id":"aud_vip_buyers"}}}'

local function next_event()
  number = number + 1
  local inside = number % 5 ~= 0
  local verb = inside and "Entered" or "Exited"
  return event:format(verb, number, number, number, tostring(inside), number)
end

function init(args)
  size = tonumber(args[1])
  headers = { ["content-type"] = "application/json", ["authorization"] = "Basic " .. args[2] }
end

function request()
  if size == 1 then
    return wrk.format("POST", nil, headers, next_event())
  end
  local batch = {}
  for at = 1, size do
    batch[at] = next_event()
  end
  return wrk.format("POST", nil, headers, '{"batch":[' .. table.concat(batch, ",") .. "]}")
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(
    ('{"requests":%d,"seconds":%.6f,"errors":%d,"p50":%.3f,"p99":%.3f}\n'):format(
      summary.requests,
      summary.duration / 1e6,
      failed,
      latency:percentile(50) / 1000,
      latency:percentile(99) / 1000
    )
  )
end
