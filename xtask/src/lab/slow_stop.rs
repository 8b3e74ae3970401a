//! The second document, played: "why stopping may become slow with a standby".
//!
//! A fast stop waits for two who bring WAL away: walsenders, until their receivers have confirmed all of it, and the archiver, until
//! nothing is left to archive. Here both have much to do, and the receiver does not even move. The stop is foretold, watched, explained to
//! who is turned away, and then, in a second act, bounded: what is given up is named, and delivered after the next start.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use integration::procfs;
use serde_json::Value;

use super::{Lab, Result};

const START: &str = "pg_ctl start -D $PGDATA -l server.log";
const RECEIVE: &str = "pg_receivewal -D received -s 1 --no-loop > receiver.log 2>&1";
const WAITING: &str = "ls $PGDATA/pg_wal/archive_status | grep -c ready";

/// Rows of the two acts. Each makes 1 kB of WAL, so that a thousand fill a segment: in the first a hundred files wait for the
/// archive. When nobody watches fewer do as well.
fn rows(lab: &Lab) -> [u32; 2] {
    if lab.is_fast() { [40_000, 40_000] } else { [120_000, 60_000] }
}

/// Scene by scene.
pub(super) fn play(lab: &mut Lab) -> Result {
    make_a_cluster(lab)?;
    let receiver = receive(lab)?;
    freeze_and_write(lab, receiver)?;
    ask_for_the_forecast(lab)?;
    stop_and_watch(lab, receiver)?;
    receiver_ends(lab, receiver)?;
    everything_was_delivered(lab)?;
    stop_with_a_deadline(lab)?;
    what_was_given_up_is_not_lost(lab)
}

fn make_a_cluster(lab: &mut Lab) -> Result {
    lab.scene("A server whose WAL goes two ways")?;
    lab.say("Into an archive that is slow, and to a receiver, as a standby would be; segments of 1 MB, so that there are many.")?;
    let made =
        lab.run("mkdir archive received && initdb -A trust -U postgres --wal-segsize=1 > initdb.log")?;
    lab.claim("there is a cluster", made.code == Some(0), made)?;
    let (archive, delay) = (lab.place().path("archive"), lab.place().path("delay"));
    let command =
        format!("archive_command = 'sleep $(cat {}) && cp %p {}/%f'", delay.display(), archive.display());
    lab.place().configure(&["max_wal_size = 1GB", "archive_mode = on", &command])?;
    lab.run("echo 0.17 > delay")?;
    lab.run("tail -n 2 $PGDATA/postgresql.conf")?;
    start(lab, START)?;
    lab.run("psql -c 'create table orders (id int, note text)'")?;
    Ok(())
}

fn start(lab: &mut Lab, typed: &str) -> Result {
    let started = lab.run(typed)?;
    lab.claim("the server has started", started.code == Some(0), started)
}

/// A receiver that streams and has confirmed something; its pid.
fn receive(lab: &mut Lab) -> Result<i32> {
    let pid = lab.spawn(RECEIVE)?;
    lab.until("the receiver streams", |lab| {
        let sql =
            "select count(*) from pg_stat_replication where state = 'streaming' and write_lsn is not null";
        (number(lab, sql) == Some(1)).then_some(())
    })?;
    Ok(pid)
}

/// The receiver has nobody to talk to any more, and ends.
fn receiver_ends(lab: &mut Lab, pid: i32) -> Result {
    lab.until("the receiver ends", |_| (!procfs::is_alive(pid)).then_some(()))
}

/// A number that a query returns.
fn number(lab: &mut Lab, sql: &str) -> Option<i64> {
    let answer = lab.check(&format!("psql -At -c \"{sql}\"")).ok()?;
    answer.text.trim().parse().ok()
}

fn freeze_and_write(lab: &mut Lab, receiver: i32) -> Result {
    lab.scene("Much to deliver")?;
    lab.say("The receiver is stopped, as if its machine hung: connected, but it reads nothing. Then there is a lot of WAL.")?;
    lab.run(&format!("kill -STOP {receiver}"))?;
    write(lab, rows(lab)[0])?;
    lab.run("psql -c 'select application_name, state, sent_lsn, write_lsn, pg_current_wal_lsn() from pg_stat_replication'")?;
    lab.run(WAITING)?;
    Ok(())
}

fn write(lab: &mut Lab, rows: u32) -> Result {
    let sql = format!("insert into orders select g, repeat('x', 950) from generate_series(1, {rows}) g");
    let written = lab.run(&format!("psql -c \"{sql}\""))?;
    lab.claim("that many rows are committed", written.says(&format!("INSERT 0 {rows}")), written)
}

/// Bytes that the receiver has not confirmed.
fn unconfirmed(lab: &mut Lab) -> Option<i64> {
    let end = "pg_current_wal_flush_lsn()";
    number(
        lab,
        &format!("select pg_wal_lsn_diff({end}, coalesce(flush_lsn, write_lsn)) from pg_stat_replication"),
    )
}

