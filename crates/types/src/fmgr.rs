//! Functions as values: what pg_proc says about one, and what it takes to call it. C: fmgr.c, fmgrtab.c.

use std::any::Any;
use std::collections::HashMap;
use std::sync::OnceLock;

use common::{Oid, SqlState};
use elog::{PgError, Result, error};

use crate::Datum;
use crate::rows;

/// What a session knows that functions ask for.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// Start of the transaction, microseconds since 2000-01-01 UTC: what `now()` returns.
    pub transaction_timestamp: i64,
    /// Arrival of the statement.
    pub statement_timestamp: i64,
    /// Whatever the functions registered by upper layers need; they downcast it.
    pub hooks: &'a dyn Any,
    /// Called now and then by functions that may run long. C: `CHECK_FOR_INTERRUPTS`.
    pub check_interrupts: fn() -> Result<()>,
}

impl Session<'static> {
    /// A session without hooks, in which both timestamps are the given one.
    pub fn detached(timestamp: i64) -> Session<'static> {
        Session {
            transaction_timestamp: timestamp,
            statement_timestamp: timestamp,
            hooks: &(),
            check_interrupts: || Ok(()),
        }
    }
}

/// What a function is told besides its arguments. C: `FunctionCallInfo`, `get_fn_expr_argtype`.
pub struct CallContext<'a> {
    /// The session it runs in.
    pub session: &'a Session<'a>,
    /// The arguments' actual types, polymorphic ones resolved.
    pub arg_types: &'a [Oid],
    /// The actual type of the result.
    pub ret_type: Oid,
    /// Whether the last argument is an array given with VARIADIC; matters to `VARIADIC "any"` functions only.
    pub func_variadic: bool,
}

impl CallContext<'_> {
    /// Type of argument `n`, invalid if there is none.
    pub fn arg_type(&self, n: usize) -> Oid {
        self.arg_types.get(n).copied().unwrap_or(Oid::INVALID)
    }

    /// Returns the pending cancel or shutdown as an error.
    pub fn check_interrupts(&self) -> Result<()> {
        (self.session.check_interrupts)()
    }
}

/// An ordinary function.
pub type ScalarFn = fn(&mut CallContext<'_>, &[Datum]) -> Result<Datum>;
/// The rows of a set-returning function; a row has one column unless the function has OUT columns.
pub type RowIter = Box<dyn Iterator<Item = Result<Vec<Datum>>>>;
/// A set-returning function.
pub type SetFn = fn(&mut CallContext<'_>, &[Datum]) -> Result<RowIter>;

/// Makes the empty state of an aggregate, before its first row.
pub type NewAggState = fn() -> Box<dyn crate::agg::AggState>;

/// How a function is called.
#[derive(Clone, Copy, Debug)]
pub enum FuncImpl {
    /// Returns one value.
    Scalar(ScalarFn),
    /// Returns rows.
    Set(SetFn),
    /// Takes many rows, returns one value.
    Aggregate(NewAggState),
}

/// C: `provolatile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// Same arguments, same result, for ever.
    Immutable,
    /// Same result within a statement.
    Stable,
    /// May differ from call to call.
    Volatile,
}

/// A function: a row of pg_proc with its code.
#[derive(Debug)]
pub struct Builtin {
    /// Its OID in pg_proc.
    pub oid: Oid,
    /// SQL name.
    pub name: &'static str,
    /// Declared input types; a variadic function's last one is the array.
    pub args: &'static [Oid],
    /// Element type of the variadic argument (`oid::ANY` for VARIADIC "any"), or invalid.
    pub variadic: Oid,
    /// Defaults of the last arguments, as input text (`None` is NULL).
    pub defaults: &'static [Option<&'static str>],
    /// Declared result type.
    pub ret: Oid,
    /// Whether NULL in gives NULL out without a call.
    pub strict: bool,
    /// Whether it returns a set.
    pub retset: bool,
    /// C: `provolatile`.
    pub volatility: Volatility,
    /// Names of the input arguments for `name => value`; empty if it has none.
    pub arg_names: &'static [&'static str],
    /// Columns of a record-returning function.
    pub columns: &'static [(&'static str, Oid)],
    /// The code.
    pub func: FuncImpl,
}

impl Builtin {
    /// A strict, immutable function that returns one value.
    pub const fn scalar(
        oid: u32,
        name: &'static str,
        args: &'static [Oid],
        ret: Oid,
        func: ScalarFn,
    ) -> Builtin {
        Builtin {
            oid: Oid(oid),
            name,
            args,
            variadic: Oid::INVALID,
            defaults: &[],
            ret,
            strict: true,
            retset: false,
            volatility: Volatility::Immutable,
            arg_names: &[],
            columns: &[],
            func: FuncImpl::Scalar(func),
        }
    }

    /// A strict, immutable function that returns a set.
    pub const fn set(oid: u32, name: &'static str, args: &'static [Oid], ret: Oid, func: SetFn) -> Builtin {
        let mut row = Builtin::scalar(oid, name, args, ret, never_called);
        row.retset = true;
        row.func = FuncImpl::Set(func);
        row
    }

