//! The first document, played: "PostgreSQL can continue when postmaster killed".
//!
//! The postmaster is killed twice. Both times its session goes on and inserts a row: once committed asynchronously, which is lost
//! because the WAL writer has died with the postmaster, and once synchronously, which the session itself has made safe.

use super::{Answer, Lab, Result, Session};

/// All processes of a quiet cluster besides the postmaster and its sessions.
const ROSTER: [&str; 6] = [
    "logger process",
    "checkpointer process",
    "writer process",
    "wal writer process",
    "autovacuum launcher process",
    "stats collector process",
];
const SESSION: &str = "postgres postgres [local] idle";
/// Nobody has forgotten to press a key: the shell takes the pid from the file that the postmaster has written.
const KILL: &str = "kill -9 $(head -n 1 $PGDATA/postmaster.pid)";
const START: &str = "pg_ctl start -D $PGDATA -l server.log";

/// Scene by scene.
pub(super) fn play(lab: &mut Lab) -> Result {
    make_a_cluster(lab)?;
    let mut session = connect(lab)?;
    lab.ask(&mut session, "create table test(id int);")?;
    kill_the_postmaster(lab)?;
    the_session_goes_on(lab, &mut session)?;
    what_does_not_go_on(lab, &mut session)?;
    leave_and_start_again(lab, session)?;
    the_row_is_gone(lab)?;
    the_same_synchronously(lab)?;
    lab.scene("The end")?;
    let stopped = lab.run("pg_ctl stop")?;
    lab.claim("the server stops as if nothing had ever happened", stopped.code == Some(0), stopped)
}

/// What the server's processes call themselves, without what they have in common.
fn titles(lab: &Lab) -> Vec<String> {
    let common = format!("postgres: {}: ", lab.place().word());
    let all = lab.place().processes().into_iter();
    all.map(|process| process.title.strip_prefix(&common).unwrap_or("the postmaster").to_owned()).collect()
}

/// All processes of the server, as a person looks for them: by the name of the cluster, which each has in its title.
fn ps(lab: &mut Lab) -> Result<Answer> {
    let word = lab.place().word();
    let (first, rest) = word.split_at(1);
    lab.run(&format!("ps -eo pid,ppid,args | grep '[{first}]{rest}'"))
}

fn make_a_cluster(lab: &mut Lab) -> Result {
    lab.scene("A postmaster and its children")?;
    let made = lab.run("initdb -A trust -U postgres > initdb.log")?;
    lab.claim("there is a cluster", made.code == Some(0), made)?;
    lab.place().configure(&["logging_collector = on", "log_filename = 'postgresql.log'"])?;
    let started = lab.run(START)?;
    lab.claim("the server has started", started.code == Some(0), started)?;
    lab.say(
        "The postmaster listens, forks and waits; all work is done by its children. The second column of ps is a process's \
         parent.",
    )?;
    lab.until("the postmaster has started all of its children", |lab| {
        ROSTER.iter().all(|title| titles(lab).iter().any(|one| one == title)).then_some(())
    })?;
    let shown = ps(lab)?;
    let has_all = ROSTER.iter().all(|title| shown.says(title));
    lab.claim("it has six children: among them the wal writer, which will be missed", has_all, shown)
}

fn connect(lab: &mut Lab) -> Result<Session> {
    lab.say(
        "A client connects. From now on it talks to a process of its own; the postmaster only forked it.",
    )?;
    lab.psql()
}

fn kill_the_postmaster(lab: &mut Lab) -> Result {
    lab.scene("kill -9 the postmaster")?;
    lab.say(
        "SIGKILL cannot be caught: the postmaster has no time to tell anybody. Orphans get process 1 as their parent, or who has \
         volunteered; here the lab has.",
    )?;
    lab.run(KILL)?;
    let left = |lab: &mut Lab| (titles(lab) == ["logger process", SESSION]).then_some(());
    lab.until("only the logger and the session are left", left)?;
    let shown = ps(lab)?;
    let parents: Vec<&str> = shown.text.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let is_orphaned = parents.len() == 2 && parents.windows(2).all(|two| two[0] == two[1]);
    lab.claim("only the logger and the session are left, both with a new parent", is_orphaned, &shown)?;
    lab.say(
        "Each child holds the reading end of a pipe whose writing end only the postmaster had. When that was closed, the \
         checkpointer, the writer, the wal writer and the others ended by themselves. Sessions do not: their clients need them.",
    )
}

