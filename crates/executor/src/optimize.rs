//! What is decided about a statement before it runs: where conditions are checked, how joins find partners, which
//! columns are read from rows.
//!
//! There are no statistics to weigh plans with yet; these are the decisions that are right in any case. A condition of
//! WHERE or ON moves down to the item whose columns it reads; an equality between the two sides of a join makes it a
//! hash join; `ctid = x` becomes a look-up of the row; a scan takes from each row only the columns that some
//! expression names.
//!
//! C counterpart: optimizer/prep/prepjointree.c, optimizer/util/restrictinfo.c, setrefs.c, as far as they go.

use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use parser::ast::JoinKind;
use types::fmgr::Volatility;
use types::oid;

use crate::expr::{Expr, Node};
use crate::query::{Action, Analyzed, Body, From, HashKey, Join, Modify, Query, Select, TableScan};
use crate::table::SYSTEM_COLUMNS;

/// Functions of `=` between integers of different widths, whose values can be compared as bigint.
const INTEGER_EQUALITIES: [&str; 9] =
    ["int2eq", "int4eq", "int8eq", "int24eq", "int42eq", "int28eq", "int82eq", "int48eq", "int84eq"];

/// Functions of `=` within one type.
const EQUALITIES: [&str; 22] = [
    "booleq",
    "chareq",
    "oideq",
    "texteq",
    "nameeq",
    "nameeqtext",
    "texteqname",
    "bpchareq",
    "byteaeq",
    "date_eq",
    "time_eq",
    "timetz_eq",
    "timestamp_eq",
    "timestamptz_eq",
    "interval_eq",
    "numeric_eq",
    "uuid_eq",
    "pg_lsn_eq",
    "tideq",
    "float4eq",
    "float8eq",
    "network_eq",
];

/// Address of a row equal to a value. C: `TIDEqualOperator`'s function.
const TID_EQUAL: &str = "tideq";

/// Decides everything for a statement.
pub(crate) fn prepare(analyzed: &mut Analyzed) {
    optimize_query(&mut analyzed.query);
    for cte in &mut analyzed.ctes {
        optimize_query(Rc::make_mut(&mut cte.query));
        if let Some((again, _)) = &mut cte.recursive {
            optimize_query(Rc::make_mut(again));
        }
    }
    for sub in &mut analyzed.subplans {
        optimize_query(Rc::make_mut(&mut sub.query));
    }
    let used = used_slots(analyzed);
    for_each_query(analyzed, &mut |query| set_needed(query, &used));
}

fn for_each_query(analyzed: &mut Analyzed, visit: &mut dyn FnMut(&mut Query)) {
    visit(&mut analyzed.query);
    for cte in &mut analyzed.ctes {
        visit(Rc::make_mut(&mut cte.query));
        if let Some((again, _)) = &mut cte.recursive {
            visit(Rc::make_mut(again));
        }
    }
    for sub in &mut analyzed.subplans {
        visit(Rc::make_mut(&mut sub.query));
    }
}

// --- conditions and joins ---

fn optimize_query(query: &mut Query) {
    let depth = query.depth;
    match &mut query.body {
        Body::Values(_) => {}
        Body::SetOp(set) => {
            let set = Rc::make_mut(set);
            optimize_query(&mut set.left);
            optimize_query(&mut set.right);
        }
        Body::Select(select) => optimize_select(Rc::make_mut(select), depth),
        Body::Modify(modify) => optimize_modify(Rc::make_mut(modify), depth),
    }
}

fn optimize_modify(modify: &mut Modify, depth: usize) {
    match &mut modify.action {
        Action::Insert { source, .. } => {
            if let Some(query) = source {
                optimize_query(Rc::make_mut(query));
            }
        }
        Action::Update(change) | Action::Delete(change) => {
            let change = Rc::make_mut(change);
            optimize_select(Rc::make_mut(&mut change.select), depth);
        }
    }
}

