//! Where a page of the map is in its tree of pages, and in its file.
//!
//! In the file an upper page comes before those below it: root, first middle page, first leaf, second leaf ...
//!
//! C counterpart: `FSMAddress`, `fsm_logical_to_physical` and its siblings of freespace.c.

use common::BlockNumber;

use super::tree::SLOTS;

/// Levels of pages: enough for 2^32 leaves. C: `FSM_TREE_DEPTH`.
const DEPTH: u32 = 3;

/// A page of the map: its level (0 = leaves) and its number within the level. C: `FSMAddress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    level: u32,
    number: u32,
}

impl Address {
    /// C: `FSM_ROOT_ADDRESS`.
    pub(super) const ROOT: Address = Address { level: DEPTH - 1, number: 0 };

    /// Leaf page and slot of a page of the relation. C: `fsm_get_location`.
    pub(super) fn of_block(block: BlockNumber) -> (Address, usize) {
        (Address { level: 0, number: block / SLOTS as u32 }, block as usize % SLOTS)
    }

    pub(super) fn is_leaf(self) -> bool {
        self.level == 0
    }

    /// The page of the relation that a slot of this leaf stands for. C: `fsm_get_heap_blk`.
    pub(super) fn block(self, slot: usize) -> BlockNumber {
        self.number * SLOTS as u32 + slot as u32
    }

    /// C: `fsm_get_child`.
    pub(super) fn child(self, slot: usize) -> Address {
        Address { level: self.level - 1, number: self.number * SLOTS as u32 + slot as u32 }
    }

    /// C: `fsm_get_parent`.
    pub(super) fn parent(self) -> (Address, usize) {
        let parent = Address { level: self.level + 1, number: self.number / SLOTS as u32 };
        (parent, self.number as usize % SLOTS)
    }

    /// Its block in the fork. C: `fsm_logical_to_physical`.
    pub(super) fn physical(self) -> BlockNumber {
        // How many leaves come before it, then how many pages of each level come before the leaf.
        let mut leaf = u64::from(self.number) * (SLOTS as u64).pow(self.level);
        let mut pages = 0;
        for _ in 0..DEPTH {
            pages += leaf + 1;
            leaf /= SLOTS as u64;
        }
        (pages - u64::from(self.level) - 1) as BlockNumber
    }

    /// The slots of this upper page above pages `start` to before `end` of the relation.
    pub(super) fn slots_between(self, start: BlockNumber, end: BlockNumber) -> std::ops::Range<usize> {
        let up = |block| {
            let (mut address, mut slot) = Address::of_block(block);
            while address.level < self.level {
                (address, slot) = address.parent();
            }
            (address.number, slot)
        };
        let ((first, first_slot), (last, last_slot)) = (up(start), up(end - 1));
        let from = match first.cmp(&self.number) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => first_slot,
            std::cmp::Ordering::Greater => SLOTS,
        };
        let to = match last.cmp(&self.number) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => last_slot + 1,
            std::cmp::Ordering::Greater => SLOTS,
        };
        from..to
    }
}