/// Names in the status folder that end so.
fn waiting_files(lab: &Lab) -> i64 {
    let names = names_in(&lab.place().data_dir().join("pg_wal/archive_status"));
    names.iter().filter(|name| name.ends_with(".ready")).count() as i64
}

fn ask_for_the_forecast(lab: &mut Lab) -> Result {
    lab.scene("What would a stop wait for?")?;
    lab.say("Before anything is stopped, one can ask: with pg_ctl, or in SQL.")?;
    // Two seconds without a word from it make a receiver one that does not move.
    lab.until("it is known that the receiver does not move", |lab| {
        let sql = "select count(*) from pg_shutdown_forecast('fast') where kind = 'walsender' and detail like 'not moving%'";
        (number(lab, sql) == Some(1)).then_some(())
    })?;
    let forecast = lab.run("pg_ctl stop -m fast --forecast")?;
    let is_whole = ["walsender", "archiver", "not moving", "total"].iter().all(|word| forecast.says(word));
    lab.claim(
        "the forecast has a walsender that does not move, the archiver, and a total",
        is_whole,
        &forecast,
    )?;
    let lives = forecast.code == Some(0) && number(lab, "select 1") == Some(1);
    lab.claim("nothing was stopped", lives, forecast)?;
    lab.say("It is exact at the time of asking: counted, not estimated.")?;
    let before = (waiting_files(lab), unconfirmed(lab));
    let sql = "select kind, pid, bytes, files, seconds from pg_shutdown_forecast('fast')";
    let rows = lab.run(&format!("psql -c \"{sql}\""))?;
    let after = (waiting_files(lab), unconfirmed(lab));
    let cell = |kind: &str, column: usize| {
        let mut rows = rows.text.lines().map(|line| line.split('|').map(str::trim));
        rows.find_map(|mut cells| if cells.next() == Some(kind) { cells.nth(column - 1) } else { None })?
            .parse()
            .ok()
    };
    let files: i64 = cell("archiver", 3).unwrap_or(-1);
    let is_exact = (after.0..=before.0).contains(&files);
    lab.claim("so many files wait for the archive", is_exact, format!("{before:?} {after:?}\n{rows}"))?;
    let bytes = cell("walsender", 2);
    let is_exact = bytes.is_some() && before.1 <= bytes && bytes <= after.1;
    lab.claim(
        "so many bytes are not confirmed by the receiver",
        is_exact,
        format!("{before:?} {after:?}\n{rows}"),
    )
}

/// Is this process among those that a fast stop waits for?
fn awaits(status: &Value, pid: i32) -> bool {
    if status["mode"] != "fast" {
        return false;
    }
    let awaited = status["awaited"].as_array().into_iter().flatten();
    awaited
        .into_iter()
        .any(|item| item["pid"] == pid && item["bytes"].as_u64().is_some_and(|bytes| bytes > 0))
}

