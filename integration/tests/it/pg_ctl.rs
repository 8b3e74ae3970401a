//! `pg_ctl` as a person uses it: what it says, where, and its exit code.
//!
//! The scripts run with each server's own `pg_ctl`; one test lets the real one loose on this project's server.

use std::fs;

use integration::{Cluster, Server, Stop, Wire, on_each_server, process, procfs, wait_until};

use crate::support::{cluster_of, said, started};

/// Runs `pg_ctl -D DATA words...` and compares exit code, standard output and standard error.
#[track_caller]
fn check(cluster: &Cluster, words: &str, code: i32, stdout: &str, stderr: &str) {
    let args: Vec<&str> = words.split_whitespace().collect();
    compare(cluster, words, &cluster.pg_ctl(&args), (code, stdout, stderr));
}

#[track_caller]
fn compare(cluster: &Cluster, words: &str, output: &std::process::Output, expected: (i32, &str, &str)) {
    let text = |bytes: &[u8]| {
        let text = cluster.normalised(&String::from_utf8_lossy(bytes));
        // A dot for each second.
        let dots = regex_of_dots().replace_all(&text, "...").into_owned();
        if cluster.postmaster_pid() == 0 {
            dots
        } else {
            dots.replace(&cluster.postmaster_pid().to_string(), "N")
        }
    };
    let found = (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr));
    let found = (found.0, found.1.as_str(), found.2.as_str());
    assert_eq!(found, expected, "pg_ctl {words}, {:?}", cluster.server());
}

fn regex_of_dots() -> &'static regex::Regex {
    static DOTS: std::sync::OnceLock<regex::Regex> = std::sync::OnceLock::new();
    DOTS.get_or_init(|| regex::Regex::new(r"\.{3,}").expect("a valid pattern"))
}

const NO_PID_FILE: &str = "pg_ctl: PID file \"DATA/postmaster.pid\" does not exist\nIs server running?\n";
const STARTED: &str = "waiting for server to start... done\nserver started\n";
const STOPPED: &str = "waiting for server to shut down... done\nserver stopped\n";