fn optimize_select(select: &mut Select, depth: usize) {
    let Some(from) = &mut select.from else { return };
    let mut kept = Vec::new();
    for condition in select.filter.take().map_or_else(Vec::new, conjuncts) {
        match is_movable(&condition) && reads_frame(&condition, depth) {
            true => kept.extend(push_down(from, condition, depth)),
            false => kept.push(condition),
        }
    }
    select.filter = conjunction(kept);
    optimize_from(from, depth);
}

fn optimize_from(from: &mut From, depth: usize) {
    match from {
        From::Subquery { query, .. } => optimize_query(Rc::make_mut(query)),
        From::Filter(filter) => optimize_from(&mut Rc::make_mut(filter).0, depth),
        From::Join(join) => {
            let join = Rc::make_mut(join);
            sort_join_conditions(join, depth);
            optimize_from(&mut join.left, depth);
            optimize_from(&mut join.right, depth);
        }
        From::Table(scan) => choose_tid_scan(Rc::make_mut(scan), depth),
        From::Function(_) | From::Relation { .. } | From::Cte { .. } => {}
    }
}

/// The conditions that AND puts together.
fn conjuncts(condition: Expr) -> Vec<Expr> {
    match condition.node {
        Node::And(list) => list.into_iter().flat_map(conjuncts).collect(),
        _ => vec![condition],
    }
}

fn conjunction(mut list: Vec<Expr>) -> Option<Expr> {
    if list.len() > 1 {
        return Some(Expr::new(oid::BOOL, list[0].loc, Node::And(list)));
    }
    list.pop()
}

/// Whether it may be evaluated at another time: it has no effects, and what it reads shows.
fn is_movable(expr: &Expr) -> bool {
    let own = match &expr.node {
        Node::Sublink { .. } | Node::CaseArg { .. } => false,
        Node::Call { call, .. } => call.function().is_none_or(|f| f.volatility != Volatility::Volatile),
        _ => true,
    };
    let mut movable = own;
    expr.for_each_child(&mut |child| movable = movable && is_movable(child));
    movable
}

fn slots_read(expr: &Expr, depth: usize, slots: &mut Vec<usize>) {
    if let Node::Var { depth: d, slot } = expr.node
        && d == depth
    {
        slots.push(slot);
    }
    expr.for_each_child(&mut |child| slots_read(child, depth, slots));
}

fn reads_frame(expr: &Expr, depth: usize) -> bool {
    let mut slots = Vec::new();
    slots_read(expr, depth, &mut slots);
    !slots.is_empty()
}

fn reads_only(expr: &Expr, depth: usize, range: &Range<usize>) -> bool {
    let mut slots = Vec::new();
    slots_read(expr, depth, &mut slots);
    slots.iter().all(|slot| range.contains(slot))
}

/// Moves a condition of WHERE as far down as it goes; returns it if it has to stay above the item.
fn push_down(from: &mut From, condition: Expr, depth: usize) -> Option<Expr> {
    if let From::Join(join) = from {
        let join = Rc::make_mut(join);
        let left = matches!(join.kind, JoinKind::Inner | JoinKind::Left);
        let right = matches!(join.kind, JoinKind::Inner | JoinKind::Right);
        if left && reads_only(&condition, depth, &join.left_slots) {
            return push_down(&mut join.left, condition, depth);
        }
        if right && reads_only(&condition, depth, &join.right_slots) {
            return push_down(&mut join.right, condition, depth);
        }
        if join.kind == JoinKind::Inner {
            let mut all = join.on.take().map_or_else(Vec::new, conjuncts);
            all.push(condition);
            join.on = conjunction(all);
            return None;
        }
        return Some(condition);
    }
    attach(from, condition);
    None
}

