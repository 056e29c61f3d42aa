#!/bin/sh
# Measures what a delivery signed by `hmac` costs, with each of several binaries in turn, also older ones that have
# no scenario for it:
#
#     bench/hmac.sh ROUNDS ENSUE [ENSUE…]
#
# A line of the output is a round of 3 s at 64 connections: the binary, the deliveries a second, and the processor
# time of the node for each, in microseconds. It needs Linux, curl, python3 and wrk. Run it with nothing else running.
set -eu
rounds=${1:?name how many rounds to measure}
shift
folder=$(mktemp -d)
node=
trap 'test -z "$node" || kill "$node"; rm -rf "$folder"' EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
mkdir -p "$folder/packs/bench/triggers" "$folder/packs/bench/sensors"

cat > "$folder/packs/bench/pack.yaml" <<'PACK'
name: bench
version: 0.1.0
description: Made for a measurement.
keys: [webhook_secret]
PACK
cat > "$folder/packs/bench/triggers/pull_request.yaml" <<'TRIGGER'
description: A pull request.
payload: { action: string, number: integer, pull_request: object, repository: object }
TRIGGER
cat > "$folder/packs/bench/sensors/hook.yaml" <<'SENSOR'
description: A webhook whose deliveries are signed.
webhook:
  verify: { scheme: hmac, key: bench.webhook_secret, header: X-Hub-Signature-256, prefix: 'sha256=' }
emits:
  - trigger: bench.pull_request
    when: 'headers["x-github-event"] == "pull_request"'
    dedupe: 'headers["x-github-delivery"]'
SENSOR

# Each body of 4 KB is sent once: an equal one would make no second event.
python3 - > "$folder/bodies" <<'BODIES'
import hashlib, hmac, json
fields = {f"field_{i}": {"url": f"https://api.example.test/repos/octo/lamplight/{i}", "id": i, "name": "lamplight"} for i in range(40)}
for n in range(60_000):
    change = {"id": n, "base": {"ref": "main"}, "more": fields}
    body = json.dumps({"action": "opened", "number": n, "pull_request": change, "repository": {"name": "lamplight"}}, separators=(",", ":"))
    print(hmac.new(b"secret-of-this-measurement", body.encode(), hashlib.sha256).hexdigest(), body)
BODIES
cat > "$folder/deliver.lua" <<'DELIVER'
local bodies, sent = {}, 0
function init(arguments)
  for line in io.lines(arguments[1]) do
    bodies[#bodies + 1] = { line:sub(1, 64), line:sub(66) }
  end
end
function request()
  sent = sent + 1
  local body = assert(bodies[sent], "there are too few bodies")
  return wrk.format("POST", "/hooks/bench/hook", {
    ["Content-Type"] = "application/json",
    ["X-Hub-Signature-256"] = "sha256=" .. body[1],
    ["X-GitHub-Event"] = "pull_request",
    ["X-GitHub-Delivery"] = tostring(sent),
  }, body[2])
end
DELIVER

# Returns the processor time of the node so far, in ticks.
ticks() {
    awk '{ print $14 + $15 }' "/proc/$node/stat"
}

measure() {
    rm -rf "$folder/data"
    "$1" serve --listen "127.0.0.1:$port" --data "$folder/data" --packs "$folder/packs" > "$folder/out" 2> "$folder/log" &
    node=$!
    curl --silent --fail --output "$folder/ready" --retry 100 --retry-delay 1 --retry-connrefused "$url/readyz"
    ENSUE_TOKEN=$(grep -o 'ens_[a-z0-9_-]*' "$folder/out")
    export ENSUE_TOKEN
    printf secret-of-this-measurement | "$1" keys set bench.webhook_secret --server "$url" > "$folder/key" 2>&1 || {
        cat "$folder/key" >&2
        exit 1
    }
    before=$(ticks)
    wrk --threads 1 --connections 64 --duration 3s --script "$folder/deliver.lua" "$url" -- "$folder/bodies" > "$folder/sent"
    after=$(ticks)
    kill "$node"
    wait "$node" || true
    node=
    if grep 'Non-2xx\|Socket errors' "$folder/sent"; then
        echo "deliveries were rejected" >&2
        exit 1
    fi
    awk -v binary="$1" -v used=$((after - before)) -v hertz="$(getconf CLK_TCK)" '
        /requests in/ { count = $1 }
        /Requests\/sec/ { printf "%s %.0f %.1f\n", binary, $2, used * 1000000 / hertz / count }' "$folder/sent"
}

for _ in $(seq "$rounds"); do
    for ensue in "$@"; do
        measure "$ensue"
    done
done
