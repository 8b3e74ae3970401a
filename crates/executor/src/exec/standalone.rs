//! An expression that runs without a query: defaults and conditions for commands that read rows themselves.
//!
//! C counterpart: `ExecPrepareExpr`, `CreateStandaloneExprContext`.

use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use elog::Result;
use types::Datum;
use types::fmgr::Session;

use super::{Cx, PlanData, Shared};
use crate::expr::Expr;
use crate::query::{Body, Query};

/// An expression with a frame of its own.
pub(crate) struct Standalone {
    expr: Expr,
    shared: Shared,
}

impl fmt::Debug for Standalone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standalone").field("expr", &self.expr).finish_non_exhaustive()
    }
}

impl Standalone {
    /// Whether it is nothing but NULL.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.expr.node, crate::expr::Node::Const(Datum::Null))
    }

    /// An expression over a frame of this many slots, the row's columns first.
    pub(crate) fn new(expr: Expr, width: usize) -> Standalone {
        let query = Query {
            depth: 0,
            width,
            ctes: Range::default(),
            body: Body::Values(Rc::new(Vec::new())),
            distinct: None,
            order: Vec::new(),
            offset: None,
            limit: None,
            with_ties: false,
            row_locks: Vec::new(),
            lock_width: 0,
            recheck: None,
            columns: Vec::new(),
        };
        let plan = Rc::new(PlanData {
            query: Rc::new(query),
            ctes: Vec::new(),
            subplans: Vec::new(),
            param_types: Vec::new(),
            tables: Vec::new(),
            command: "SELECT",
            modifies: false,
        });
        let mut shared = Shared::new(&plan, Vec::new());
        shared.frames.push(vec![Datum::Null; width]);
        Standalone { expr, shared }
    }

    /// Its value over a row.
    pub(crate) fn eval(&mut self, row: &[Datum], session: &Session<'_>) -> Result<Datum> {
        let mut cx = Cx { session, shared: &mut self.shared };
        cx.set_row(0, 0, row.iter().cloned());
        cx.eval(&self.expr)
    }
}
