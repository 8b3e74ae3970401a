//! Line pointers: four bytes that say where an item is, or what became of it.
//!
//! C counterpart: storage/itemid.h.

/// Bytes of a line pointer. C: `sizeof(ItemIdData)`.
pub const ITEM_ID_SIZE: usize = 4;

/// What a line pointer stands for. C: `LP_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ItemState {
    /// Nothing; may be used for a new item. C: `LP_UNUSED`.
    Unused = 0,
    /// An item. C: `LP_NORMAL`.
    Normal = 1,
    /// Another line pointer of this page, in place of its offset (HOT). C: `LP_REDIRECT`.
    Redirect = 2,
    /// An item that nobody sees any more; an index may still point here. C: `LP_DEAD`.
    Dead = 3,
}

/// A line pointer: offset (15 bits), state (2), length (15), from the lowest bit. C: `ItemIdData`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct ItemId(pub u32);

impl ItemId {
    /// All bits zero. C: `ItemIdSetUnused`.
    pub const UNUSED: ItemId = ItemId(0);

    /// Any line pointer; bits beyond 15 of offset and length are cut off.
    #[inline]
    pub const fn new(offset: usize, state: ItemState, len: usize) -> ItemId {
        ItemId((offset as u32 & 0x7FFF) | (state as u32) << 15 | (len as u32 & 0x7FFF) << 17)
    }

    /// An item of `len` bytes at `offset` within the page. C: `ItemIdSetNormal`.
    #[inline]
    pub const fn normal(offset: usize, len: usize) -> ItemId {
        ItemId::new(offset, ItemState::Normal, len)
    }

    /// Points on to line pointer `to` of the same page. C: `ItemIdSetRedirect`.
    #[inline]
    pub const fn redirect(to: u16) -> ItemId {
        ItemId::new(to as usize, ItemState::Redirect, 0)
    }

    /// Dead and without storage. C: `ItemIdSetDead`.
    #[inline]
    pub const fn dead() -> ItemId {
        ItemId::new(0, ItemState::Dead, 0)
    }

    /// The same storage, known to be dead (index tuples). C: `ItemIdMarkDead`.
    #[inline]
    pub const fn marked_dead(self) -> ItemId {
        ItemId(self.0 | (ItemState::Dead as u32) << 15)
    }

    /// Where the item starts within the page; of a redirect, the line pointer it leads to. C: `ItemIdGetOffset`.
    #[inline]
    pub const fn offset(self) -> usize {
        (self.0 & 0x7FFF) as usize
    }

    /// The line pointer that a redirect leads to. C: `ItemIdGetRedirect`.
    #[inline]
    pub const fn redirect_to(self) -> u16 {
        (self.0 & 0x7FFF) as u16
    }

    /// C: `ItemIdGetFlags`.
    #[inline]
    pub const fn state(self) -> ItemState {
        match self.0 >> 15 & 3 {
            0 => ItemState::Unused,
            1 => ItemState::Normal,
            2 => ItemState::Redirect,
            _ => ItemState::Dead,
        }
    }

    /// Bytes of the item. C: `ItemIdGetLength`.
    #[inline]
    pub const fn len(self) -> usize {
        (self.0 >> 17) as usize
    }

    /// Whether it has no storage. C: `!ItemIdHasStorage`.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// C: `ItemIdHasStorage`.
    #[inline]
    pub const fn has_storage(self) -> bool {
        !self.is_empty()
    }

    /// C: `ItemIdIsUsed`.
    #[inline]
    pub const fn is_used(self) -> bool {
        !matches!(self.state(), ItemState::Unused)
    }

    /// C: `ItemIdIsNormal`.
    #[inline]
    pub const fn is_normal(self) -> bool {
        matches!(self.state(), ItemState::Normal)
    }

    /// C: `ItemIdIsRedirected`.
    #[inline]
    pub const fn is_redirect(self) -> bool {
        matches!(self.state(), ItemState::Redirect)
    }

    /// C: `ItemIdIsDead`.
    #[inline]
    pub const fn is_dead(self) -> bool {
        matches!(self.state(), ItemState::Dead)
    }
}
