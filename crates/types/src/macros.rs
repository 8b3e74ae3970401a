//! How built-in functions are written: with Rust types, under their C names.

/// Declares built-in functions. Arguments are taken out of their `Datum` and the result is put back into one;
/// `?` works in the body. `fn f(@cx; a: i32)` also gets the call's context. A function that is not strict takes
/// `Option<T>` or `&Datum`.
macro_rules! builtins {
    ($($(#[$meta:meta])* fn $name:ident($(@$cx:ident;)? $($arg:ident : $ty:ty),* $(,)?) -> $ret:ty $body:block)*) => {$(
        $(#[$meta])*
        pub(crate) fn $name(
            call_context: &mut $crate::fmgr::CallContext<'_>,
            args: &[$crate::Datum],
        ) -> elog::Result<$crate::Datum> {
            fn body($($cx: &mut $crate::fmgr::CallContext<'_>,)? $($arg: $ty),*) -> elog::Result<$ret> {
                Ok($body)
            }
            let _ = &call_context;
            let [$($arg),*] = args else { return Err($crate::fmgr::wrong_arg_count(stringify!($name))) };
            let result = body(
                $({ let $cx = &mut *call_context; $cx },)?
                $(<$ty as $crate::FromDatum<'_>>::from_datum($arg)?),*
            );
            $crate::IntoDatum::into_datum(result?)
        }
    )*};
}

/// Declares the six comparison functions of a type and its btree support function.
macro_rules! comparisons {
    ($($ty:ty, $other:ty, |$a:ident, $b:ident| $cmp:expr => $eq:ident $ne:ident $lt:ident $le:ident $gt:ident $ge:ident $($btcmp:ident)?;)*) => {$(
        builtins! {
            fn $eq($a: $ty, $b: $other) -> bool { $cmp.is_eq() }
            fn $ne($a: $ty, $b: $other) -> bool { $cmp.is_ne() }
            fn $lt($a: $ty, $b: $other) -> bool { $cmp.is_lt() }
            fn $le($a: $ty, $b: $other) -> bool { $cmp.is_le() }
            fn $gt($a: $ty, $b: $other) -> bool { $cmp.is_gt() }
            fn $ge($a: $ty, $b: $other) -> bool { $cmp.is_ge() }
            $(fn $btcmp($a: $ty, $b: $other) -> i32 { $cmp as i32 })?
        }
    )*};
}
