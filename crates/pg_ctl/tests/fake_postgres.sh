#!/bin/sh
# A server as far as pg_ctl can see one: it writes postmaster.pid and postmaster.opts, obeys signals and
# notes them in "signals". The file "behaviour" in the data directory says how it behaves.
if [ "$1" = "-V" ]; then echo "$FAKE_VERSION"; exit 0; fi
behaviour=$(cat "$PGDATA/behaviour" 2>/dev/null)
echo "started with $*"
if [ "$behaviour" = fail ]; then echo FAIL >> "$PGDATA/signals"; exit 1; fi

quoted=""
for argument in "$@"; do quoted="$quoted \"$argument\""; done
echo "$0$quoted" > "$PGDATA/postmaster.opts"

status() {
    # In one write, by rename: a reader must never see half of it.
    printf '%s\n%s\n%s\n5432\n/tmp\n\n        1         2\n%s\n' $$ "$PGDATA" "$(date +%s)" "$1" > "$PGDATA/pid.new"
    mv "$PGDATA/pid.new" "$PGDATA/postmaster.pid"
}
# Its report, as one that waits for an archiver with 40 of 100 files left, since $began.
report() {
    now=$(date +%s)
    printf '{"pid":%s,"mode":"fast","phase":"wal","since":%s,"phase_since":%s,"updated":%s,"awaited":[{"kind":"archiver","pid":33,"files":40,"initial":100,"rate":2.0,"seconds":20.0,"condition":"moving"}],"seconds":20.0}\n' \
        $$ "$began" "$began" "$now" > "$PGDATA/report.new"
    mv "$PGDATA/report.new" "$PGDATA/postmaster.stop"
}
leave() {
    echo "$1" >> "$PGDATA/signals"
    if [ "$behaviour" = reporting ] && [ "$1" = INT ]; then
        [ -e "$PGDATA/deadline" ] && mv "$PGDATA/deadline" "$PGDATA/deadline_taken"
        began=${began:-$(date +%s)}
        report
        return
    fi
    [ "$behaviour" = stubborn ] && [ "$1" != QUIT ] && return
    rm -f "$PGDATA/postmaster.stop" "$PGDATA/postmaster.pid"
    kill "$nap" 2>/dev/null
    exit 0
}
trap 'leave TERM' TERM
trap 'leave INT' INT
trap 'leave QUIT' QUIT
trap 'echo HUP >> "$PGDATA/signals"' HUP
user1() {
    echo USR1 >> "$PGDATA/signals"
    if [ "$behaviour" = answering ] && [ -e "$PGDATA/forecast" ]; then
        printf '{"nonce":"%s","observation":{"archiver":{"pid":33,"files":1,"rate":2.0,"workers":1},"checkpoint":{"bytes":8192,"rate":1e6}}}\n' \
            "$(cat "$PGDATA/forecast")" > "$PGDATA/answer.new"
        rm "$PGDATA/forecast"
        mv "$PGDATA/answer.new" "$PGDATA/postmaster.forecast"
    fi
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
    if [ -n "$began" ]; then
        report
        [ -e "$PGDATA/finish" ] && leave finish
    fi
    sleep 1 & nap=$!
    wait $nap
done
