#!/usr/bin/env bash
# Runs job.yaml on file systems of its own, each a step larger than the one before, until a run has
# all the room that it needs: so the disk fills in every place where a run writes. After each run
# the disk gets room and the job runs again. A line for each size: the size in KiB, the two exit
# codes, and a digest of the state and the objects; the first line is of a disk with room.
#
# Usage: filling_disk.sh TRANCHE new|old STEP_KIB, in the job's folder. "old" begins with a
# checkpoint of one batch and a disk that has so many KiB left beside it. (Bytes of results are not
# in the digest: they are kept for objects that the store is yet to be asked about.)
set -uo pipefail
if [ "${1:-}" != inside ]; then exec unshare --map-root-user --mount "$0" inside "$@"; fi
tranche=$2 kind=$3 step=$4
mkdir -p disk
state='
  SELECT source, topic, partition, start_offset, next_offset FROM partitions ORDER BY 1, 2, 3;
  SELECT batch, offsets, records, counted, rejected, ranges FROM batches ORDER BY 1;
  SELECT * FROM windows ORDER BY 1; SELECT * FROM window_offsets ORDER BY 1, 2;
  SELECT * FROM rejects ORDER BY 1, 2, 3, 4, 5, 6;
  SELECT object_key, kind, number, revision, published_revision, etag, byte_count FROM outputs
  ORDER BY 1; SELECT * FROM retired_objects; SELECT * FROM in_flight'

run() { "$tranche" run job.yaml --checkpoints disk/checkpoints "$@" >> said.txt 2>&1; }
query() { sqlite3 disk/checkpoints/job.sqlite "$@"; }
digest() {
  {
    query "$state" || echo "no state"
    # A row job has no groups.
    if [ "$(query "SELECT count(*) FROM sqlite_schema WHERE name = 'groups'")" = 1 ]; then
      query 'SELECT * FROM groups ORDER BY 1, 2'
    fi
    # The owner's token is another in every run.
    cd disk/out && find . -type f ! -path ./_tranche/owner | sort | xargs md5sum
  } | md5sum | cut -d' ' -f1
}
begin() { # a disk that has "old"'s first batch
  mount -t tmpfs -o size=16m none disk || exit 1
  if [ "$kind" = old ]; then run --batches 1 || exit 1; fi
}

begin
run
echo "room $? 0 $(digest)"
umount disk
complete=0
for ((size = 0; complete < 3; size += step)); do
  if [ "$kind" = old ]; then
    begin
    used=$(df --output=used -k disk | tail -1)
    mount -o "remount,size=$((used + size))k" disk
  else
    mount -t tmpfs -o "size=$((size > 0 ? size : 4))k" none disk || exit 1
  fi
  : > said.txt
  run
  first=$?
  mount -o remount,size=16m disk
  run
  second=$?
  echo "$size $first $second $(digest)"
  if [ $first -ne 0 ] && [ $first -ne 74 ] || [ $second -ne 0 ]; then cat said.txt >&2; fi
  if [ $first -eq 0 ]; then complete=$((complete + 1)); else complete=0; fi
  umount disk
done
