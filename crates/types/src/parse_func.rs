//! Which function or operator a call means, given the types of its arguments. C: parse_func.c, parse_oper.c,
//! and the polymorphic half of parse_coerce.c.

use common::{Oid, SqlState};
use elog::{PgError, Result, error};

use crate::cast::{self, Context, Method, can_coerce};
use crate::fmgr::{Builtin, CallContext, FuncImpl, Operator, Registry, RowIter, Session, call_scalar};
use crate::type_info::{array_type_of, element_type_of};
use crate::{Datum, format_type, oid, type_by_name, type_info};

/// What a call turned out to mean.
#[derive(Clone, Copy, Debug)]
pub enum CallTarget {
    /// A function (or an aggregate: see [`Builtin::func`]).
    Function(&'static Builtin),
    /// `date('now')`: a cast written as a call, to [`Resolved::ret`].
    Coercion,
}

/// Where an argument of the function comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgSource {
    /// The call's argument with this index.
    Given(usize),
    /// The function's default, as input text; `None` is NULL.
    Default(Option<&'static str>),
}

/// A call with its function found and its types settled.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What to call.
    pub target: CallTarget,
    /// The type each argument must be coerced to before the call, in the function's order: variadic arguments
    /// one by one, defaults included, polymorphic types and "any" replaced by actual ones.
    pub arg_types: Vec<Oid>,
    /// Where each of them comes from.
    pub sources: Vec<ArgSource>,
    /// Type of the result.
    pub ret: Oid,
    /// Arguments from this one on are collected into an array before the call.
    pub variadic_from: Option<usize>,
    /// VARIADIC was written before the last argument.
    pub func_variadic: bool,
}

/// An operator with its function found and its types settled. To evaluate it is to call `call`.
#[derive(Clone, Debug)]
pub struct ResolvedOperator {
    /// The operator.
    pub operator: &'static Operator,
    /// Its function as a call.
    pub call: Resolved,
}

/// A function call as written.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallArgs<'a> {
    /// Types of the arguments, `oid::UNKNOWN` for untyped literals and NULL.
    pub types: &'a [Oid],
    /// Names of the last arguments, for `name => value`.
    pub names: &'a [&'a str],
    /// VARIADIC before the last argument.
    pub variadic: bool,
}

impl Resolved {
    /// The function, unless the call is a cast.
    pub fn function(&self) -> Option<&'static Builtin> {
        match self.target {
            CallTarget::Function(f) => Some(f),
            CallTarget::Coercion => None,
        }
    }

    fn context<'a>(&'a self, session: &'a Session<'a>) -> CallContext<'a> {
        CallContext {
            session,
            arg_types: &self.arg_types,
            ret_type: self.ret,
            func_variadic: self.func_variadic,
        }
    }

    /// Packs variadic arguments into their array, if there is one to make.
    fn packed(&self, args: &[Datum]) -> Option<Vec<Datum>> {
        let from = self.variadic_from?;
        let elem = self.arg_types.get(from).copied().unwrap_or(Oid::INVALID);
        let mut packed = args[..from].to_vec();
        packed.push(Datum::array(elem, args[from..].to_vec()));
        Some(packed)
    }

    /// Calls it. `args` are in the order of `arg_types` and have these types already.
    pub fn call(&self, session: &Session<'_>, args: &[Datum]) -> Result<Datum> {
        let CallTarget::Function(function) = self.target else {
            return Ok(args.first().cloned().unwrap_or_default());
        };
        let mut cx = self.context(session);
        match self.packed(args) {
            Some(packed) => call_scalar(function, &mut cx, &packed),
            None => call_scalar(function, &mut cx, args),
        }
    }

    /// Calls it as a set-returning function; a function that returns one value gives one row.
    pub fn call_set(&self, session: &Session<'_>, args: &[Datum]) -> Result<RowIter> {
        let packed = self.packed(args);
        let args = packed.as_deref().unwrap_or(args);
        if let CallTarget::Function(Builtin { func: FuncImpl::Set(set), strict, .. }) = self.target {
            if *strict && args.iter().any(Datum::is_null) {
                return Ok(Box::new(std::iter::empty()));
            }
            return set(&mut self.context(session), args);
        }
        let value = self.call(session, args)?;
        Ok(Box::new(std::iter::once(Ok(vec![value]))))
    }
}

