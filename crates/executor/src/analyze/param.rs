//! Parameters: `$n`.
//!
//! C counterpart: parse_param.c.

use common::{Oid, SqlState};
use elog::{Result, error};
use types::{format_type, oid};

use super::Analyzer;
use crate::expr::{Expr, Node};

/// More parameters than this cannot be sent with one statement.
const MAX_PARAMS: u32 = 65535;

impl Analyzer<'_> {
    pub(super) fn param_ref(&mut self, number: u32, loc: u32) -> Result<Expr> {
        let missing =
            || self.error(SqlState::UNDEFINED_PARAMETER, loc, format!("there is no parameter ${number}"));
        let Some(index) = number.checked_sub(1).filter(|_| number <= MAX_PARAMS) else {
            return Err(missing());
        };
        let index = index as usize;
        if index >= self.params.len() {
            if !self.infer_params {
                return Err(missing());
            }
            self.params.resize(index + 1, oid::UNKNOWN);
        }
        Ok(Expr::new(self.params[index], loc, Node::Param(index)))
    }

    /// Decides the type of a parameter by how it is used. C: `variable_coerce_param_hook`.
    pub(super) fn infer_param(&mut self, index: usize, ty: Oid, loc: u32) -> Result<Expr> {
        let known = self.params[index];
        if known == oid::UNKNOWN {
            self.params[index] = ty;
        } else if known != ty {
            let e = error!(
                SqlState::AMBIGUOUS_PARAMETER,
                "inconsistent types deduced for parameter ${}",
                index + 1
            )
            .detail(format!("{} versus {}", format_type(known, -1), format_type(ty, -1)));
            return Err(self.at(e, loc));
        }
        Ok(Expr::new(ty, loc, Node::Param(index)))
    }
}
