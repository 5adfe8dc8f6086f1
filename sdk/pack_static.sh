#!/bin/sh
# pack_static.sh OUTPUT SDK OTHERS...: one archive with all of SDK and what it needs of OTHERS, in
# which only the names drt_* are visible to who links it.
set -eu
output=$1
sdk=$2
shift 2
object=$output.o
ld -r -o "$object" --whole-archive "$sdk" --no-whole-archive --start-group "$@" --end-group
objcopy --wildcard --keep-global-symbol='drt_*' "$object"
rm -f "$output"
ar rcs "$output" "$object"
rm -f "$object"