/// True for the pseudo-types that stand for "whatever the caller passes". C: `IsPolymorphicType`.
pub fn is_polymorphic(ty: Oid) -> bool {
    matches!(
        ty,
        oid::ANYELEMENT
            | oid::ANYARRAY
            | oid::ANYNONARRAY
            | oid::ANYENUM
            | oid::ANYRANGE
            | oid::ANYMULTIRANGE
            | oid::ANYCOMPATIBLE
            | oid::ANYCOMPATIBLEARRAY
            | oid::ANYCOMPATIBLENONARRAY
            | oid::ANYCOMPATIBLERANGE
            | oid::ANYCOMPATIBLEMULTIRANGE
    )
}

/// A function or operator that could be meant, its parameters brought into the order of the call.
struct Candidate<T> {
    item: T,
    /// Declared types of exactly the arguments given.
    args: Vec<Oid>,
    /// Rank among candidates with the same `args`: 0 plain, then defaults used, then variadic.
    rank: usize,
    /// Index of each given argument in the function's order (identity for positional calls).
    slots: Vec<usize>,
    expanded: bool,
}

/// Finds the function for a positional call. See [`resolve_call`].
pub fn resolve_function(registry: &Registry, name: &str, arg_types: &[Oid]) -> Result<Resolved> {
    resolve_call(registry, name, &CallArgs { types: arg_types, ..CallArgs::default() })
}

/// Finds the function for a call, with PostgreSQL's rules and errors (42883, 42725). C: `func_get_detail`.
pub fn resolve_call(registry: &Registry, name: &str, call: &CallArgs<'_>) -> Result<Resolved> {
    let candidates = function_candidates(registry, name, call);
    if let Some(exact) = candidates.iter().find(|c| c.args == call.types) {
        return finish_call(exact, call);
    }
    if let [from] = call.types
        && call.names.is_empty()
        && let Some(to) = type_by_name(name)
        && (*from == oid::UNKNOWN || is_cast_without_function(*from, to))
    {
        return Ok(Resolved {
            target: CallTarget::Coercion,
            arg_types: vec![to],
            sources: vec![ArgSource::Given(0)],
            ret: to,
            variadic_from: None,
            func_variadic: false,
        });
    }
    let matching: Vec<&Candidate<_>> =
        candidates.iter().filter(|c| args_match(&c.args, call.types)).collect();
    match select_candidate(call.types, matching) {
        Choice::One(found) => finish_call(found, call),
        Choice::None => Err(error!(
            SqlState::UNDEFINED_FUNCTION,
            "function {} does not exist",
            signature(name, call)
        )
        .hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        )),
        Choice::Ambiguous => Err(error!(
            SqlState::AMBIGUOUS_FUNCTION,
            "function {} is not unique",
            signature(name, call)
        )
        .hint("Could not choose a best candidate function. You might need to add explicit type casts.")),
    }
}

fn is_cast_without_function(from: Oid, to: Oid) -> bool {
    cast::find_cast(from, to).is_some_and(|c| matches!(c.method, Method::Binary | Method::InOut))
}

/// `f(integer, x => text)` for messages. C: `func_signature_string`.
fn signature(name: &str, call: &CallArgs<'_>) -> String {
    let positional = call.types.len() - call.names.len().min(call.types.len());
    let shown: Vec<String> = call
        .types
        .iter()
        .enumerate()
        .map(|(i, ty)| match i.checked_sub(positional).and_then(|n| call.names.get(n)) {
            Some(arg_name) => format!("{arg_name} => {}", format_type(*ty, -1)),
            None => format_type(*ty, -1),
        })
        .collect();
    format!("{name}({})", shown.join(", "))
}

