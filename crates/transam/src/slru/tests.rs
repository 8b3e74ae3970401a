//! The cache against a model: what was set last is what is read, whatever was evicted between.

use std::collections::HashMap;

use super::*;
use crate::testing::World;
use shmem::tranche;

fn precedes(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

static LOG: Slru = Slru::new(
    "Test",
    Config {
        dir: "pg_test",
        durable: true,
        lsns_per_page: 2,
        precedes,
        control_tranche: tranche::XACT_SLRU,
        io_tranche: tranche::XACT_BUFFER,
    },
);

fn with_log(world: &World, slots: usize, body: impl FnOnce() + Send) {
    let dir = world.dir.path();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            std::fs::create_dir_all(dir.join("pg_test")).unwrap();
            std::env::set_current_dir(dir).unwrap();
            let mut r = Reservation::new();
            LOG.reserve(&mut r, slots);
            let segment = shmem::Segment::create_private(r).unwrap();
            body();
            segment.destroy();
        });
        thread.join().unwrap();
    });
}

/// A sequence of pseudo-random numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn what_was_set_is_read() {
    let world = World::new();
    let mut model: HashMap<(u32, usize), u32> = HashMap::new();
    with_log(&world, 4, || {
        let mut numbers = Numbers(7);
        for page in 0..80 {
            drop(LOG.zero_page(LOG.lock(), page).unwrap());
        }
        for step in 0..3000u32 {
            let (page, word) = (numbers.below(80) as u32, numbers.below(4) as usize * 600);
            if numbers.below(2) == 0 {
                let (mut lock, slot) = LOG.read_page(LOG.lock(), page, true, 0).unwrap();
                LOG.page(&lock, slot).set(word, step);
                LOG.set_dirty(&mut lock, slot);
                model.insert((page, word), step);
            } else {
                let seen = LOG.look(page, 0, |p, _| p.get(word)).unwrap();
                assert_eq!(seen, model.get(&(page, word)).copied().unwrap_or(0));
            }
        }
        LOG.write_all(true).unwrap();
        assert_eq!(LOG.lock().unsynced_count, 0);
    });
    let mut files: Vec<_> = std::fs::read_dir(world.dir.path().join("pg_test"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    files.sort();
    assert_eq!(files, ["0000", "0001", "0002"]);
    for ((page, word), value) in model {
        let file = world.file(&format!("pg_test/{:04X}", page / 32));
        let at = (page % 32) as usize * 8192 + word * 4;
        assert_eq!(file[at..at + 4], value.to_le_bytes());
    }
}

#[test]
fn the_latest_page_stays_and_truncation_spares_it() {
    let world = World::new();
    with_log(&world, 3, || {
        for page in 0..100 {
            drop(LOG.zero_page(LOG.lock(), page).unwrap());
        }
        for page in 0..50 {
            LOG.look(page, 0, |_, _| ()).unwrap();
        }
        assert!(LOG.lock().find(99, 3).is_some(), "T5");
        assert!(LOG.has_files_before(64).unwrap() && !LOG.has_files_before(31).unwrap());
        LOG.truncate(70).unwrap();
        assert_eq!(LOG.earliest_page().unwrap(), Some(64));
        assert!(!LOG.exists(63).unwrap() && LOG.exists(64).unwrap());
        // Beyond the latest page: wraparound, nothing is removed.
        LOG.truncate(400).unwrap();
        assert!(LOG.exists(64).unwrap());
        assert!(!LOG.exists_on_disk(99).unwrap());
        LOG.write_all(true).unwrap();
        assert!(LOG.exists_on_disk(99).unwrap());
    });
}
