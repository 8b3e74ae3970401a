//! The typed cells that hold what a setting is set to right now.
//!
//! Each setting is one `static` of one of these types (see [`crate::vars`]). A cell is process-local: it lives
//! in ordinary memory, and a forked child starts with its parent's values at no cost. Scalars are one atomic,
//! so reading one in a hot loop is a plain load. A cell knows nothing of ranges, sources or transactions; only
//! [`crate::state`] writes to it, after all checks.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::table::Choice;

/// A setting that is on or off. C: `struct config_bool`.
#[derive(Debug)]
pub struct BoolVar(AtomicBool);

impl BoolVar {
    pub(crate) const fn new(boot: bool) -> BoolVar {
        BoolVar(AtomicBool::new(boot))
    }

    /// Is it on?
    #[inline]
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self, value: bool) {
        self.0.store(value, Relaxed);
    }
}

/// A whole number in the setting's base unit (the `unit` column of pg_settings). C: `struct config_int`.
#[derive(Debug)]
pub struct IntVar(AtomicI32);

impl IntVar {
    pub(crate) const fn new(boot: i32) -> IntVar {
        IntVar(AtomicI32::new(boot))
    }

    /// The number, in the base unit.
    #[inline]
    pub fn get(&self) -> i32 {
        self.0.load(Relaxed)
    }

    pub(crate) fn set(&self, value: i32) {
        self.0.store(value, Relaxed);
    }
}

/// A fractional number in the setting's base unit. C: `struct config_real`.
#[derive(Debug)]
pub struct RealVar(AtomicU64);

impl RealVar {
    pub(crate) const fn new(boot: f64) -> RealVar {
        RealVar(AtomicU64::new(boot.to_bits()))
    }

    /// The number, in the base unit.
    #[inline]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }

    pub(crate) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }
}

/// Text, or NULL for the few settings without a built-in value. C: `struct config_string`.
#[derive(Debug)]
pub struct StringVar(Mutex<Text>);

#[derive(Debug)]
enum Text {
    Null,
    /// The boot value, not yet read by anyone.
    Static(&'static str),
    Shared(Arc<str>),
}

impl StringVar {
    pub(crate) const fn new(boot: Option<&'static str>) -> StringVar {
        StringVar(Mutex::new(match boot {
            None => Text::Null,
            Some(text) => Text::Static(text),
        }))
    }

    /// The text; empty where the setting is NULL.
    pub fn get(&self) -> Arc<str> {
        self.get_opt().unwrap_or_default()
    }

    /// The text, or `None` where the setting is NULL.
    pub fn get_opt(&self) -> Option<Arc<str>> {
        let mut text = self.lock();
        match &*text {
            Text::Null => None,
            Text::Shared(shared) => Some(shared.clone()),
            Text::Static(boot) => {
                let shared: Arc<str> = Arc::from(*boot);
                *text = Text::Shared(shared.clone());
                Some(shared)
            }
        }
    }

    /// Calls `look` with the text (empty for NULL), sparing the reference count.
    pub fn with<R>(&self, look: impl FnOnce(&str) -> R) -> R {
        match &*self.lock() {
            Text::Null => look(""),
            Text::Static(boot) => look(boot),
            Text::Shared(shared) => look(shared),
        }
    }

    pub(crate) fn set(&self, value: Option<Arc<str>>) {
        *self.lock() = value.map_or(Text::Null, Text::Shared);
    }

    fn lock(&self) -> MutexGuard<'_, Text> {
        // A panic elsewhere cannot leave the text half written, so a poisoned lock is as good as a clean one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of a fixed list of words. C: `struct config_enum`.
#[derive(Debug)]
pub struct EnumVar {
    chosen: AtomicU8,
    choices: &'static [Choice],
}

impl EnumVar {
    pub(crate) const fn new(boot: u8, choices: &'static [Choice]) -> EnumVar {
        EnumVar { chosen: AtomicU8::new(boot), choices }
    }

    /// The word, in the spelling that `SHOW` uses: never an alias such as `yes` for `on`.
    #[inline]
    pub fn get(&self) -> &'static str {
        self.choices[usize::from(self.index())].name
    }

    /// The word of a choice.
    pub(crate) fn word(&self, index: u8) -> &'static str {
        self.choices[usize::from(index)].name
    }

    pub(crate) fn index(&self) -> u8 {
        self.chosen.load(Relaxed)
    }

    pub(crate) fn set(&self, index: u8) {
        self.chosen.store(index, Relaxed);
    }
}