/// Every function of that name that takes this number of arguments. C: `FuncnameGetCandidates`.
fn function_candidates(
    registry: &Registry,
    name: &str,
    call: &CallArgs<'_>,
) -> Vec<Candidate<&'static Builtin>> {
    let mut found: Vec<Candidate<&'static Builtin>> = Vec::new();
    for &function in registry.candidates(name) {
        let Some(candidate) = function_candidate(function, call) else { continue };
        match found.iter_mut().find(|c| c.args == candidate.args && call.names.is_empty()) {
            Some(rival) if rival.rank <= candidate.rank => {}
            Some(rival) => *rival = candidate,
            None => found.push(candidate),
        }
    }
    found
}

fn function_candidate(
    function: &'static Builtin,
    call: &CallArgs<'_>,
) -> Option<Candidate<&'static Builtin>> {
    let (given, declared) = (call.types.len(), function.args.len());
    if !call.names.is_empty() {
        return named_candidate(function, call);
    }
    let is_variadic = function.variadic.is_valid();
    if call.variadic {
        if !is_variadic || given != declared {
            return None;
        }
    } else if is_variadic && given >= declared {
        let mut args = function.args[..declared - 1].to_vec();
        args.resize(given, function.variadic);
        return Some(Candidate {
            item: function,
            args,
            rank: 1000,
            slots: (0..given).collect(),
            expanded: true,
        });
    }
    if given > declared || given + function.defaults.len() < declared {
        return None;
    }
    let args = function.args[..given].to_vec();
    Some(Candidate {
        item: function,
        args,
        rank: declared - given,
        slots: (0..given).collect(),
        expanded: false,
    })
}

/// C: `MatchNamedCall`.
fn named_candidate(function: &'static Builtin, call: &CallArgs<'_>) -> Option<Candidate<&'static Builtin>> {
    let positional = call.types.len().checked_sub(call.names.len())?;
    let mut slots: Vec<usize> = (0..positional).collect();
    for name in call.names {
        let slot = function.arg_names.iter().position(|n| n == name)?;
        if slots.contains(&slot) {
            return None;
        }
        slots.push(slot);
    }
    let required = function.args.len() - function.defaults.len();
    if positional > function.args.len() || (0..required).any(|slot| !slots.contains(&slot)) {
        return None;
    }
    let args = slots.iter().map(|&slot| function.args[slot]).collect();
    Some(Candidate { item: function, args, rank: 0, slots, expanded: false })
}

/// C: the tail of `ParseFuncOrColumn`.
fn finish_call(found: &Candidate<&'static Builtin>, call: &CallArgs<'_>) -> Result<Resolved> {
    let function = found.item;
    let total = if found.expanded { call.types.len() } else { function.args.len() };
    let mut sources = Vec::with_capacity(total);
    let mut declared = Vec::with_capacity(total);
    let mut actual = Vec::with_capacity(total);
    for slot in 0..total {
        match found.slots.iter().position(|&s| s == slot) {
            Some(given) => {
                sources.push(ArgSource::Given(given));
                declared.push(found.args[given]);
                actual.push(call.types[given]);
            }
            None => {
                let first_default = function.args.len() - function.defaults.len();
                sources.push(ArgSource::Default(
                    slot.checked_sub(first_default).and_then(|n| function.defaults[n]),
                ));
                declared.push(function.args[slot]);
                actual.push(function.args[slot]);
            }
        }
    }
    let ret = resolve_polymorphic(&mut declared, &actual, function.ret)?;
    for (ty, given) in declared.iter_mut().zip(&actual) {
        if *ty == oid::ANY {
            *ty = *given;
        }
    }
    let collects = found.expanded && function.variadic != oid::ANY;
    Ok(Resolved {
        target: CallTarget::Function(function),
        arg_types: declared,
        sources,
        ret,
        variadic_from: collects.then(|| function.args.len() - 1),
        func_variadic: call.variadic,
    })
}

