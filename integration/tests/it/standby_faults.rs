//! A standby whose processes, primary and line are taken away at any time: it comes back, catches up, and has all rows.

use integration::torture::come_back;
use integration::{Cluster, Server, Stop, wait_until};

use crate::redo::crash;
use crate::standby_support::{
    Load, Proxy, Standby, caught_up, on_each, primary, receiver_title, same_rows, sender_title, set_auto,
    wait_until_streaming,
};

/// What happens to the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Walreceiver,
    Walsender,
    /// The process that replays: the standby goes down for good.
    Startup,
    /// Every process of the standby at once.
    Standby,
    /// Every process of the primary at once.
    Primary,
    /// The line between them.
    Line,
    StandbyStopped(Stop),
    PrimaryStopped(Stop),
}

const FAULTS: [Fault; 10] = [
    Fault::Walreceiver,
    Fault::Walsender,
    Fault::Startup,
    Fault::Standby,
    Fault::Primary,
    Fault::Line,
    Fault::StandbyStopped(Stop::Fast),
    Fault::StandbyStopped(Stop::Immediate),
    Fault::PrimaryStopped(Stop::Fast),
    Fault::PrimaryStopped(Stop::Immediate),
];

/// A primary, a standby of it, and the line between them.
struct Pair {
    primary: Cluster,
    standby: Cluster,
    proxy: Proxy,
}

impl Pair {
    #[track_caller]
    fn new(server: Server, slot: Option<&str>) -> Pair {
        // Without a slot the primary keeps what the standby may ask for.
        let primary = primary(server, &["wal_keep_size = 1GB", "max_wal_size = 4MB"]);
        let proxy = Proxy::to(primary.port());
        let maker = Standby { slot, port: proxy.port, ..Standby::of(&primary, "follower") };
        let standby = maker.started(&primary);
        wait_until_streaming(&primary, "follower");
        Pair { primary, standby, proxy }
    }

    /// Does it, and sees to it that both run afterwards.
    #[track_caller]
    fn suffer(&self, fault: Fault) {
        match fault {
            Fault::Walreceiver => {
                self.standby.kill(self.standby.wait_for_process(receiver_title(&self.standby)))
            }
            Fault::Walsender => self.primary.kill(self.primary.wait_for_process(sender_title(&self.primary))),
            Fault::Startup => {
                self.standby.kill(self.standby.wait_for_process("postgres: startup"));
                self.standby.wait_for_end();
            }
            Fault::Standby => crash(&self.standby),
            Fault::Primary => crash(&self.primary),
            Fault::Line => self.proxy.cut(),
            Fault::StandbyStopped(how) => drop(self.standby.stop(how)),
            Fault::PrimaryStopped(how) => drop(self.primary.stop(how)),
        }
        for cluster in [&self.primary, &self.standby] {
            come_back(cluster);
        }
    }

    /// All rows, once both are back.
    #[track_caller]
    fn check(self) {
        wait_until_streaming(&self.primary, "follower");
        assert!(same_rows(&self.primary, &self.standby) > 0);
        assert_eq!(self.standby.stop(Stop::Fast).code(), Some(0));
        assert_eq!(self.primary.stop(Stop::Fast).code(), Some(0));
    }
}

/// Each of them once, under load.
#[track_caller]
fn check_each(server: Server, slot: Option<&str>) {
    let pair = Pair::new(server, slot);
    for fault in FAULTS {
        let load = Load::begin(&pair.primary, 3);
        load.wait_for_commits(60);
        pair.standby.mark_log();
        pair.suffer(fault);
        pair.standby.wait_for_new_log("started streaming WAL from primary at");
        wait_until_streaming(&pair.primary, "follower");
        // Writers that the fault has not sent away have gone on all the time.
        load.end();
        caught_up(&pair.primary, &pair.standby);
    }
    pair.check();
}

#[test]
fn each_fault_is_survived() {
    on_each("faults", |server| check_each(server, None));
}

#[test]
fn each_fault_is_survived_with_a_slot() {
    on_each("faults with a slot", |server| check_each(server, Some("follower")));
}

/// The seeds of choices that are made at random.
fn seed() -> u64 {
    std::env::var("PGANATOMY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(15)
}

#[test]
fn connections_cut_at_random_are_made_again() {
    on_each("cuts", |server| {
        let pair = Pair::new(server, None);
        pair.proxy.cut_at_random(Some(fastrand::Rng::with_seed(seed())));
        // The one that is there was made before.
        pair.proxy.cut();
        let load = Load::begin(&pair.primary, 2);
        let begun = pair.proxy.connections();
        for round in 0..4 {
            wait_until("the line was cut some more", || pair.proxy.connections() >= begun + 10 * (round + 1));
            // In between the standby itself goes and comes.
            match round {
                0 => pair.suffer(Fault::StandbyStopped(Stop::Fast)),
                1 => pair.suffer(Fault::Standby),
                2 => pair.suffer(Fault::StandbyStopped(Stop::Immediate)),
                _ => {}
            }
        }
        load.end();
        pair.proxy.cut_at_random(None);
        pair.check();
    });
}

#[test]
fn faults_at_random_are_survived() {
    on_each("random faults", |server| {
        let pair = Pair::new(server, Some("follower"));
        let mut rng = fastrand::Rng::with_seed(seed());
        for _ in 0..12 {
            let load = Load::begin(&pair.primary, 3);
            load.wait_for_commits(rng.u64(1..80));
            // Two at a time: the second meets what the first has begun.
            for _ in 0..rng.u8(1..3) {
                let fault = FAULTS[rng.usize(..FAULTS.len())];
                println!("{fault:?}");
                pair.suffer(fault);
            }
            load.end();
        }
        pair.check();
    });
}

/// Restartpoints happen under load, and a standby that crashes begins at the last one.
#[test]
fn restartpoints_happen_and_count() {
    on_each("restartpoints under load", |server| {
        let pair = Pair::new(server, Some("follower"));
        set_auto(&pair.standby, "log_checkpoints", "on");
        crate::standby_support::reload(&pair.standby);
        let load = Load::begin(&pair.primary, 3);
        let redo = || integration::archive::control(&pair.standby, "Latest checkpoint's REDO location");
        let first = redo();
        let mut admin = pair.primary.connect();
        let mut reader = pair.standby.connect();
        wait_until("it has moved on", || {
            admin.batch_execute("CHECKPOINT").expect("a checkpoint");
            caught_up(&pair.primary, &pair.standby);
            reader.batch_execute("CHECKPOINT").expect("a restartpoint");
            redo() != first
        });
        drop(reader);
        let last = redo();
        crash(&pair.standby);
        pair.standby.mark_log();
        pair.standby.start();
        pair.standby.wait_for_new_log(&format!("redo starts at {last}"));
        load.wait_for_commits(20);
        load.end();
        pair.check();
    });
}
