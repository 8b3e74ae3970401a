//! What was prepared, committed or rolled back and acknowledged stays so, whoever is killed in between.
//!
//! Clients prepare transactions of a few rows, some of them in savepoints, and finish them in any order, while another
//! session makes checkpoints. They remember each answer; of a command without an answer they know what may have become of
//! the transaction. After each restart, rows and `pg_prepared_xacts` must be among what may be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use integration::torture::come_back;
use integration::{Cluster, ClusterOptions, Server, Wire, on_each_server, wait_until};
use postgres::NoTls;

use crate::redo::crash;

/// What has become of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Gone,
    Prepared,
    Committed,
}

/// One transaction of a client.
#[derive(Debug)]
struct Job {
    /// Those that are possible.
    fates: Vec<Fate>,
    /// How many rows it has written and kept.
    rows: i64,
}

/// A client and what it remembers, by number.
struct Worker {
    name: String,
    rng: fastrand::Rng,
    jobs: BTreeMap<i64, Job>,
    next: i64,
}

/// Prepared transactions that a client leaves open at a time.
const OPEN: usize = 6;

impl Worker {
    fn open(&self) -> Vec<i64> {
        self.jobs.iter().filter(|(_, job)| job.fates == [Fate::Prepared]).map(|(id, _)| *id).collect()
    }

    /// Until the connection breaks or `stop` is set.
    fn work(&mut self, config: &postgres::Config, answers: &AtomicU64, stop: &AtomicBool) {
        let Ok(mut client) = config.connect(NoTls) else { return };
        while !stop.load(Relaxed) {
            let open = self.open();
            let done = if open.len() < OPEN && self.rng.bool() {
                self.prepare(&mut client)
            } else if let Some(id) = self.rng.choice(open) {
                let commit = self.rng.u8(..3) > 0;
                self.finish(&mut client, id, commit)
            } else {
                continue;
            };
            if !done {
                return;
            }
            answers.fetch_add(1, Relaxed);
        }
    }

    fn prepare(&mut self, client: &mut postgres::Client) -> bool {
        let (id, name) = (self.next, &self.name);
        self.next += 1;
        let mut rows = 1;
        let mut sql = format!("BEGIN; INSERT INTO jobs VALUES ('{name}', {id}, 0);");
        // Sometimes more than a session's place in shared memory has room for.
        let savepoints = if self.rng.u8(..8) == 0 { 70 } else { self.rng.i64(..4) };
        for part in 1..=savepoints {
            sql += &format!("SAVEPOINT s; INSERT INTO jobs VALUES ('{name}', {id}, {part});");
            if self.rng.bool() {
                sql += "ROLLBACK TO s;";
            } else {
                rows += 1;
            }
        }
        let fates = |fates: &[Fate]| Job { fates: fates.to_vec(), rows };
        if client.batch_execute(&sql).is_err() {
            self.jobs.insert(id, fates(&[Fate::Gone]));
            return false;
        }
        let done = client.batch_execute(&format!("PREPARE TRANSACTION '{name} {id}'")).is_ok();
        let fates = if done { fates(&[Fate::Prepared]) } else { fates(&[Fate::Gone, Fate::Prepared]) };
        self.jobs.insert(id, fates);
        done
    }

    fn finish(&mut self, client: &mut postgres::Client, id: i64, commit: bool) -> bool {
        let (command, fate) = if commit { ("COMMIT", Fate::Committed) } else { ("ROLLBACK", Fate::Gone) };
        let done = client.batch_execute(&format!("{command} PREPARED '{} {id}'", self.name)).is_ok();
        let fates = if done { vec![fate] } else { vec![Fate::Prepared, fate] };
        self.jobs.get_mut(&id).expect("one of ours").fates = fates;
        done
    }

    /// Compares with what is there, which is what is known from then on.
    fn check(&mut self, cluster: &Cluster) {
        let mut client = cluster.connect();
        let name = &self.name;
        let counts = format!("SELECT id, count(*) FROM jobs WHERE worker = '{name}' GROUP BY id");
        let rows = client.query(&counts, &[]).expect("counts");
        let rows: BTreeMap<i64, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let gids = client.query("SELECT gid FROM pg_prepared_xacts", &[]).expect("identifiers");
        let gids: BTreeSet<String> = gids.iter().map(|row| row.get(0)).collect();
        for (id, job) in &mut self.jobs {
            let fate = match (rows.get(id), gids.contains(&format!("{name} {id}"))) {
                (None, false) => Fate::Gone,
                (None, true) => Fate::Prepared,
                (Some(count), false) => {
                    assert_eq!(*count, job.rows, "rows of {name} {id}");
                    Fate::Committed
                }
                (Some(_), true) => panic!("{name} {id} is prepared, and its rows are seen"),
            };
            assert!(job.fates.contains(&fate), "{name} {id}: {fate:?}, expected {:?}", job.fates);
            job.fates = vec![fate];
        }
        assert!(rows.keys().all(|id| self.jobs.contains_key(id)));
    }
}

