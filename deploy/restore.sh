#!/bin/sh
# Bring a backup into an empty data folder: deploy/restore.sh <backup> <data folder>
set -eu
backup=${1:?the backup} data=${2:?the data folder}
[ -f "$backup/landing.tar" ] && [ -f "$backup/warehouse.duckdb" ] || { echo "$backup is no whole backup" >&2; exit 2; }
mkdir -p "$data"
[ -z "$(ls -A "$data")" ] || { echo "$data is not empty; restore into a new folder" >&2; exit 2; }
tar -C "$data" -xf "$backup/landing.tar"
cp -p "$backup"/warehouse.duckdb* "$data/"
echo "restored into $data; make run publishes"
