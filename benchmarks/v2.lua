-- Load for benchmarks/v2.py: PUT or GET of random ones of 1000 keys, values of 64 B.
-- wrk calls setup, init, request and done by name. Settings come in the environment:
--   BENCH_METHOD   PUT or GET
--   BENCH_ADDRS    host:port,... one for each thread in turn
-- Requests are built once: only picking one and writing it is left for the measured time.

local KEYS = 1000
local VALUE = string.rep("v", 64)

local thread_count = 0

function setup(thread)
  local addrs = {}
  for addr in string.gmatch(os.getenv("BENCH_ADDRS"), "[^,]+") do addrs[#addrs + 1] = addr end
  local host, port = string.match(addrs[thread_count % #addrs + 1], "(.*):(%d+)")
  thread.addr = wrk.lookup(host, port)[1]
  thread_count = thread_count + 1
  thread:set("seed", thread_count)
end

function init()
  math.randomseed(seed)
  local method, headers, body = os.getenv("BENCH_METHOD"), {}, nil
  if method == "PUT" then
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    body = "value=" .. VALUE
  end
  requests = {}
  for key = 1, KEYS do
    requests[key] = wrk.format(method, "/v2/keys/bench/key" .. key, headers, body)
  end
end

function request()
  return requests[math.random(KEYS)]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "micros": %d, "faults": %d, "p50": %d, "p99": %d, "worst": %d}\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
