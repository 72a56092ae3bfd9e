-- Load for benchmarks/v2.py: requests of one kind to random ones of 1000 keys.
-- wrk calls setup, init, request and done by name. Settings come in the environment:
--   BENCH_KIND         PUT, GET, QGET, CAS or POST
--   BENCH_VALUE_BYTES  size of a value
--   BENCH_ADDRS        host:port,... one for each thread in turn
--   BENCH_CHECKED      1: look into every answer, which takes much of wrk's time
-- Requests are built once: only picking one and writing it is left for the measured time.

local KEYS = 1000
local VALUE = string.rep("v", tonumber(os.getenv("BENCH_VALUE_BYTES")))
local KINDS = {
  GET = {method = "GET"},
  QGET = {method = "GET", query = "?quorum=true"},
  PUT = {method = "PUT", body = "value=" .. VALUE},
  CAS = {method = "PUT", body = "value=" .. VALUE .. "&prevValue=" .. VALUE},
  POST = {method = "POST", body = "value=" .. VALUE, path = "/v2/keys/queue"},
}

local threads = {}

function setup(thread)
  local addrs = {}
  for addr in string.gmatch(os.getenv("BENCH_ADDRS"), "[^,]+") do addrs[#addrs + 1] = addr end
  local host, port = string.match(addrs[#threads % #addrs + 1], "(.*):(%d+)")
  thread.addr = wrk.lookup(host, port)[1]
  threads[#threads + 1] = thread
  thread:set("seed", #threads)
end

function init()
  math.randomseed(seed)
  wrong = 0
  local kind = KINDS[os.getenv("BENCH_KIND")]
  local headers = {}
  if kind.body then headers["Content-Type"] = "application/x-www-form-urlencoded" end
  requests = {}
  for key = 1, KEYS do
    local path = (kind.path or "/v2/keys/bench/key" .. key) .. (kind.query or "")
    requests[key] = wrk.format(kind.method, path, headers, kind.body)
  end
end

function request()
  return requests[math.random(KEYS)]
end

-- wrk counts redirects among the successes, and does not ask what an answer says.
if os.getenv("BENCH_CHECKED") == "1" then
  function response(status, _, body)
    local is_success = status == 200 or status == 201
    if not (is_success and string.find(body, VALUE, 1, true)) then wrong = wrong + 1 end
  end
end

function done(summary, latency)
  local e = summary.errors
  local faults = e.connect + e.read + e.write + e.status + e.timeout
  for _, thread in ipairs(threads) do faults = faults + thread:get("wrong") end
  io.write(string.format(
    '{"requests": %d, "micros": %d, "faults": %d, "p50": %d, "p99": %d, "worst": %d}\n',
    summary.requests, summary.duration, faults,
    latency:percentile(50), latency:percentile(99), latency.max))
end