/// C: `can_coerce_type` over all arguments, with `check_generic_type_consistency`.
fn args_match(declared: &[Oid], actual: &[Oid]) -> bool {
    declared.len() == actual.len()
        && declared.iter().zip(actual).all(|(to, from)| can_coerce(*from, *to, Context::Implicit))
        && Polymorphic::collect(declared, actual).is_ok()
}

enum Choice<T> {
    None,
    One(T),
    Ambiguous,
}

/// Narrows several candidates down to the best. C: `func_select_candidate`.
fn select_candidate<'a, T>(actual: &[Oid], mut left: Vec<&'a Candidate<T>>) -> Choice<&'a Candidate<T>> {
    match left.as_slice() {
        [] => return Choice::None,
        [only] => return Choice::One(only),
        _ => {}
    }
    let known = |i: &usize| actual[*i] != oid::UNKNOWN;
    let exact =
        |c: &Candidate<T>| (0..actual.len()).filter(known).filter(|&i| c.args[i] == actual[i]).count();
    keep_best(&mut left, exact);
    let fair = |c: &Candidate<T>| {
        let fits = |&i: &usize| c.args[i] == actual[i] || is_preferred(category(actual[i]), c.args[i]);
        (0..actual.len()).filter(known).filter(fits).count()
    };
    if left.len() > 1 {
        keep_best(&mut left, fair);
    }
    let unknowns: Vec<usize> = (0..actual.len()).filter(|i| actual[*i] == oid::UNKNOWN).collect();
    if left.len() > 1 && !unknowns.is_empty() {
        keep_by_category(&mut left, &unknowns);
    }
    if left.len() > 1 && !unknowns.is_empty() && unknowns.len() < actual.len() {
        keep_by_known_type(&mut left, actual);
    }
    match left.as_slice() {
        [only] => Choice::One(only),
        _ => Choice::Ambiguous,
    }
}

fn keep_best<T>(left: &mut Vec<&Candidate<T>>, score: impl Fn(&Candidate<T>) -> usize) {
    let best = left.iter().map(|c| score(c)).max().unwrap_or(0);
    left.retain(|c| score(c) == best);
}

/// An untyped literal goes to strings if any candidate takes one, else to the one category all agree on.
fn keep_by_category<T>(left: &mut Vec<&Candidate<T>>, unknowns: &[usize]) {
    let mut wanted = Vec::with_capacity(unknowns.len());
    for &i in unknowns {
        let categories: Vec<char> = left.iter().map(|c| category(c.args[i])).collect();
        let slot = if categories.contains(&'S') { 'S' } else { categories[0] };
        if slot != 'S' && categories.iter().any(|c| *c != slot) {
            return;
        }
        wanted.push((i, slot, left.iter().any(|c| is_preferred(slot, c.args[i]))));
    }
    let fits = |c: &Candidate<T>| {
        wanted.iter().all(|&(i, slot, preferred)| {
            category(c.args[i]) == slot && (!preferred || is_preferred(slot, c.args[i]))
        })
    };
    if left.iter().any(|c| fits(c)) {
        left.retain(|c| fits(c));
    }
}

/// If all typed arguments agree, the untyped ones are probably meant to be of that type too.
fn keep_by_known_type<T>(left: &mut Vec<&Candidate<T>>, actual: &[Oid]) {
    let mut known = actual.iter().filter(|t| **t != oid::UNKNOWN);
    let Some(first) = known.next() else { return };
    if known.any(|t| t != first) {
        return;
    }
    let assumed = vec![*first; actual.len()];
    let fits = |c: &Candidate<T>| args_match(&c.args, &assumed);
    if left.iter().filter(|c| fits(c)).count() == 1 {
        left.retain(|c| fits(c));
    }
}

fn category(ty: Oid) -> char {
    type_info(ty).map_or('\0', |t| t.category)
}

fn is_preferred(wanted_category: char, ty: Oid) -> bool {
    type_info(ty).is_some_and(|t| t.preferred && t.category == wanted_category)
}

/// What the polymorphic arguments of a call agree on.
#[derive(Default)]
struct Polymorphic {
    elem: Option<Oid>,
    compatible: Option<Oid>,
    any_used: bool,
}

