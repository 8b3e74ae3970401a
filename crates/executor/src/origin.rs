//! From which columns of which tables the columns of a result come: what a RowDescription tells clients.
//!
//! C counterpart: `markTargetListOrigins` of parser/parse_target.c.

use std::collections::HashMap;

use common::Oid;

use crate::expr::{Expr, Node};
use crate::query::{Body, From, Query, Select};
use crate::table::{SYSTEM_COLUMNS, TableInfo};

/// A table and the number of its column; invalid and 0 for what is computed.
type Origin = (Oid, i16);

const COMPUTED: Origin = (Oid::INVALID, 0);

/// One for each column of the query.
pub(crate) fn origins(query: &Query) -> Vec<Origin> {
    let mut slots = HashMap::new();
    let targets = match &query.body {
        Body::Select(select) => {
            of_select(select, &mut slots);
            select.targets.as_slice()
        }
        Body::Modify(modify) => {
            add_table(&modify.table, modify.base, &mut slots);
            modify.returning.as_deref().unwrap_or_default()
        }
        Body::Values(_) | Body::SetOp(_) => &[],
    };
    let mut found: Vec<Origin> = targets.iter().map(|expr| of_expr(expr, query.depth, &slots)).collect();
    found.resize(query.columns.len(), COMPUTED);
    found
}

fn of_expr(expr: &Expr, at: usize, slots: &HashMap<usize, Origin>) -> Origin {
    match expr.node {
        Node::Var { depth, slot } if depth == at => slots.get(&slot).copied().unwrap_or(COMPUTED),
        _ => COMPUTED,
    }
}

fn of_select(select: &Select, slots: &mut HashMap<usize, Origin>) {
    if let Some(from) = &select.from {
        add_from(from, slots);
    }
    for (key, slot) in select.aggregate.iter().flat_map(|aggregate| &aggregate.keys) {
        if let Node::Var { slot: below, .. } = key.node
            && let Some(origin) = slots.get(&below).copied()
        {
            slots.insert(*slot, origin);
        }
    }
}

fn add_table(table: &TableInfo, base: usize, slots: &mut HashMap<usize, Origin>) {
    let natts = table.natts();
    for index in 0..natts {
        slots.insert(base + index, (table.oid, index as i16 + 1));
    }
    for (index, attribute) in SYSTEM_COLUMNS.iter().enumerate() {
        slots.insert(base + natts + index, (table.oid, *attribute as i16));
    }
}

fn add_from(from: &From, slots: &mut HashMap<usize, Origin>) {
    match from {
        From::Join(join) => {
            add_from(&join.left, slots);
            add_from(&join.right, slots);
        }
        From::Filter(filter) => add_from(&filter.0, slots),
        From::Table(scan) => add_table(&scan.table, scan.base, slots),
        From::Subquery { base, query, .. } => {
            for (index, origin) in origins(query).into_iter().enumerate() {
                slots.insert(base + index, origin);
            }
        }
        From::Relation { .. } | From::Cte { .. } | From::Function(_) => {}
    }
}