/// Checks a condition right where the item's rows come from.
fn attach(from: &mut From, condition: Expr) {
    match from {
        From::Table(scan) => {
            let scan = Rc::make_mut(scan);
            let mut all = scan.filter.take().map_or_else(Vec::new, conjuncts);
            all.push(condition);
            scan.filter = conjunction(all);
        }
        From::Filter(filter) => {
            let filter = Rc::make_mut(filter);
            let loc = filter.1.loc;
            let nothing = Expr::new(oid::BOOL, loc, Node::And(Vec::new()));
            let mut all = conjuncts(std::mem::replace(&mut filter.1, nothing));
            all.push(condition);
            filter.1.node = Node::And(all);
        }
        other => {
            let nothing = From::Cte { alias: String::new(), base: 0, width: 0, id: 0, working: false };
            let inner = std::mem::replace(other, nothing);
            *other = From::Filter(Rc::new((inner, condition)));
        }
    }
}

/// Conditions of ON: those about one side go there if that changes nothing, equalities become hash keys.
fn sort_join_conditions(join: &mut Join, depth: usize) {
    let mut kept = Vec::new();
    for condition in join.on.take().map_or_else(Vec::new, conjuncts) {
        if !is_movable(&condition) || !reads_frame(&condition, depth) {
            kept.push(condition);
            continue;
        }
        let to_left = matches!(join.kind, JoinKind::Inner | JoinKind::Right);
        let to_right = matches!(join.kind, JoinKind::Inner | JoinKind::Left);
        let rest = if to_left && reads_only(&condition, depth, &join.left_slots) {
            push_down(&mut join.left, condition, depth)
        } else if to_right && !join.lateral && reads_only(&condition, depth, &join.right_slots) {
            push_down(&mut join.right, condition, depth)
        } else {
            Some(condition)
        };
        let Some(condition) = rest else { continue };
        match hash_key(&condition, join, depth) {
            Some(key) => join.hash.push(key),
            None => kept.push(condition),
        }
    }
    join.on = conjunction(kept);
}

/// `left = right`, each side of the join on its own side. C: `hash_inner_and_outer`'s search for clauses.
fn hash_key(condition: &Expr, join: &Join, depth: usize) -> Option<HashKey> {
    let Node::Call { call, args } = &condition.node else { return None };
    let [a, b] = args.as_slice() else { return None };
    if join.lateral {
        return None;
    }
    let name = call.function()?.name;
    let ty = if INTEGER_EQUALITIES.contains(&name) {
        oid::INT8
    } else if EQUALITIES.contains(&name) {
        if a.ty == oid::BPCHAR { oid::BPCHAR } else { b.ty }
    } else {
        return None;
    };
    let on_left = |e: &Expr| reads_frame(e, depth) && reads_only(e, depth, &join.left_slots);
    let on_right = |e: &Expr| reads_frame(e, depth) && reads_only(e, depth, &join.right_slots);
    if on_left(a) && on_right(b) {
        return Some(HashKey { left: a.clone(), right: b.clone(), ty, condition: condition.clone() });
    }
    if on_left(b) && on_right(a) {
        // Shown with the left side first; nobody evaluates it.
        let node = Node::Call { call: call.clone(), args: vec![b.clone(), a.clone()] };
        let swapped = Expr { node, ..condition.clone() };
        return Some(HashKey { left: b.clone(), right: a.clone(), ty, condition: swapped });
    }
    None
}

/// `ctid = value`, where the value is the same for all rows. C: `TidQualFromRestrictInfo`.
fn choose_tid_scan(scan: &mut TableScan, depth: usize) {
    let ctid = scan.base + scan.table.natts();
    let is_ctid = |e: &Expr| matches!(e.node, Node::Var { depth: d, slot } if (d, slot) == (depth, ctid));
    let mut kept = Vec::new();
    for condition in scan.filter.take().map_or_else(Vec::new, conjuncts) {
        let found = match &condition.node {
            Node::Call { call, args } if call.function().is_some_and(|f| f.name == TID_EQUAL) => {
                match args.as_slice() {
                    [a, b] if is_ctid(a) && !reads_frame(b, depth) => Some(b.clone()),
                    [a, b] if is_ctid(b) && !reads_frame(a, depth) => Some(a.clone()),
                    _ => None,
                }
            }
            _ => None,
        };
        match found {
            Some(tid) if scan.tids.is_none() => scan.tids = Some(vec![tid]),
            _ => kept.push(condition),
        }
    }
    scan.filter = conjunction(kept);
}

