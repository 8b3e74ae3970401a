//! Rows changed in transactions, with PostgreSQL's outcome for the counts of live and dead rows.

use super::*;

thread_local! {
    static LEVEL: Cell<u32> = const { Cell::new(1) };
}

/// `i` insert, `u` update, `d` delete, `t` truncate, `(` begin subtransaction, `)` commit it, `!` abort it,
/// `C` commit, `A` abort.
#[track_caller]
fn check(script: &str, expected: &str) {
    set_nest_level_source(|| LEVEL.get());
    let table = of(Oid(16384), false);
    for step in script.chars() {
        match step {
            'i' => table.count_insert(1),
            'u' => table.count_update(false),
            'd' => table.count_delete(),
            't' => table.count_truncate(),
            '(' => LEVEL.set(LEVEL.get() + 1),
            ')' | '!' => {
                at_subxact_end(LEVEL.get(), step == ')');
                LEVEL.set(LEVEL.get() - 1);
            }
            'C' | 'A' => at_xact_end(step == 'C'),
            _ => unreachable!(),
        }
    }
    assert_eq!(LEVEL.get(), 1);
    let c = drain().pop().unwrap_or_default();
    let found = format!(
        "ins={} upd={} del={} live={} dead={} changed={}{}",
        c.tup_inserted,
        c.tup_updated,
        c.tup_deleted,
        c.delta_live,
        c.delta_dead,
        c.changed,
        if c.truncated { " truncated" } else { "" }
    );
    assert_eq!(found, expected, "{script}");
    assert_eq!(drain(), [], "drained once");
}

#[test]
fn changes_count_at_the_end_of_their_transaction() {
    check("iiudC", "ins=2 upd=1 del=1 live=1 dead=2 changed=4");
    check("iiudA", "ins=2 upd=1 del=1 live=0 dead=3 changed=0");
    check("C", "ins=0 upd=0 del=0 live=0 dead=0 changed=0");
}

#[test]
fn subtransactions_merge_or_leave_dead_rows() {
    check("i(i)C", "ins=2 upd=0 del=0 live=2 dead=0 changed=2");
    check("i(i!C", "ins=2 upd=0 del=0 live=1 dead=1 changed=1");
    check("((i))C", "ins=1 upd=0 del=0 live=1 dead=0 changed=1");
    check("((i)!C", "ins=1 upd=0 del=0 live=0 dead=1 changed=0");
    check("i(i(i)i)A", "ins=4 upd=0 del=0 live=0 dead=4 changed=0");
}

#[test]
fn truncation_starts_from_nothing_if_it_happens() {
    check("iitiC", "ins=1 upd=0 del=0 live=1 dead=0 changed=1 truncated");
    check("iitiA", "ins=2 upd=0 del=0 live=0 dead=2 changed=0");
    check("ii(ti)C", "ins=1 upd=0 del=0 live=1 dead=0 changed=1 truncated");
    check("ii(ti!C", "ins=2 upd=0 del=0 live=2 dead=0 changed=2");
}

#[test]
fn tables_that_nobody_holds_are_forgotten() {
    let held = of(Oid(1), false);
    held.count_seq_scan();
    of(Oid(2), true).count_block(true);
    let mut drained = drain();
    drained.sort_by_key(|c| c.rel);
    assert_eq!((drained[0].seq_scan, drained[1].blks_hit, drained[1].shared), (1, 1, true));
    assert!(Rc::ptr_eq(&held, &of(Oid(1), false)));
}