fn the_session_goes_on(lab: &mut Lab, session: &mut Session) -> Result {
    lab.scene("The session goes on")?;
    lab.say("In the psql that is still open, a commit that does not wait for WAL to be on disk:")?;
    let mut all = lab.ask(session, "set synchronous_commit = off;")?.text;
    let inserted = lab.ask(session, "insert into test values (1);")?;
    all.push_str(&inserted.text);
    let selected = lab.ask(session, "select ctid, * from test;")?;
    all.push_str(&selected.text);
    lab.claim("it inserts", inserted.says("INSERT 0 1"), &inserted)?;
    lab.claim("it sees its row", selected.says("(0,1) |  1"), &selected)?;
    let warnings = all.matches("the postmaster of this session has died").count();
    lab.claim("it was warned, once", warnings == 1, all)
}

fn what_does_not_go_on(lab: &mut Lab, session: &mut Session) -> Result {
    lab.scene("What needs the others")?;
    lab.say("Nobody listens any more, so nobody new comes in:")?;
    let refused = lab.run("psql -c 'select 1'")?;
    let is_refused = refused.code == Some(2) && refused.says("Connection refused");
    lab.claim("a new connection is refused by the kernel", is_refused, refused)?;
    lab.say("And no backend makes a checkpoint itself; it asks the checkpointer.")?;
    let checkpoint = lab.ask(session, "checkpoint;")?;
    let says_why = checkpoint.says("ERROR:  could not signal for checkpoint: No such process");
    lab.claim("CHECKPOINT says why not", says_why, checkpoint)?;
    lab.say(
        "A second postmaster on the same files, while the old session writes to them, would destroy both. It looks who is \
         attached to the old shared memory segment:",
    )?;
    let started = lab.run(START)?;
    lab.claim("it does not start", started.code == Some(1), started)?;
    let why = lab.run("tail -n 2 server.log")?;
    lab.claim(
        "and says why",
        why.says("pre-existing shared memory block") && why.says("is still in use"),
        why,
    )?;
    let again = lab.ask(session, "select * from test;")?;
    lab.claim("the session has not noticed", again.says("(1 row)"), again)
}

/// The session leaves, and with it the logger; then the server can start.
fn leave_and_start_again(lab: &mut Lab, session: Session) -> Result {
    lab.scene("The session leaves")?;
    lab.leave(session)?;
    lab.until("nobody is left", |lab| titles(lab).is_empty().then_some(()))?;
    let shown = ps(lab)?;
    lab.claim(
        "nobody is left: the logger ends when the last one closes the log",
        shown.text.is_empty(),
        shown,
    )?;
    start_after_a_crash(lab)
}

fn start_after_a_crash(lab: &mut Lab) -> Result {
    let started = lab.run(START)?;
    let has_started = started.code == Some(0) && started.says("another server might be running");
    lab.claim("the server starts, over the dead one's postmaster.pid", has_started, started)?;
    let log = lab.run("grep -E 'interrupted|recovery|redo' $PGDATA/log/postgresql.log | tail -n 4")?;
    lab.claim("it has recovered from WAL", log.says("automatic recovery in progress"), log)
}

fn the_row_is_gone(lab: &mut Lab) -> Result {
    let selected = lab.run("psql -c 'select ctid, * from test'")?;
    lab.claim("the row is gone", selected.says("(0 rows)"), selected)?;
    lab.say(
        "Its WAL was in shared memory only. The wal writer would have written it within a fraction of a second, but it had died \
         with the postmaster, and an asynchronous commit does not write.",
    )
}

fn the_same_synchronously(lab: &mut Lab) -> Result {
    lab.scene("The same, with synchronous commits")?;
    let mut session = lab.psql()?;
    lab.run(KILL)?;
    lab.until("only the logger and the session are left", |lab| {
        (titles(lab) == ["logger process", SESSION]).then_some(())
    })?;
    lab.ask(&mut session, "set synchronous_commit = on;")?;
    let inserted = lab.ask(&mut session, "insert into test values (2);")?;
    lab.claim("it inserts", inserted.says("INSERT 0 1"), inserted)?;
    lab.leave(session)?;
    lab.until("nobody is left", |lab| titles(lab).is_empty().then_some(()))?;
    start_after_a_crash(lab)?;
    let selected = lab.run("psql -c 'select ctid, * from test'")?;
    let is_there = selected.says("|  2") && selected.says("(1 row)");
    lab.claim("the row is there: the session has written and synced its WAL itself", is_there, selected)
}
