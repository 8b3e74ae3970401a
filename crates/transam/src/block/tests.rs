//! Conversations: a client's commands, and what the block is after each.

use super::*;

/// Runs `commands` and writes down, for each, the status and what was warned of, refused or ended.
fn play(commands: &str) -> String {
    let mut transaction = Transaction::default();
    let mut shown = Vec::new();
    for command in commands.split(';').map(str::trim) {
        let result = step(&mut transaction, command);
        let mut line = format!("{} {}", command, transaction.status().byte() as char);
        match result {
            Err(error) => {
                line += &format!(" !{}", error.sqlstate);
                transaction.fail();
                line += &format!(" then {}", transaction.status().byte() as char);
            }
            Ok(outcome) => {
                let note =
                    |what: &str, level: Option<usize>| level.map_or(String::new(), |l| format!(" {what}{l}"));
                line += &note("+", outcome.began);
                line += &note("commit", outcome.committed_from);
                line += &note("abort", outcome.aborted_from);
                line += if outcome.prepares { " prepare" } else { "" };
                line += &outcome.tag.map_or(String::new(), |tag| format!(" tag={tag}"));
                line += &outcome.warning.map_or(String::new(), |w| format!(" warning={}", w.sqlstate));
            }
        }
        shown.push(line);
    }
    shown.join("\n")
}

fn step(t: &mut Transaction, command: &str) -> Result<Outcome> {
    let (verb, name) = command.split_once(' ').unwrap_or((command, ""));
    match verb {
        "start" => Ok(t.start_statement()),
        "end" => Ok(t.end_statement()),
        "fail" => Ok(t.fail()),
        "implicit" => {
            t.begin_implicit();
            Ok(Outcome::default())
        }
        "endimplicit" => {
            t.end_implicit();
            Ok(Outcome::default())
        }
        "begin" => Ok(t.begin()),
        "commit" => t.commit(name == "chain"),
        "rollback" => t.rollback(name == "chain"),
        "prepare" => Ok(t.prepare()),
        "savepoint" => t.savepoint(name),
        "release" => t.release(name),
        "to" => t.rollback_to(name),
        other => panic!("unknown command {other}"),
    }
}

#[track_caller]
fn check(commands: &str, expected: &[&str]) {
    assert_eq!(play(commands), expected.join("\n"));
}

#[test]
fn a_statement_alone_is_a_transaction() {
    check("start; end; start; fail", &["start I +1", "end I commit1", "start I +1", "fail I abort1"]);
}

#[test]
fn a_block_lasts_until_its_end() {
    check(
        "start; begin; end; start; end; commit; end",
        &["start I +1", "begin T", "end T", "start T", "end T", "commit I commit1", "end I"],
    );
}

#[test]
fn a_failed_block_rolls_back_whatever_its_end_is_called() {
    check(
        "start; begin; fail; fail; commit",
        &["start I +1", "begin T", "fail E abort1", "fail E", "commit I abort1 tag=ROLLBACK"],
    );
}

#[test]
fn ends_without_a_beginning_are_warned_of() {
    check("start; commit", &["start I +1", "commit I commit1 warning=25P01"]);
    check("start; rollback", &["start I +1", "rollback I abort1 warning=25P01"]);
    check("start; begin; begin", &["start I +1", "begin T", "begin T warning=25001"]);
}

#[test]
fn savepoints_nest() {
    check(
        "start; begin; savepoint a; savepoint b; to a; release a; to a; commit",
        &[
            "start I +1",
            "begin T",
            "savepoint a T +2",
            "savepoint b T +3",
            "to a T +2 abort2",
            "release a T commit2",
            "to a T !3B001 then E",
            "commit I abort1 tag=ROLLBACK",
        ],
    );
}

#[test]
fn a_savepoint_rescues_a_failed_block() {
    check(
        "start; begin; savepoint a; fail; to a; commit",
        &[
            "start I +1",
            "begin T",
            "savepoint a T +2",
            "fail E abort2",
            "to a T +2 abort2",
            "commit I commit1",
        ],
    );
}

#[test]
fn a_string_of_statements_is_one_transaction() {
    check(
        "implicit; start; end; start; endimplicit; end",
        &["implicit I", "start I +1", "end I", "start I", "endimplicit I", "end I commit1"],
    );
    check("implicit; start; savepoint a", &["implicit I", "start I +1", "savepoint a I !25P01 then I"]);
    check("implicit; start; begin; endimplicit", &["implicit I", "start I +1", "begin T", "endimplicit T"]);
}

#[test]
fn chain_begins_the_next_one() {
    check(
        "start; begin; commit chain; rollback chain; rollback",
        &[
            "start I +1",
            "begin T",
            "commit chain T +1 commit1",
            "rollback chain T +1 abort1",
            "rollback I abort1",
        ],
    );
    check("start; commit chain", &["start I +1", "commit chain I !25P01 then I"]);
}

#[test]
fn preparing_ends_the_block() {
    check(
        "start; begin; savepoint a; prepare; end; start; end",
        &[
            "start I +1",
            "begin T",
            "savepoint a T +2",
            "prepare I prepare",
            "end I",
            "start I +1",
            "end I commit1",
        ],
    );
    check(
        "start; begin; fail; prepare; start; prepare",
        &[
            "start I +1",
            "begin T",
            "fail E abort1",
            "prepare I abort1 tag=ROLLBACK",
            "start I +1",
            "prepare I commit1 tag=ROLLBACK warning=25P01",
        ],
    );
    check("start; implicit; prepare", &["start I +1", "implicit I", "prepare I prepare warning=25P01"]);
}
