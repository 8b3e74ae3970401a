//! Which pages VACUUM need not look at.
//!
//! C counterpart: `lazy_scan_skip`.

use common::BlockNumber;
use elog::Result;
use storage::Pin;

use super::Vacuum;
use crate::vm;

/// Shorter runs are read all the same: the kernel reads ahead, and rows may be frozen on the way.
const THRESHOLD: BlockNumber = 32;

/// A run of pages that may be skipped, and the page behind it that may not.
#[derive(Clone, Copy)]
pub(super) struct Range {
    pub next_unskippable: BlockNumber,
    /// As the map said when it was looked at.
    pub unskippable_is_visible: bool,
    /// The run is long enough.
    pub skip: bool,
}

/// The run that begins at `block`.
pub(super) fn next_range(v: &mut Vacuum<'_>, block: BlockNumber, map: &mut Option<Pin>) -> Result<Range> {
    let mut next = block;
    let mut visible = true;
    let mut skips_not_frozen = false;
    while next < v.rel_pages {
        let bits = vm::status(v.table, next, map)?;
        if bits & vm::ALL_VISIBLE == 0 {
            visible = false;
            break;
        }
        // The last page tells whether the table can be cut.
        if next == v.rel_pages - 1 {
            break;
        }
        if !v.skip_with_vm {
            visible = false;
            break;
        }
        if bits & vm::ALL_FROZEN == 0 {
            if v.aggressive {
                break;
            }
            skips_not_frozen = true;
        }
        v.delay.point()?;
        next += 1;
    }
    let skip = next - block >= THRESHOLD;
    v.report.skipped_all_visible |= skip && skips_not_frozen;
    Ok(Range { next_unskippable: next, unskippable_is_visible: visible, skip })
}