    /// An aggregate; its state decides what NULL means to it.
    pub const fn aggregate(
        oid: u32,
        name: &'static str,
        args: &'static [Oid],
        ret: Oid,
        new: NewAggState,
    ) -> Builtin {
        let mut row = Builtin::scalar(oid, name, args, ret, never_called);
        row.strict = false;
        row.func = FuncImpl::Aggregate(new);
        row
    }

    /// True for an aggregate. C: `prokind = 'a'`.
    pub fn is_aggregate(&self) -> bool {
        matches!(self.func, FuncImpl::Aggregate(_))
    }

    /// The same, but called with NULL arguments too.
    pub const fn not_strict(mut self) -> Builtin {
        self.strict = false;
        self
    }

    /// The same, stable.
    pub const fn stable(mut self) -> Builtin {
        self.volatility = Volatility::Stable;
        self
    }

    /// The same, volatile.
    pub const fn volatile(mut self) -> Builtin {
        self.volatility = Volatility::Volatile;
        self
    }

    /// The same, variadic over this element type.
    pub const fn variadic(mut self, elem: Oid) -> Builtin {
        self.variadic = elem;
        self
    }

    /// The same, with names for its arguments.
    pub const fn names(mut self, names: &'static [&'static str]) -> Builtin {
        self.arg_names = names;
        self
    }

    /// The same, with defaults for its last arguments.
    pub const fn defaults(mut self, defaults: &'static [Option<&'static str>]) -> Builtin {
        self.defaults = defaults;
        self
    }

    /// The same, returning records of these columns.
    pub const fn columns(mut self, columns: &'static [(&'static str, Oid)]) -> Builtin {
        self.columns = columns;
        self
    }
}

fn never_called(_: &mut CallContext<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Null)
}

/// An operator: a row of pg_operator.
#[derive(Debug)]
pub struct Operator {
    /// Its OID in pg_operator.
    pub oid: Oid,
    /// `+`, `||` ...
    pub name: &'static str,
    /// Left operand; invalid for a prefix operator.
    pub left: Oid,
    /// Right operand.
    pub right: Oid,
    /// OID of its function. C: `oprcode`.
    pub code: Oid,
}

/// All functions and operators that a call can mean, by name. Build it before the first fork: the children
/// then share its pages.
#[derive(Debug, Default)]
pub struct Registry {
    by_name: HashMap<&'static str, Vec<&'static Builtin>>,
    by_oid: HashMap<Oid, &'static Builtin>,
    operators: HashMap<&'static str, Vec<&'static Operator>>,
}

impl Registry {
    /// One without any function.
    pub fn empty() -> Registry {
        Registry::default()
    }

    /// One with all functions and operators of this crate.
    pub fn with_builtins() -> Registry {
        let mut registry = Registry::empty();
        for rows in rows::PROCS {
            registry.add(rows);
        }
        registry.add_operators(rows::pg_operator::OPERATORS);
        registry
    }

    /// Adds functions.
    pub fn add(&mut self, rows: &'static [Builtin]) {
        for row in rows {
            self.by_name.entry(row.name).or_default().push(row);
            self.by_oid.insert(row.oid, row);
        }
    }

    /// Adds operators; one whose function is not registered (yet) cannot be found.
    pub fn add_operators(&mut self, rows: &'static [Operator]) {
        for row in rows {
            self.operators.entry(row.name).or_default().push(row);
        }
    }

    /// All functions of this name.
    pub fn candidates(&self, name: &str) -> &[&'static Builtin] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// All operators of this name.
    pub fn operators(&self, name: &str) -> &[&'static Operator] {
        self.operators.get(name).map_or(&[], Vec::as_slice)
    }

    /// The function with this OID.
    pub fn by_oid(&self, oid: Oid) -> Option<&'static Builtin> {
        self.by_oid.get(&oid).copied()
    }

    /// Every function, in no particular order.
    pub fn functions(&self) -> impl Iterator<Item = &'static Builtin> {
        self.by_oid.values().copied()
    }

    /// Every operator name with its operators.
    pub fn all_operators(&self) -> impl Iterator<Item = &'static Operator> {
        self.operators.values().flatten().copied()
    }
}

/// The registry with this crate's functions alone, built on first use.
pub fn builtin_registry() -> &'static Registry {
    static BUILTINS: OnceLock<Registry> = OnceLock::new();
    BUILTINS.get_or_init(Registry::with_builtins)
}

/// A function was called with another number of arguments than it has: a bug of the caller.
#[cold]
pub fn wrong_arg_count(name: &'static str) -> PgError {
    error!(SqlState::INTERNAL_ERROR, "function {name} called with a wrong number of arguments")
}

/// Calls a scalar function by what its row says, taking care of strictness. C: `FunctionCallInvoke`.
pub fn call_scalar(func: &Builtin, cx: &mut CallContext<'_>, args: &[Datum]) -> Result<Datum> {
    if func.strict && args.iter().any(Datum::is_null) {
        return Ok(Datum::Null);
    }
    match func.func {
        FuncImpl::Scalar(f) => f(cx, args),
        FuncImpl::Set(_) => Err(error!(
            SqlState::FEATURE_NOT_SUPPORTED,
            "set-valued function called in context that cannot accept a set"
        )),
        FuncImpl::Aggregate(_) => Err(error!(
            SqlState::INTERNAL_ERROR,
            "aggregate function {} called as normal function", func.name
        )),
    }
}
