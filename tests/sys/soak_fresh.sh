#!/bin/sh
# Both commands in a Debian 12 that has nothing else.
exec "$(dirname "$0")/../../tools/fresh"
