#!/bin/sh
# Measures what `ensue bench aims` has targets for, in one session, and shows which targets are met:
#
#     bench/aims.sh FOLDER [ENSUE [GRAPHS]]
#
# FOLDER is created, and gets a JSON document for each measurement. ENSUE is the binary to measure, else
# target/release/ensue. GRAPHS is a folder of graphs for `ensue bench workflow`; without it no graphs are run.
# Run it with nothing else running.
set -eu
folder=${1:?name a folder for the documents}
ensue=${2:-target/release/ensue}
mkdir "$folder"

measure() {
    document=$folder/$1.json
    shift
    "$ensue" bench "$@" --output json > "$document"
}

measure closed limits ingest rule http rules batch streams workflow backtest ${3:+--graphs "$3"}
measure rule-2000 rule --rate 2000
measure http-1000 http --rate 1000
measure http-20 http --rate 20
measure http-at-rest http --rest 300
"$ensue" bench aims "$folder"/*.json
