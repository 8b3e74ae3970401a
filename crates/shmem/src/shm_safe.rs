//! Which types may live in the segment.

use std::sync::atomic::{
    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32,
    AtomicU64, AtomicUsize,
};

use crossbeam_utils::CachePadded;

/// A type whose values make sense in every process that maps the segment.
///
/// Crates above implement it through [`shm_struct!`](crate::shm_struct), which checks every field and needs
/// no `unsafe` at the place of use.
///
/// # Safety
/// The type has a fixed layout (`repr(C)`, a primitive, an array), owns nothing (no Drop), and holds no
/// pointer, reference or handle to something that only one process has.
pub unsafe trait ShmSafe: Send + Sync + Sized + 'static {}

macro_rules! shm_safe {
    ($($ty:ty),* $(,)?) => {
        $(
            // SAFETY: a primitive or an atomic one: fixed layout, no pointer, no Drop.
            unsafe impl ShmSafe for $ty {}
        )*
    };
}

shm_safe!(bool, u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64, ());
shm_safe!(AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize);
shm_safe!(AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize);
shm_safe!(common::Oid, common::Xid, common::Lsn, common::TimeLineId, common::FullXid, common::MultiXactId);
shm_safe!(common::RelFileNode, common::ForkNumber);

// SAFETY: elements side by side, each of them safe.
unsafe impl<T: ShmSafe, const N: usize> ShmSafe for [T; N] {}
// SAFETY: CachePadded is repr(align) around one field and has no Drop of its own.
unsafe impl<T: ShmSafe> ShmSafe for CachePadded<T> {}

#[doc(hidden)]
pub const fn assert_shm_safe<T: ShmSafe>() {}

#[doc(hidden)]
pub const fn needs_drop<T>() -> bool {
    std::mem::needs_drop::<T>()
}

/// Declares a struct (or an enum of unit variants) that may live in the segment: gives it a C layout and
/// implements [`ShmSafe`] after checking that each field is `ShmSafe` and nothing needs dropping.
///
/// ```
/// shmem::shm_struct! {
///     /// A ring of requests.
///     #[derive(Clone, Copy)]
///     pub struct Ring { head: u32, entries: [u64; 16] }
/// }
/// shmem::shm_struct! {
///     /// How far it is.
///     #[derive(Clone, Copy, PartialEq)]
///     pub enum Phase { Idle, Busy }
/// }
/// ```
///
/// ```compile_fail
/// shmem::shm_struct! {
///     struct Bad { text: String }
/// }
/// ```
#[macro_export]
macro_rules! shm_struct {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident : $ty:ty),* $(,)?
    }) => {
        $(#[$meta])*
        #[repr(C)]
        $vis struct $name { $($(#[$field_meta])* $field_vis $field: $ty),* }
        const _: () = {
            $($crate::assert_shm_safe::<$ty>();)*
            assert!(!$crate::needs_drop::<$name>(), "a type in shared memory cannot have a destructor");
            // SAFETY: repr(C); each field was checked above to be ShmSafe; nothing needs dropping.
            unsafe impl $crate::ShmSafe for $name {}
        };
    };
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident $(= $value:expr)?),* $(,)?
    }) => {
        $(#[$meta])*
        #[repr(u32)]
        $vis enum $name { $($(#[$variant_meta])* $variant $(= $value)?),* }
        const _: () = {
            // SAFETY: repr(u32), unit variants only: no pointer, no Drop. Only Rust code writes it.
            unsafe impl $crate::ShmSafe for $name {}
        };
    };
}