/// Removes from stderr what only this project's pg_ctl says, and only of this project's server: who is still awaited.
fn take_awaited(output: &mut std::process::Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let (awaited, others): (Vec<&str>, Vec<&str>) =
        text.split_inclusive('\n').partition(|line| line.starts_with("still awaited: "));
    output.stderr = others.concat().into_bytes();
    awaited.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Whatever pg_ctl and a server make for a stop.
fn traces(cluster: &Cluster) -> Vec<String> {
    let names = fs::read_dir(cluster.data_dir()).expect("a data directory").flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let known = ["forecast", "deadline", "pgsql_tmp", "postmaster.forecast", "postmaster.stop"];
    names.filter(|name| known.iter().any(|known| name.starts_with(known))).collect()
}

/// How many descriptors for signals a process has that the programs it runs would inherit.
fn inheritable_signal_descriptors(pid: i32) -> usize {
    const CLOEXEC: u32 = 0o2_000_000;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("a process of our own").flatten();
    let is_inheritable = |descriptor: &fs::DirEntry| {
        let target = fs::read_link(descriptor.path()).unwrap_or_default();
        let number = descriptor.file_name().to_string_lossy().into_owned();
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        target.to_string_lossy() == "anon_inode:[signalfd]" && flags.is_some_and(|flags| flags & CLOEXEC == 0)
    };
    descriptors.filter(is_inheritable).count()
}

#[test]
fn a_life() {
    on_each_server("pg_ctl, a life", |server| {
        let cluster = cluster_of(server, &[]);
        check(&cluster, "status", 3, "pg_ctl: no server running\n", "");
        check(&cluster, "-l log start", 0, STARTED, "");
        let pid = cluster.postmaster_pid();
        assert_eq!(inheritable_signal_descriptors(pid), 0, "whatever pg_ctl listened with is its own");
        let opts = fs::read_to_string(cluster.data_dir().join("postmaster.opts")).expect("postmaster.opts");
        let running = format!("pg_ctl: server is running (PID: N)\n{}", cluster.normalised(&opts));
        check(&cluster, "status", 0, &running, "");
        check(&cluster, "reload", 0, "server signaled\n", "");
        cluster.wait_for_log("received SIGHUP, reloading configuration files");
        check(&cluster, "-l log restart", 0, &format!("{STOPPED}{STARTED}"), "");
        assert_ne!(cluster.postmaster_pid(), pid);
        check(&cluster, "-m smart -s stop", 0, "", "");
        check(&cluster, "status", 3, "pg_ctl: no server running\n", "");
        check(&cluster, "-l log -W start", 0, "server starting\n", "");
        wait_until("it is ready", || cluster.pid_file_line(8).as_deref() == Some("ready   "));
        cluster.adopt_postmaster();
        check(&cluster, "-W -m immediate stop", 0, "server shutting down\n", "");
        assert_eq!(cluster.wait_for_end().code(), Some(0));
    });
}

#[test]
fn options_reach_the_server_and_survive_a_restart() {
    on_each_server("pg_ctl -o", |server| {
        let cluster = cluster_of(server, &[]);
        let output = cluster.pg_ctl(&["-l", "log", "-o", "-c work_mem=5MB", "-o", "-B 64", "start"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let show = |name: &str| Wire::connect(&cluster).query(&format!("show {name}"));
        assert_eq!(show("work_mem"), ["5MB", "SHOW"]);
        assert_eq!(show("shared_buffers"), ["512kB", "SHOW"]);
        let opts = fs::read_to_string(cluster.data_dir().join("postmaster.opts")).expect("postmaster.opts");
        assert!(opts.ends_with("\"-c\" \"work_mem=5MB\" \"-B\" \"64\"\n"), "{opts}");
        assert_eq!(cluster.pg_ctl(&["-l", "log", "restart"]).status.code(), Some(0));
        assert_eq!(show("work_mem"), ["5MB", "SHOW"]);
        assert_eq!(cluster.pg_ctl(&["-l", "log", "-o", "", "restart"]).status.code(), Some(0));
        assert_eq!(cluster.pg_ctl(&["stop"]).status.code(), Some(0));
    });
}

#[test]
fn without_a_server() {
    on_each_server("pg_ctl without a server", |server| {
        let cluster = cluster_of(server, &[]);
        for mode in ["stop", "reload", "promote", "logrotate"] {
            check(&cluster, mode, 1, "", NO_PID_FILE);
        }
        let anyway = format!("{NO_PID_FILE}trying to start server anyway\n");
        // A restart wants to know how the server was started last.
        let no_options = format!("{anyway}pg_ctl: could not read file \"DATA/postmaster.opts\"\n");
        check(&cluster, "-l log restart", 1, "", &no_options);
        check(&cluster, "-l log start", 0, STARTED, "");
        check(&cluster, "stop", 0, STOPPED, "");
        check(&cluster, "-l log restart", 0, STARTED, &anyway);
        cluster.kill(cluster.postmaster_pid());
        wait_until("everyone is gone", || cluster.processes().is_empty());
        check(&cluster, "status", 3, "pg_ctl: no server running\n", "");
        for (mode, signal) in [("stop", "stop"), ("reload", "reload"), ("logrotate", "log rotation")] {
            let gone = format!("pg_ctl: could not send {signal} signal (PID: N): No such process\n");
            check(&cluster, mode, 1, "", &gone);
        }
        let standby = "pg_ctl: cannot promote server; server is not in standby mode\n";
        check(&cluster, "promote", 1, "", standby);
        let another = "pg_ctl: another server might be running; trying to start server anyway\n";
        check(&cluster, "-l log start", 0, STARTED, another);
        check(&cluster, "promote", 1, "", standby);
        cluster.kill(cluster.postmaster_pid());
        wait_until("everyone is gone", || cluster.processes().is_empty());
        let gone = "pg_ctl: old server process (PID: N) seems to be gone\nstarting server anyway\n";
        check(&cluster, "-l log restart", 0, STARTED, gone);
    });
}

#[test]
fn starts_that_fail_and_stops_that_take_too_long() {
    on_each_server("pg_ctl failures", |server| {
        let cluster = cluster_of(server, &["nosuch = 1"]);
        let failed = "pg_ctl: could not start server\nExamine the log output.\n";
        check(&cluster, "-l log start", 1, "waiting for server to start... stopped waiting\n", failed);
        check(&cluster, "-l log -W start", 0, "server starting\n", "");
        wait_until("it has failed", || cluster.log().matches("contains errors").count() == 2);
        fs::remove_file(cluster.data_dir().join("postgresql.conf")).expect("own file");
        cluster.append_config(&format!("port = {}", cluster.port()));
        cluster.append_config(&format!("unix_socket_directories = '{}'", cluster.socket_dir().display()));
        check(&cluster, "-l log start", 0, STARTED, "");
        let another = "pg_ctl: another server might be running; trying to start server anyway\n";
        check(
            &cluster,
            "-l log start",
            1,
            "waiting for server to start... stopped waiting\n",
            &format!("{another}{failed}"),
        );
        let hint = "pg_ctl: server does not shut down\n\
                    HINT: The \"-m fast\" option immediately disconnects sessions rather than\n\
                    waiting for session-initiated disconnection.\n";
        let mut session = Wire::open_local(&cluster);
        session.start_session(&[("user", "postgres"), ("database", "postgres")]);
        let mut output = cluster.pg_ctl(&["-m", "smart", "-t", "1", "stop"]);
        let awaited = take_awaited(&mut output);
        compare(&cluster, "stop", &output, (1, "waiting for server to shut down... failed\n", hint));
        match server {
            Server::Ours => assert_eq!(awaited.len(), 1, "the session: {awaited:?}"),
            Server::Real => assert_eq!(awaited, [""; 0]),
        }
        check(&cluster, "-m fast stop", 0, STOPPED, "");
    });
}

#[test]
fn directories_and_usage() {
    on_each_server("pg_ctl usage", |server| {
        let cluster = cluster_of(server, &[]);
        let run = |args: &[&str]| said(&cluster, cluster.command("pg_ctl").args(args));
        let advice = "Try \"pg_ctl --help\" for more information.\n";
        let cases: &[(&[&str], i32, &str)] = &[
            (&["-D", "/nonexistent", "status"], 4, "pg_ctl: directory \"/nonexistent\" does not exist\n"),
            (
                &["-D", "/tmp", "status"],
                4,
                "pg_ctl: directory \"/tmp\" is not a database cluster directory\n",
            ),
            (&["-D", "/nonexistent", "stop"], 1, "pg_ctl: directory \"/nonexistent\" does not exist\n"),
            (
                &["-D", "/tmp", "reload"],
                1,
                "pg_ctl: directory \"/tmp\" is not a database cluster directory\n",
            ),
        ];
        for (args, code, stderr) in cases {
            let found = run(args);
            assert_eq!((found.code, found.stderr.as_str()), (Some(*code), *stderr), "{args:?}, {server:?}");
        }
        let usage: &[(&[&str], &str)] = &[
            (&["start"], "pg_ctl: no database directory specified and environment variable PGDATA unset\n"),
            (&[], "pg_ctl: no operation specified\n"),
            (&["frob"], "pg_ctl: unrecognized operation mode \"frob\"\n"),
            (&["start", "stop"], "pg_ctl: too many command-line arguments (first is \"start\")\n"),
            (&["-m", "weird", "stop"], "pg_ctl: unrecognized shutdown mode \"weird\"\n"),
            (&["kill", "TERM"], "pg_ctl: missing arguments for kill mode\n"),
            (&["kill", "FOO", "1"], "pg_ctl: unrecognized signal name \"FOO\"\n"),
        ];
        for (args, stderr) in usage {
            let found = run(args);
            assert_eq!(
                (found.code, found.stderr),
                (Some(1), format!("{stderr}{advice}")),
                "{args:?}, {server:?}"
            );
        }
        let gone = run(&["kill", "TERM", "32766"]);
        assert_eq!(gone.stderr, "pg_ctl: could not send signal 15 (PID: N): No such process\n");
        assert_eq!(gone.code, Some(1));
    });
}

#[test]
fn pid_files_that_are_no_postmasters() {
    on_each_server("pg_ctl and odd pid files", |server| {
        let cluster = cluster_of(server, &[]);
        cluster.write_file("postmaster.pid", "");
        check(&cluster, "status", 1, "", "pg_ctl: the PID file \"DATA/postmaster.pid\" is empty\n");
        cluster.write_file("postmaster.pid", "some\n");
        check(&cluster, "status", 1, "", "pg_ctl: invalid data in PID file \"DATA/postmaster.pid\"\n");
        let sleeper = process::spawn(cluster.command("/bin/sleep").arg("1000"));
        cluster.write_file("postmaster.pid", &format!("-{}\n", sleeper.pid()));
        check(&cluster, "status", 0, "pg_ctl: single-user server is running (PID: N)\n", "");
        for (mode, advice) in [
            ("stop", ""),
            ("promote", ""),
            ("restart", "Please terminate the single-user server and try again.\n"),
            ("reload", "Please terminate the single-user server and try again.\n"),
        ] {
            let refused = format!("pg_ctl: cannot {mode} server; single-user server is running (PID: N)\n");
            check(&cluster, mode, 1, "", &format!("{refused}{advice}"));
        }
        sleeper.signal(nix::sys::signal::Signal::SIGKILL);
        sleeper.wait();
    });
}

#[test]
fn kill_sends_signals() {
    on_each_server("pg_ctl kill", |server| {
        let cluster = started(server, &[]);
        let pid = cluster.postmaster_pid().to_string();
        check(&cluster, &format!("kill HUP {pid}"), 0, "", "");
        cluster.wait_for_log("received SIGHUP, reloading configuration files");
        check(&cluster, &format!("kill INT {pid}"), 0, "", "");
        assert_eq!(cluster.wait_for_end().code(), Some(0));
    });
}

#[test]
fn root_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        integration::skip!("not root");
    }
    on_each_server("pg_ctl as root", |server| {
        let cluster = cluster_of(server, &[]);
        let mut command = cluster.command("pg_ctl");
        std::os::unix::process::CommandExt::uid(&mut command, 0);
        let found = said(&cluster, command.arg("-D").arg(cluster.data_dir()).arg("status"));
        let expected = "pg_ctl: cannot be run as root\n\
                        Please log in (using, e.g., \"su\") as the (unprivileged) user that will\n\
                        own the server process.\n";
        assert_eq!((found.code, found.stderr.as_str()), (Some(1), expected));
    });
}

#[test]
fn init_makes_a_cluster() {
    on_each_server("pg_ctl init", |server| {
        let cluster = cluster_of(server, &[]);
        let mut command = cluster.command("pg_ctl");
        let output = said(&cluster, command.args(["-D", "other", "-s", "-o", "-A trust -N", "init"]));
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
        let version = fs::read_to_string(cluster.path("other/PG_VERSION"));
        assert_eq!(version.expect("a cluster"), "15\n");
    });
}

#[test]
fn the_real_pg_ctl_and_pg_isready_understand_this_server() {
    let cluster = Cluster::new();
    let (Some(mut pg_ctl), Some(mut pg_isready)) = (cluster.client("pg_ctl"), cluster.client("pg_isready"))
    else {
        integration::skip!("PostgreSQL 15 is not installed")
    };
    let endpoint = "SOCKETS:PORT - ";
    let ready = said(&cluster, &mut pg_isready);
    assert_eq!((ready.code, ready.stdout), (Some(2), format!("{endpoint}no response\n")));
    cluster.start();
    let ready = said(&cluster, &mut pg_isready);
    assert_eq!((ready.code, ready.stdout), (Some(0), format!("{endpoint}accepting connections\n")));
    let status = process::run(pg_ctl.arg("-D").arg(cluster.data_dir()).arg("status"));
    let opts = fs::read_to_string(cluster.data_dir().join("postmaster.opts")).expect("postmaster.opts");
    let running = format!("pg_ctl: server is running (PID: N)\n{}", cluster.normalised(&opts));
    compare(&cluster, "status", &status, (0, &running, ""));
    // A smart stop that waits for a session: alive, but nobody new may come in.
    let session = Wire::connect(&cluster);
    cluster.signal_postmaster(Stop::Smart.signal());
    cluster.wait_for_log("received smart shutdown request");
    let ready = said(&cluster, &mut pg_isready);
    assert_eq!((ready.code, ready.stdout), (Some(1), format!("{endpoint}rejecting connections\n")));
    session.quit();
    assert_eq!(cluster.wait_for_end().code(), Some(0));
    // Each starts what the other one left.
    let mut start = cluster.client("pg_ctl").expect("installed");
    let program = cluster.command("postgres").get_program().to_owned();
    let output = process::run(
        start.arg("-D").arg(cluster.data_dir()).arg("-p").arg(program).args(["-l", "log", "start"]),
    );
    compare(&cluster, "start", &output, (0, STARTED, ""));
    cluster.adopt_postmaster();
    let mut stop = cluster.client("pg_ctl").expect("installed");
    let output = process::run(stop.arg("-D").arg(cluster.data_dir()).arg("stop"));
    compare(&cluster, "stop", &output, (0, STOPPED, ""));
    assert!(!procfs::is_alive(cluster.postmaster_pid()));
    assert_eq!(cluster.server(), Server::Ours);
}

#[test]
fn our_pg_ctl_understands_the_real_server() {
    if integration::real_postgres().is_none() {
        integration::skip!("PostgreSQL 15 is not installed");
    }
    let theirs = started(Server::Real, &[]);
    let ours = Cluster::new();
    let run = |mode: &str| process::run(ours.command("pg_ctl").arg("-D").arg(theirs.data_dir()).arg(mode));
    let opts = fs::read_to_string(theirs.data_dir().join("postmaster.opts")).expect("postmaster.opts");
    let running = format!("pg_ctl: server is running (PID: N)\n{}", theirs.normalised(&opts));
    compare(&theirs, "status", &run("status"), (0, &running, ""));
    compare(&theirs, "reload", &run("reload"), (0, "server signaled\n", ""));
    theirs.wait_for_log("received SIGHUP");
    compare(&theirs, "stop", &run("stop"), (0, STOPPED, ""));
    compare(&theirs, "status", &run("status"), (3, "pg_ctl: no server running\n", ""));
}

/// Our pg_ctl has more to offer than PostgreSQL's server understands.
#[test]
fn the_real_server_knows_neither_forecast_nor_deadline() {
    if integration::real_postgres().is_none() {
        integration::skip!("PostgreSQL 15 is not installed");
    }
    let theirs = started(Server::Real, &[]);
    let ours = Cluster::new();
    let run =
        |args: &[&str]| process::run(ours.command("pg_ctl").arg("-D").arg(theirs.data_dir()).args(args));
    let no_answer = "pg_ctl: server does not answer\n\
                     HINT: PostgreSQL's own servers cannot tell what a stop would wait for.\n";
    compare(&theirs, "--forecast", &run(&["stop", "--forecast", "-t", "1"]), (1, "", no_answer));
    assert_eq!(traces(&theirs), [""; 0]);
    assert!(procfs::is_alive(theirs.postmaster_pid()));
    let output = run(&["stop", "--deadline=20s", "--progress=json"]);
    let unbounded = "pg_ctl: warning: server does not support --deadline, the stop has no bound\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), unbounded);
    assert_eq!(events(&String::from_utf8_lossy(&output.stdout)), ["signaled", "stopped"]);
    assert_eq!(traces(&theirs), [""; 0]);
}

/// What happened, in the words of `--progress=json`.
#[track_caller]
fn events(text: &str) -> Vec<String> {
    let event = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {text}"));
        value["event"].as_str().unwrap_or_else(|| panic!("no event: {line}")).to_owned()
    };
    text.lines().map(event).collect()
}

