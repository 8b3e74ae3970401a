#!/bin/sh
# A server as far as pg_ctl can see one: it writes postmaster.pid and postmaster.opts, obeys signals and
# notes them in "signals". The file "behaviour" in the data directory says how it behaves.
if [ "$1" = "-V" ]; then echo "$FAKE_VERSION"; exit 0; fi
behaviour=$(cat "$PGDATA/behaviour" 2>/dev/null)
echo "started with $*"
[ "$behaviour" = fail ] && exit 1

quoted=""
for argument in "$@"; do quoted="$quoted \"$argument\""; done
echo "$0$quoted" > "$PGDATA/postmaster.opts"

status() {
    # In one write, by rename: a reader must never see half of it.
    printf '%s\n%s\n%s\n5432\n/tmp\n\n        1         2\n%s\n' $$ "$PGDATA" "$(date +%s)" "$1" > "$PGDATA/pid.new"
    mv "$PGDATA/pid.new" "$PGDATA/postmaster.pid"
}
leave() {
    echo "$1" >> "$PGDATA/signals"
    [ "$behaviour" = stubborn ] && [ "$1" != QUIT ] && return
    rm -f "$PGDATA/postmaster.pid"
    kill "$nap" 2>/dev/null
    exit 0
}
trap 'leave TERM' TERM
trap 'leave INT' INT
trap 'leave QUIT' QUIT
trap 'echo HUP >> "$PGDATA/signals"' HUP
user1() {
    echo USR1 >> "$PGDATA/signals"
    if [ -e "$PGDATA/promote" ] && [ -e "$PGDATA/primary_control" ]; then
        rm "$PGDATA/promote"
        mv "$PGDATA/primary_control" "$PGDATA/global/pg_control"
    fi
}
trap user1 USR1

case $behaviour in
slow) status starting ;;
standby) status 'standby ' ;;
*) status 'ready   ' ;;
esac
while :; do
    sleep 1 & nap=$!
    wait $nap
done
