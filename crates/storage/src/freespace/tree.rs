//! One page of the map: a binary tree of bytes in an array, children of node n at 2n+1 and 2n+2.
//!
//! After the page header come four bytes, the slot where the next search begins, then 4095 upper nodes, then 4069
//! leaves: as many as fit, the last ones of a full tree are missing.
//!
//! C counterpart: fsmpage.c, fsm_internals.h.

use common::BLCKSZ;
use page::{HEADER_SIZE, Page};

/// Where the next search begins. C: `fp_next_slot`.
pub(super) const NEXT_SLOT_AT: usize = HEADER_SIZE;
const NODES_AT: usize = NEXT_SLOT_AT + 4;
/// C: `NodesPerPage`.
const NODES: usize = BLCKSZ - NODES_AT;
/// C: `NonLeafNodesPerPage`.
const UPPER: usize = BLCKSZ / 2 - 1;
/// Leaves. C: `SlotsPerFSMPage`.
pub(super) const SLOTS: usize = NODES - UPPER;

const _: () = assert!(NODES == 8164 && UPPER == 4095 && SLOTS == 4069);

fn nodes(page: &Page) -> &[u8] {
    &page.bytes()[NODES_AT..]
}

fn nodes_mut(page: &mut Page) -> &mut [u8] {
    &mut page.bytes_mut()[NODES_AT..]
}

fn parent(node: usize) -> usize {
    (node - 1) / 2
}

/// The next node of the same level; after its last comes its first. C: `rightneighbor`.
fn right_neighbour(node: usize) -> usize {
    let next = node + 1;
    // One less than a power of two begins the level below.
    if (next + 1).is_power_of_two() { parent(next) } else { next }
}

/// Greatest of a node's children; missing ones are 0.
fn of_children(nodes: &[u8], node: usize) -> u8 {
    let child = |n: usize| nodes.get(n).copied().unwrap_or(0);
    child(2 * node + 1).max(child(2 * node + 2))
}

/// C: `fsm_get_avail`.
pub(super) fn get(page: &Page, slot: usize) -> u8 {
    nodes(page)[UPPER + slot]
}

/// C: `fsm_get_max_avail`.
pub(super) fn maximum(page: &Page) -> u8 {
    nodes(page)[0]
}

pub(super) fn set_next_slot(page: &mut Page, slot: u32) {
    page.bytes_mut()[NEXT_SLOT_AT..NODES_AT].copy_from_slice(&slot.to_le_bytes());
}

fn next_slot(page: &Page) -> usize {
    let bytes = page.bytes();
    let at = NEXT_SLOT_AT;
    let slot = i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    usize::try_from(slot).ok().filter(|slot| *slot < SLOTS).unwrap_or(0)
}

/// Sets a leaf and what depends on it; false if it was so already. C: `fsm_set_avail`.
pub(super) fn set(page: &mut Page, slot: usize, value: u8) -> bool {
    let nodes = nodes_mut(page);
    let mut node = UPPER + slot;
    // The second half catches a root that was torn.
    if nodes[node] == value && value <= nodes[0] {
        return false;
    }
    nodes[node] = value;
    while node > 0 {
        node = parent(node);
        let new = of_children(nodes, node);
        if nodes[node] == new {
            break;
        }
        nodes[node] = new;
    }
    if value > nodes[0] {
        rebuild(page);
    }
    true
}

/// What a search came to.
pub(super) enum Found {
    /// This slot.
    Slot(usize),
    /// There is none.
    Nothing,
    /// An upper node promised what none below has (FS2).
    Torn,
}

/// A slot with at least `wanted`, the first one from the remembered place on. C: `fsm_search_avail`.
pub(super) fn search(page: &Page, wanted: u8) -> Found {
    let nodes = nodes(page);
    if nodes[0] < wanted {
        return Found::Nothing;
    }
    // Up and to the right until a subtree has what we want, then down.
    let mut node = UPPER + next_slot(page);
    while node > 0 && nodes[node] < wanted {
        node = parent(right_neighbour(node));
    }
    while node < UPPER {
        let left = 2 * node + 1;
        let has = |n: usize| nodes.get(n).is_some_and(|value| *value >= wanted);
        node = if has(left) {
            left
        } else if has(left + 1) {
            left + 1
        } else {
            return Found::Torn;
        };
    }
    Found::Slot(node - UPPER)
}

/// Clears all leaves from `slot` on. C: `fsm_truncate_avail`.
pub(super) fn truncate(page: &mut Page, slot: usize) {
    nodes_mut(page)[UPPER + slot..].fill(0);
    rebuild(page);
}

/// Makes all upper nodes anew. C: `fsm_rebuild_page`.
pub(super) fn rebuild(page: &mut Page) {
    let nodes = nodes_mut(page);
    for node in (0..UPPER).rev() {
        nodes[node] = of_children(nodes, node);
    }
}