fn stop_and_watch(lab: &mut Lab, receiver: i32) -> Result {
    lab.scene("The stop, and why it takes so long")?;
    lab.say(
        "pg_ctl shows what is awaited; in the background here, to have a look at other places meanwhile.",
    )?;
    let walsender = lab.place().find(&["wal sender process"]).unwrap_or_default();
    lab.run_beside("pg_ctl", "pg_ctl stop -m fast --progress=plain")?;
    let name = format!("(PID {walsender})");
    lab.until("pg_ctl names the walsender", |lab| lab.background_says(&name).then_some(()))?;
    lab.claim("pg_ctl names the walsender", true, "")?;
    lab.say("Who connects now is turned away, and told why it takes so long:")?;
    let refused = lab.run("psql -c 'select 1'")?;
    let is_told = refused.code == Some(2)
        && refused.says("FATAL:  the database system is shutting down")
        && refused.says("DETAIL:  ")
        && refused.says(&name);
    lab.claim("a client that is refused reads what the stop waits for", is_told, refused)?;
    lab.say(
        "Programs read a file in the data directory; the postmaster writes it anew four times a second.",
    )?;
    let shown = lab.run("cat $PGDATA/postmaster.stop")?;
    let is_named = serde_json::from_str(&shown.text).is_ok_and(|status| awaits(&status, walsender));
    lab.claim("it names the walsender, its pid, and what is left", is_named, shown)?;
    lab.say("Now the receiver's machine recovers.")?;
    lab.run(&format!("kill -CONT {receiver}"))?;
    let stopped = lab.finish_background()?;
    lab.claim(
        "the server has stopped, and pg_ctl has said what it waited for",
        stopped.code == Some(0),
        &stopped,
    )?;
    let is_removed = !lab.place().data_dir().join("postmaster.stop").exists();
    lab.claim("the status file is gone", is_removed, "postmaster.stop is still there")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Segments in a folder, by number; one that is not finished yet is among them.
fn segments(folder: &Path) -> BTreeMap<u64, PathBuf> {
    let number = |name: &str| {
        let name = name.trim_end_matches(".partial");
        let (high, low) = (name.get(8..16)?, name.get(16..24)?);
        // 4 GB hold 4096 segments of 1 MB.
        let number = u64::from_str_radix(high, 16).ok()? * 4096 + u64::from_str_radix(low, 16).ok()?;
        (name.len() == 24).then_some(number)
    };
    let names = names_in(folder).into_iter();
    names.filter_map(|name| Some((number(&name)?, folder.join(&name)))).collect()
}

/// How many segments the archive holds, if it has no gap and the receiver has the same from where it began.
fn delivered(lab: &Lab) -> std::result::Result<usize, String> {
    let archived = segments(&lab.place().path("archive"));
    let received = segments(&lab.place().path("received"));
    let (Some((first, _)), Some((last, _))) = (archived.first_key_value(), archived.last_key_value()) else {
        return Err("the archive is empty".into());
    };
    if last - first + 1 != archived.len() as u64 {
        return Err(format!("the archive has a gap between {first} and {last}"));
    }
    let begun = received.first_key_value().map_or(*first, |(number, _)| *number);
    for (number, original) in archived.range(begun.min(*last)..) {
        let copy = received.get(number).and_then(|path| fs::read(path).ok());
        if copy.is_none() || copy != fs::read(original).ok() {
            return Err(format!("segment {number} was not received as it was archived"));
        }
    }
    match waiting_files(lab) {
        0 => Ok(archived.len()),
        waiting => Err(format!("{waiting} files still wait for the archive")),
    }
}

fn claim_delivered(lab: &mut Lab) -> Result {
    let delivered = delivered(lab);
    let count = delivered.clone().unwrap_or_default();
    let claim = format!(
        "{count} segments are in the archive, without a gap; the receiver has the same, byte for byte"
    );
    lab.claim(&claim, delivered.is_ok(), delivered.err().unwrap_or_default())
}

fn everything_was_delivered(lab: &mut Lab) -> Result {
    lab.say("This is what the stop took its time for:")?;
    lab.run("ls archive | wc -l; ls received | wc -l")?;
    claim_delivered(lab)
}

fn stop_with_a_deadline(lab: &mut Lab) -> Result {
    lab.scene("The same with a deadline")?;
    lab.say(
        "Whoever has no time for that would use kill -9, and recover from a crash at the next start. There is a better way: a \
         bound. And now the archive takes a second for each file.",
    )?;
    start(lab, START)?;
    let receiver = receive(lab)?;
    lab.run(&format!("kill -STOP {receiver}"))?;
    lab.run("echo 1 > delay")?;
    write(lab, rows(lab)[1])?;
    let walsender = lab.place().find(&["wal sender process"]).unwrap_or_default();
    let seen = log(lab).len();
    // Its picture is drawn on the terminal, if there is one.
    let style = if lab.is_terminal() { "bar" } else { "plain" };
    let stopped = lab.run_raw(&format!("pg_ctl stop -m fast --deadline 5s --progress={style}"))?;
    lab.claim("the server has stopped, though the receiver did not move", stopped.code == Some(0), stopped)?;
    let new = log(lab).get(seen..).unwrap_or_default().to_owned();
    lab.run("tail -n 12 server.log")?;
    let is_named = new.contains(&format!("[{walsender}] LOG:  terminating walsender process"))
        && new.contains("\"pg_receivewal\" was sent WAL up to ");
    lab.claim("the log says what the receiver did not get", is_named, &new)?;
    let waiting = waiting_files(lab);
    let is_counted =
        waiting > 0 && new.contains(&format!("the deadline of the stop: {waiting} files are left"));
    lab.run(WAITING)?;
    lab.claim("and how many files were not archived", is_counted, &new)?;
    lab.say("All of that is kept. And the stop was a clean one: the shutdown checkpoint is there.")?;
    let state = lab.run("pg_controldata | grep state")?;
    lab.claim("the cluster was shut down", state.says(" shut down\n"), state)?;
    lab.run(&format!("kill -CONT {receiver}"))?;
    receiver_ends(lab, receiver)
}

fn log(lab: &Lab) -> String {
    let text = fs::read(lab.place().path("server.log")).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

fn what_was_given_up_is_not_lost(lab: &mut Lab) -> Result {
    lab.scene("After the next start")?;
    lab.say("The archive is as it was, and gets eight files at a time to catch up; the receiver goes on where it was.")?;
    lab.run("echo 0.17 > delay")?;
    let seen = log(lab).len();
    start(lab, &format!("{START} -o '-c archive_max_workers=8'"))?;
    let new = log(lab).get(seen..).unwrap_or_default().to_owned();
    let is_clean = new.contains("database system was shut down at") && !new.contains("recovery");
    lab.claim("there was nothing to recover", is_clean, new)?;
    receive(lab)?;
    lab.until("nothing waits for the archive any more", |lab| (waiting_files(lab) == 0).then_some(()))?;
    lab.until("the receiver has confirmed everything", |lab| (unconfirmed(lab) == Some(0)).then_some(()))?;
    lab.run(WAITING)?;
    let stopped = lab.run("pg_ctl stop")?;
    lab.claim("nobody has to be waited for now", stopped.code == Some(0), stopped)?;
    claim_delivered(lab)
}