/// One process, or all.
fn kill(cluster: &Cluster, rng: &mut fastrand::Rng) {
    if rng.bool() {
        return crash(cluster);
    }
    let processes = cluster.processes();
    let victim = processes[rng.usize(..processes.len())].pid;
    cluster.signal(victim, nix::sys::signal::Signal::SIGKILL);
    // Then the postmaster knows, and lets nobody in who would be killed in his turn.
    wait_until("it is gone", || !integration::procfs::is_alive(victim));
}

#[test]
fn acknowledged_outcomes_hold() {
    on_each_server("two-phase torture", |server| {
        let seed = std::env::var("PGANATOMY_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        println!("PGANATOMY_SEED={seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let config = vec!["max_prepared_transactions = 40".to_owned()];
        let cluster = Cluster::with(ClusterOptions { server, config, ..ClusterOptions::default() });
        cluster.start();
        let table = "CREATE TABLE jobs (worker text, id bigint, part int)";
        cluster.connect().batch_execute(table).expect("a table");
        let mut workers: Vec<Worker> = (0..4)
            .map(|number| Worker {
                name: format!("w{number}"),
                rng: rng.fork(),
                jobs: BTreeMap::new(),
                next: 0,
            })
            .collect();
        let cycles = std::env::var("PGANATOMY_CYCLES").ok().and_then(|cycles| cycles.parse().ok());
        for _ in 0..cycles.unwrap_or(6) {
            let (answers, stop) = (AtomicU64::new(0), AtomicBool::new(false));
            let config = cluster.client_config();
            let wanted = rng.u64(20..200);
            // PostgreSQL 15 writes the files of prepared transactions in place: a kill can leave half of one, with which
            // it does not start.
            let with_checkpoints = server == Server::Ours;
            thread::scope(|scope| {
                for worker in &mut workers {
                    scope.spawn(|| worker.work(&config, &answers, &stop));
                }
                scope.spawn(|| {
                    let Ok(mut client) = config.connect(NoTls) else { return };
                    while with_checkpoints
                        && !stop.load(Relaxed)
                        && client.batch_execute("CHECKPOINT").is_ok()
                    {
                        std::hint::spin_loop();
                    }
                });
                wait_until("enough is done", || answers.load(Relaxed) >= wanted);
                kill(&cluster, &mut rng);
                stop.store(true, Relaxed);
            });
            come_back(&cluster);
            workers.iter_mut().for_each(|worker| worker.check(&cluster));
        }
        // Each can be finished, and nothing is left of them.
        let mut client = cluster.connect();
        for worker in &mut workers {
            for id in worker.open() {
                let commit = worker.rng.bool();
                assert!(worker.finish(&mut client, id, commit), "{} {id}", worker.name);
            }
            worker.check(&cluster);
        }
        let left = "SELECT (SELECT count(*) FROM pg_locks WHERE pid IS NULL), (SELECT count(*) FROM pg_prepared_xacts)";
        let row = client.query_one(left, &[]).expect("counts");
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (0, 0));
        let files = std::fs::read_dir(cluster.data_dir().join("pg_twophase")).expect("a folder");
        assert_eq!(files.count(), 0);
    });
}

/// Of several sessions that finish the same transaction one does; the others are told that it is busy or gone.
#[test]
fn only_one_session_finishes_it() {
    on_each_server("two-phase race", |server| {
        let config = vec!["max_prepared_transactions = 4".to_owned()];
        let cluster = Cluster::with(ClusterOptions { server, config, ..ClusterOptions::default() });
        cluster.start();
        let mut session = Wire::connect(&cluster);
        session.query("CREATE TABLE t (id int)");
        let mut racers: Vec<Wire> = (0..4).map(|_| Wire::connect(&cluster)).collect();
        let mut committed = 0;
        for round in 0..30 {
            session.query(&format!("BEGIN; INSERT INTO t VALUES ({round}); PREPARE TRANSACTION 'x'"));
            for (at, racer) in racers.iter_mut().enumerate() {
                racer.begin(if at % 2 == 0 { "COMMIT PREPARED 'x'" } else { "ROLLBACK PREPARED 'x'" });
            }
            let answers: Vec<_> = racers.iter_mut().map(|racer| racer.answer()[0].clone()).collect();
            let (done, refused): (Vec<_>, Vec<_>) =
                answers.into_iter().partition(|answer| answer.ends_with("PREPARED"));
            assert_eq!(done.len(), 1, "{done:?} {refused:?}");
            committed += usize::from(done[0] == "COMMIT PREPARED");
            for answer in refused {
                assert!(
                    answer == "ERROR:  42704: prepared transaction with identifier \"x\" does not exist"
                        || answer == "ERROR:  55000: prepared transaction with identifier \"x\" is busy",
                    "{answer}"
                );
            }
        }
        assert_eq!(session.query("SELECT count(*) FROM t")[0], committed.to_string());
    });
}