#[cold]
fn mismatch(message: String) -> PgError {
    error!(SqlState::DATATYPE_MISMATCH, "{message}")
}

impl Polymorphic {
    fn collect(declared: &[Oid], actual: &[Oid]) -> Result<Polymorphic> {
        let mut found = Polymorphic::default();
        let mut compatible = Vec::new();
        for (&want, &have) in declared.iter().zip(actual) {
            let elem = match want {
                oid::ANYELEMENT | oid::ANYNONARRAY | oid::ANYENUM => have,
                oid::ANYARRAY if have == oid::UNKNOWN => have,
                oid::ANYARRAY => element_type_of(have),
                oid::ANYCOMPATIBLE | oid::ANYCOMPATIBLENONARRAY => {
                    compatible.push(have);
                    continue;
                }
                oid::ANYCOMPATIBLEARRAY => {
                    compatible.push(if have == oid::UNKNOWN { have } else { element_type_of(have) });
                    continue;
                }
                _ => continue,
            };
            found.any_used = true;
            match found.elem {
                _ if have == oid::UNKNOWN => {}
                None => found.elem = Some(elem),
                Some(before) if before == elem => {}
                Some(before) if want == oid::ANYARRAY || declared.contains(&oid::ANYARRAY) => {
                    return Err(mismatch(
                        "argument declared anyarray is not consistent with argument declared anyelement"
                            .into(),
                    )
                    .detail(format!(
                        "{} versus {}",
                        format_type(elem, -1),
                        format_type(before, -1)
                    )));
                }
                Some(before) => {
                    return Err(mismatch("arguments declared \"anyelement\" are not all alike".into())
                        .detail(format!("{} versus {}", format_type(before, -1), format_type(elem, -1))));
                }
            }
        }
        if !compatible.is_empty() {
            let common = select_common_type(&compatible, "arguments of anycompatible family cannot be")?;
            found.compatible = Some(common);
        }
        Ok(found)
    }
}

/// Replaces polymorphic types in `declared` by what the actual types say and returns the result's type.
/// C: `enforce_generic_type_consistency`.
fn resolve_polymorphic(declared: &mut [Oid], actual: &[Oid], ret: Oid) -> Result<Oid> {
    if !is_polymorphic(ret) && !declared.iter().any(|t| is_polymorphic(*t)) {
        return Ok(ret);
    }
    let found = Polymorphic::collect(declared, actual)?;
    if found.any_used && found.elem.is_none() {
        return Err(mismatch("could not determine polymorphic type because input has type unknown".into()));
    }
    let elem = found.elem.unwrap_or(Oid::INVALID);
    let compatible = found.compatible.unwrap_or(Oid::INVALID);
    let actual_type = |ty: Oid| match ty {
        oid::ANYELEMENT | oid::ANYNONARRAY | oid::ANYENUM => elem,
        oid::ANYARRAY => array_type_of(elem),
        oid::ANYCOMPATIBLE | oid::ANYCOMPATIBLENONARRAY => compatible,
        oid::ANYCOMPATIBLEARRAY => array_type_of(compatible),
        other => other,
    };
    for ty in declared.iter_mut() {
        *ty = actual_type(*ty);
    }
    Ok(actual_type(ret))
}

/// The type that CASE branches, UNION columns, COALESCE arguments ... are all brought to; text if all are
/// untyped. `context` begins the error, as in `CASE types integer and text cannot be matched`.
/// C: `select_common_type`.
pub fn select_common_type(types: &[Oid], context: &str) -> Result<Oid> {
    let mut known = types.iter().copied().filter(|t| *t != oid::UNKNOWN);
    let Some(mut best) = known.next() else { return Ok(oid::TEXT) };
    for ty in known {
        if ty == best {
            continue;
        }
        if category(ty) != category(best) {
            return Err(mismatch(format!(
                "{context} types {} and {} cannot be matched",
                format_type(best, -1),
                format_type(ty, -1)
            )));
        }
        let best_is_preferred = type_info(best).is_some_and(|t| t.preferred);
        if !best_is_preferred
            && can_coerce(best, ty, Context::Implicit)
            && !can_coerce(ty, best, Context::Implicit)
        {
            best = ty;
        }
    }
    if let Some(bad) = types.iter().find(|t| !can_coerce(**t, best, Context::Implicit)) {
        return Err(error!(
            SqlState::CANNOT_COERCE,
            "{context} could not convert type {} to {}",
            format_type(*bad, -1),
            format_type(best, -1)
        ));
    }
    Ok(best)
}

