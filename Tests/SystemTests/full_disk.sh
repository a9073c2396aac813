#!/usr/bin/env bash
# Runs job.yaml on a file system of two megabytes at disk/ that is full, then read-only, then has
# room, and prints the three exit codes. It is mounted in namespaces of this script's own, so that
# nobody else sees it and no rights are needed; what is to outlive it is copied to kept/.
#
# Usage: full_disk.sh TRANCHE CHECKPOINTS, in the job's folder.
set -uo pipefail
if [ "${1:-}" != inside ]; then exec unshare --map-root-user --mount "$0" inside "$@"; fi
tranche=$2 checkpoints=$3
mount -t tmpfs -o size=2m none disk || exit 1
mkdir -p disk/checkpoints disk/out
"$tranche" run job.yaml --checkpoints "$checkpoints" --batches 1 > first.txt 2>&1 \
  || { cat first.txt >&2; exit 1; }
dd if=/dev/zero of=disk/filler bs=4096 > /dev/null 2>&1
"$tranche" run job.yaml --checkpoints "$checkpoints" > full.txt 2>&1
full=$?
mount -o remount,ro none disk
"$tranche" run job.yaml --checkpoints "$checkpoints" > read_only.txt 2>&1
read_only=$?
mount -o remount,rw none disk
rm disk/filler
"$tranche" run job.yaml --checkpoints "$checkpoints" > room.txt 2>&1
echo "$full $read_only $?"
cp -r disk kept