/// A smart stop waits for a session, says so, and goes on when pg_ctl has stopped waiting.
#[test]
fn a_slow_stop_names_the_session() {
    let cluster = started(Server::Ours, &[]);
    let session = Wire::connect(&cluster);
    let forecast = cluster.pg_ctl(&["stop", "-m", "smart", "--forecast"]);
    let table = String::from_utf8_lossy(&forecast.stdout).into_owned();
    assert_eq!(
        (forecast.status.code(), String::from_utf8_lossy(&forecast.stderr).as_ref()),
        (Some(0), ""),
        "{table}"
    );
    let who = |line: &str| line.contains("session") && line.contains("postgres@postgres");
    assert!(table.lines().any(who), "{table}");
    assert!(!cluster.log().contains("shutdown request"), "nothing is stopped");
    assert_eq!(traces(&cluster), [""; 0]);

    let mut output = cluster.pg_ctl(&["stop", "-m", "smart", "-t", "3"]);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(stdout.starts_with("waiting for server to shut down...."), "{stdout}");
    assert!(stdout.contains("waiting for clients to leave") && stdout.lines().any(who), "{stdout}");
    assert!(stdout.ends_with("\n failed\n"), "{stdout}");
    let awaited = take_awaited(&mut output);
    assert!(awaited.len() == 1 && who(&awaited[0]), "{awaited:?}");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.starts_with("pg_ctl: server does not shut down\nHINT: "), "{complaint}");

    let mut output = cluster.pg_ctl(&["stop", "-s", "-m", "smart", "-t", "1"]);
    assert!(output.stdout.is_empty() && take_awaited(&mut output).iter().any(|line| who(line)), "{output:?}");
    // The stop is under way, a session long.
    let mut command = cluster.command("pg_ctl");
    command.arg("-D").arg(cluster.data_dir()).args(["stop", "-m", "smart", "--progress=json"]);
    let path = cluster.path("progress.json");
    let watcher = process::spawn(command.stdout(fs::File::create(&path).expect("own file")));
    let said = || fs::read_to_string(&path).expect("own file");
    wait_until("pg_ctl has sent its signal", || said().contains("signaled"));
    session.quit();
    assert!(watcher.wait().success());
    let said = said();
    let events = events(&said);
    assert_eq!(events.first().map(String::as_str), Some("signaled"), "{said}");
    assert_eq!(events.last().map(String::as_str), Some("stopped"), "{said}");
    assert_eq!(cluster.wait_for_end().code(), Some(0));
    assert_eq!(traces(&cluster), [""; 0]);
}