/// Finds the operator for two operands, or for one (`left` is `None`), with PostgreSQL's rules and errors.
/// C: `oper`, `left_oper`.
pub fn resolve_operator(
    registry: &Registry,
    name: &str,
    left: Option<Oid>,
    right: Oid,
) -> Result<ResolvedOperator> {
    let actual: Vec<Oid> = left.into_iter().chain([right]).collect();
    let candidates: Vec<Candidate<&'static Operator>> = registry
        .operators(name)
        .iter()
        .filter(|op| op.left.is_valid() == left.is_some() && registry.by_oid(op.code).is_some())
        .map(|&item| {
            let args: Vec<Oid> = [item.left, item.right].into_iter().filter(|t| t.is_valid()).collect();
            Candidate { item, slots: (0..args.len()).collect(), args, rank: 0, expanded: false }
        })
        .collect();
    // An untyped operand is first taken to be of the other's type.
    let mut assumed = actual.clone();
    if let [a, b] = assumed.as_mut_slice() {
        match (*a == oid::UNKNOWN, *b == oid::UNKNOWN) {
            (true, false) => *a = *b,
            (false, true) => *b = *a,
            _ => {}
        }
    }
    if let Some(exact) = candidates.iter().find(|c| c.args == assumed) {
        return finish_operator(registry, exact.item, &assumed);
    }
    let matching: Vec<&Candidate<_>> = candidates.iter().filter(|c| args_match(&c.args, &actual)).collect();
    match select_candidate(&actual, matching) {
        Choice::One(found) => finish_operator(registry, found.item, &actual),
        Choice::None => Err(no_operator(name, left, right)),
        Choice::Ambiguous => Err(error!(
            SqlState::AMBIGUOUS_FUNCTION,
            "operator is not unique: {}",
            operator_signature(name, left, right)
        )
        .hint("Could not choose a best candidate operator. You might need to add explicit type casts.")),
    }
}

fn operator_signature(name: &str, left: Option<Oid>, right: Oid) -> String {
    let right = format_type(right, -1);
    match left {
        Some(left) => format!("{} {name} {right}", format_type(left, -1)),
        None => format!("{name} {right}"),
    }
}

fn no_operator(name: &str, left: Option<Oid>, right: Oid) -> PgError {
    let e = error!(
        SqlState::UNDEFINED_FUNCTION,
        "operator does not exist: {}",
        operator_signature(name, left, right)
    );
    e.hint(match left {
        Some(_) => "No operator matches the given name and argument types. You might need to add explicit type casts.",
        None => "No operator matches the given name and argument type. You might need to add an explicit type cast.",
    })
}

fn finish_operator(
    registry: &Registry,
    operator: &'static Operator,
    actual: &[Oid],
) -> Result<ResolvedOperator> {
    let mut declared: Vec<Oid> =
        [operator.left, operator.right].into_iter().filter(|t| t.is_valid()).collect();
    let Some(function) = registry.by_oid(operator.code) else {
        let left = operator.left.is_valid().then_some(operator.left);
        return Err(no_operator(operator.name, left, operator.right));
    };
    let ret = resolve_polymorphic(&mut declared, actual, function.ret)?;
    let call = Resolved {
        target: CallTarget::Function(function),
        sources: (0..declared.len()).map(ArgSource::Given).collect(),
        arg_types: declared,
        ret,
        variadic_from: None,
        func_variadic: false,
    };
    Ok(ResolvedOperator { operator, call })
}