// --- columns ---

fn used_slots(analyzed: &Analyzed) -> HashSet<(usize, usize)> {
    let mut used = HashSet::new();
    let mut visit = |expr: &Expr| note_slots(expr, &mut used);
    analyzed.query.for_each_expr(&mut visit);
    for cte in &analyzed.ctes {
        cte.query.for_each_expr(&mut visit);
        if let Some((again, _)) = &cte.recursive {
            again.for_each_expr(&mut visit);
        }
    }
    for sub in &analyzed.subplans {
        sub.query.for_each_expr(&mut visit);
    }
    used
}

fn note_slots(expr: &Expr, used: &mut HashSet<(usize, usize)>) {
    if let Node::Var { depth, slot } = expr.node {
        used.insert((depth, slot));
    }
    expr.for_each_child(&mut |child| note_slots(child, used));
}

fn set_needed(query: &mut Query, used: &HashSet<(usize, usize)>) {
    let depth = query.depth;
    match &mut query.body {
        Body::Values(_) => {}
        Body::SetOp(set) => {
            let set = Rc::make_mut(set);
            set_needed(&mut set.left, used);
            set_needed(&mut set.right, used);
        }
        Body::Select(select) => {
            if let Some(from) = &mut Rc::make_mut(select).from {
                set_needed_from(from, depth, used);
            }
        }
        Body::Modify(modify) => match &mut Rc::make_mut(modify).action {
            Action::Insert { source, .. } => {
                if let Some(query) = source {
                    set_needed(Rc::make_mut(query), used);
                }
            }
            Action::Update(change) | Action::Delete(change) => {
                let select = Rc::make_mut(&mut Rc::make_mut(change).select);
                if let Some(from) = &mut select.from {
                    set_needed_from(from, depth, used);
                }
            }
        },
    }
}

/// The slots of the addresses of rows that are to be changed or locked.
fn address_slots(from: &From) -> Vec<usize> {
    match from {
        From::Table(scan) if scan.is_target => vec![scan.base + scan.table.natts()],
        From::Filter(filter) => address_slots(&filter.0),
        From::Join(join) => {
            let mut slots = address_slots(&join.left);
            slots.extend(address_slots(&join.right));
            slots
        }
        _ => Vec::new(),
    }
}

fn set_needed_from(from: &mut From, depth: usize, used: &HashSet<(usize, usize)>) {
    match from {
        From::Table(scan) => {
            let scan = Rc::make_mut(scan);
            let natts = scan.table.natts();
            let reads = |slot: usize| used.contains(&(depth, slot));
            scan.needed = (0..natts).filter(|i| reads(scan.base + i)).collect();
            let system = SYSTEM_COLUMNS.iter().enumerate();
            scan.needed_system = system
                .filter(|(i, _)| reads(scan.base + natts + i) || (scan.is_target && *i == 0))
                .map(|(_, attribute)| *attribute)
                .collect();
        }
        From::Subquery { query, .. } => set_needed(Rc::make_mut(query), used),
        From::Filter(filter) => set_needed_from(&mut Rc::make_mut(filter).0, depth, used),
        From::Join(join) => {
            let join = Rc::make_mut(join);
            set_needed_from(&mut join.left, depth, used);
            set_needed_from(&mut join.right, depth, used);
            let addresses = address_slots(&join.right);
            let reads = |slot: &usize| used.contains(&(depth, *slot)) || addresses.contains(slot);
            join.right_needed = join.right_slots.clone().filter(reads).collect();
        }
        From::Function(_) | From::Relation { .. } | From::Cte { .. } => {}
    }
}