/// A bound is handed over before the signal, and again while the server stops.
#[test]
fn a_deadline_ends_a_smart_stop() {
    let cluster = started(Server::Ours, &[]);
    let mut session = Wire::connect(&cluster);
    let output = cluster.pg_ctl(&["stop", "-W", "-m", "smart", "--deadline=1h"]);
    let said = |output: &std::process::Output| {
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned())
    };
    assert_eq!(said(&output), ["server shutting down\n", ""]);
    assert_eq!(session.query("SELECT 1"), ["1", "SELECT 1"], "it may stay for a while");
    let output = cluster.pg_ctl(&["stop", "-m", "smart", "--deadline=500ms"]);
    assert_eq!(output.status.code(), Some(0), "{:?}\n{}", said(&output), cluster.log());
    assert_eq!(said(&output)[1], "");
    assert_eq!(cluster.wait_for_end().code(), Some(0));
    assert_eq!(traces(&cluster), [""; 0]);
}

#[test]
fn times_that_are_none() {
    let cluster = cluster_of(Server::Ours, &[]);
    let unit = "HINT: A time is a number of seconds, or a number with one of the units \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".\n";
    for (time, hint) in [("soon", unit), ("3x", unit), ("", unit)] {
        let wrong = format!("pg_ctl: invalid value \"{time}\" for option --deadline\n{hint}");
        let output = cluster.pg_ctl(&["stop", &format!("--deadline={time}")]);
        compare(&cluster, "--deadline", &output, (1, "", &wrong));
    }
    let wrong = "pg_ctl: value \"-1\" for option --deadline is out of range (1 ms .. 24 d)\n";
    check(&cluster, "stop --deadline=-1", 1, "", wrong);
}
