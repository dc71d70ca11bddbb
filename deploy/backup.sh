#!/bin/sh
# Copy what cannot be made again: deploy/backup.sh <data folder> <new folder>
set -eu
data=${1:?the data folder} target=${2:?the folder to make}
[ ! -e "$target" ] || { echo "$target exists; name a new folder" >&2; exit 2; }
unfinished="$target.unfinished"
rm -rf "$unfinished"
mkdir -p "$unfinished"
# The same lock that a run takes: no run begins to write while the warehouse is copied, and one that writes is
# waited for. Then the landing: batches that arrive meanwhile are newer than the warehouse, which is what a
# night expects.
flock --wait 14400 "$data/run.lock" find "$data" -maxdepth 1 -name "warehouse.duckdb*" -exec cp -p {} "$unfinished/" \;
tar -C "$data" --exclude='landing/.inflight' --exclude='landing/.damaged' --exclude='landing/.retired' \
    -cf "$unfinished/landing.tar" landing
sync
mv "$unfinished" "$target"
echo "backed up to $target"
