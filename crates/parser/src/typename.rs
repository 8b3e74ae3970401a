//! Type names: SQL's own spellings, everyone else's names, arrays.
//!
//! C counterpart: `Typename`, `SimpleTypename`, `ConstTypename` of gram.y.

use common::SqlState;
use elog::{Result, error};

use crate::ast::{Expr, ExprKind, Loc, TypeName};
use crate::cursor::Parser;
use crate::keywords::Kw;

/// Bits of an interval's range. C: `INTERVAL_MASK` of the field numbers in datetime.h.
mod field {
    pub(super) const MONTH: i32 = 1 << 1;
    pub(super) const YEAR: i32 = 1 << 2;
    pub(super) const DAY: i32 = 1 << 3;
    pub(super) const HOUR: i32 = 1 << 10;
    pub(super) const MINUTE: i32 = 1 << 11;
    pub(super) const SECOND: i32 = 1 << 12;
    pub(super) const FULL: i32 = 0x7FFF;
}

impl TypeName {
    /// A type of pg_catalog. C: `SystemTypeName`.
    pub fn system(loc: Loc, name: &str) -> TypeName {
        let name = vec!["pg_catalog".to_string(), name.to_string()];
        TypeName { loc, name, typmods: Vec::new(), array_dims: 0, setof: false }
    }
}

impl Parser<'_> {
    /// C: `Typename`.
    pub(crate) fn type_name(&mut self) -> Result<TypeName> {
        let setof = self.accept(Kw::Setof);
        let mut type_name = self.simple_type_name()?;
        type_name.setof = setof;
        if self.accept(Kw::Array) {
            type_name.array_dims = 1;
            if self.accept_char(b'[') {
                self.integer()?;
                self.expect_char(b']')?;
            }
            return Ok(type_name);
        }
        while self.accept_char(b'[') {
            if !self.is_char(b']') {
                self.integer()?;
            }
            self.expect_char(b']')?;
            type_name.array_dims += 1;
        }
        Ok(type_name)
    }

    fn simple_type_name(&mut self) -> Result<TypeName> {
        let loc = self.loc();
        if let Some(kw) = self.kw()
            && is_sql_type(kw)
            && (kw != Kw::Double || self.kw_at(1) == Some(Kw::Precision))
        {
            let (mut type_name, is_interval) = self.const_type_name()?;
            if is_interval && type_name.typmods.is_empty() {
                type_name.typmods = self.interval_fields()?;
            }
            return Ok(type_name);
        }
        let mut name = vec![self.type_function_name()?];
        while self.accept_char(b'.') {
            name.push(self.col_label()?);
        }
        if self.is_char(b'%') && self.kw_at(1) == Some(Kw::Type) {
            return Err(self.not_supported(loc, "%TYPE"));
        }
        let mut typmods = Vec::new();
        if self.accept_char(b'(') {
            typmods = self.expr_list()?;
            self.expect_char(b')')?;
        }
        Ok(TypeName { loc, name, typmods, array_dims: 0, setof: false })
    }

    /// Does `type 'constant'` begin here? Otherwise the word is a column's name.
    pub(crate) fn type_constant_begins(&self, kw: Kw) -> bool {
        if !is_sql_type(kw) {
            return false;
        }
        let two_words = match kw {
            Kw::Double => return self.kw_at(1) == Some(Kw::Precision),
            Kw::Char | Kw::Character | Kw::Nchar | Kw::Bit => self.kw_at(1) == Some(Kw::Varying),
            Kw::National => matches!(self.kw_at(1), Some(Kw::Char | Kw::Character)),
            Kw::Time | Kw::Timestamp => {
                matches!(self.kw_at(1), Some(Kw::With | Kw::Without)) && self.kw_at(2) == Some(Kw::Time)
            }
            _ => false,
        };
        two_words || self.is_char_at(1, b'(') || matches!(self.peek_at(1), crate::lexer::Tok::Str(_))
    }

    /// One of SQL's own type names; also whether it is INTERVAL. C: `ConstTypename`, `ConstInterval`.
    pub(crate) fn const_type_name(&mut self) -> Result<(TypeName, bool)> {
        let loc = self.loc();
        let Some(kw) = self.kw() else { return Err(self.syntax_error()) };
        self.advance();
        let simple = |name: &str| Ok((TypeName::system(loc, name), false));
        match kw {
            Kw::Int | Kw::Integer => simple("int4"),
            Kw::Smallint => simple("int2"),
            Kw::Bigint => simple("int8"),
            Kw::Real => simple("float4"),
            Kw::Boolean => simple("bool"),
            Kw::Double => {
                self.expect(Kw::Precision)?;
                Ok((TypeName::system(loc, "float8"), false))
            }
            Kw::Float => self.float_type(loc),
            Kw::Decimal | Kw::Dec | Kw::Numeric => {
                let mut type_name = TypeName::system(loc, "numeric");
                if self.accept_char(b'(') {
                    type_name.typmods = self.expr_list()?;
                    self.expect_char(b')')?;
                }
                Ok((type_name, false))
            }
            Kw::Bit => {
                let varying = self.accept(Kw::Varying);
                self.length_type(loc, if varying { "varbit" } else { "bit" }, !varying)
            }
            Kw::Character | Kw::Char | Kw::Nchar | Kw::National | Kw::Varchar => {
                if kw == Kw::National && !self.accept(Kw::Character) {
                    self.expect(Kw::Char)?;
                }
                let varying = kw == Kw::Varchar || self.accept(Kw::Varying);
                self.length_type(loc, if varying { "varchar" } else { "bpchar" }, !varying)
            }
            Kw::Timestamp | Kw::Time => self.time_type(loc, kw),
            Kw::Interval => {
                let mut type_name = TypeName::system(loc, "interval");
                if self.accept_char(b'(') {
                    let precision = self.integer()?;
                    self.expect_char(b')')?;
                    type_name.typmods = vec![constant(loc, field::FULL), constant(loc, precision)];
                }
                Ok((type_name, true))
            }
            _ => Err(self.syntax_error_at(self.at - 1)),
        }
    }

    fn float_type(&mut self, loc: Loc) -> Result<(TypeName, bool)> {
        let mut name = "float8";
        if self.accept_char(b'(') {
            let at = self.loc();
            let bits = self.integer()?;
            self.expect_char(b')')?;
            name = match bits {
                ..1 => {
                    let e = error!(
                        SqlState::INVALID_PARAMETER_VALUE,
                        "precision for type float must be at least 1 bit"
                    );
                    return Err(self.at(e, at));
                }
                1..=24 => "float4",
                25..=53 => "float8",
                _ => {
                    let e = error!(
                        SqlState::INVALID_PARAMETER_VALUE,
                        "precision for type float must be less than 54 bits"
                    );
                    return Err(self.at(e, at));
                }
            };
        }
        Ok((TypeName::system(loc, name), false))
    }

    /// `char` alone means `char(1)`.
    fn length_type(&mut self, loc: Loc, name: &str, default_one: bool) -> Result<(TypeName, bool)> {
        let mut type_name = TypeName::system(loc, name);
        if self.accept_char(b'(') {
            type_name.typmods = match name.contains("bit") {
                true => self.expr_list()?,
                false => vec![constant(self.loc(), self.integer()?)],
            };
            self.expect_char(b')')?;
        } else if default_one {
            type_name.typmods = vec![constant(loc, 1)];
        }
        Ok((type_name, false))
    }

    fn time_type(&mut self, loc: Loc, kw: Kw) -> Result<(TypeName, bool)> {
        let mut typmods = Vec::new();
        if self.accept_char(b'(') {
            typmods.push(constant(self.loc(), self.integer()?));
            self.expect_char(b')')?;
        }
        let zone = self.accept_all(&[Kw::With, Kw::Time]);
        if zone || self.accept_all(&[Kw::Without, Kw::Time]) {
            self.expect(Kw::Zone)?;
        }
        let name = match (kw, zone) {
            (Kw::Timestamp, true) => "timestamptz",
            (Kw::Timestamp, false) => "timestamp",
            (_, true) => "timetz",
            (_, false) => "time",
        };
        let mut type_name = TypeName::system(loc, name);
        type_name.typmods = typmods;
        Ok((type_name, false))
    }

    /// The fields behind `INTERVAL '...'`. C: `opt_interval`.
    pub(crate) fn interval_constant_rest(&mut self, constant: &mut Expr) -> Result<()> {
        if let ExprKind::Cast { type_name, .. } = &mut constant.kind
            && type_name.typmods.is_empty()
        {
            type_name.typmods = self.interval_fields()?;
        }
        Ok(())
    }

    fn interval_fields(&mut self) -> Result<Vec<Expr>> {
        use field::{DAY, HOUR, MINUTE, MONTH, SECOND, YEAR};
        let loc = self.loc();
        let first = match self.kw() {
            Some(Kw::Year) => YEAR,
            Some(Kw::Month) => MONTH,
            Some(Kw::Day) => DAY,
            Some(Kw::Hour) => HOUR,
            Some(Kw::Minute) => MINUTE,
            Some(Kw::Second) => SECOND,
            _ => return Ok(Vec::new()),
        };
        self.advance();
        let mut mask = first;
        if first != SECOND && first != MONTH && self.accept(Kw::To) {
            mask = match (first, self.kw()) {
                (YEAR, Some(Kw::Month)) => YEAR | MONTH,
                (DAY, Some(Kw::Hour)) => DAY | HOUR,
                (DAY, Some(Kw::Minute)) => DAY | HOUR | MINUTE,
                (DAY, Some(Kw::Second)) => DAY | HOUR | MINUTE | SECOND,
                (HOUR, Some(Kw::Minute)) => HOUR | MINUTE,
                (HOUR, Some(Kw::Second)) => HOUR | MINUTE | SECOND,
                (MINUTE, Some(Kw::Second)) => MINUTE | SECOND,
                _ => return Err(self.syntax_error()),
            };
            self.advance();
        }
        let mut typmods = vec![constant(loc, mask)];
        if mask & SECOND != 0 && self.accept_char(b'(') {
            typmods.push(constant(self.loc(), self.integer()?));
            self.expect_char(b')')?;
        }
        Ok(typmods)
    }
}

fn constant(loc: Loc, value: i32) -> Expr {
    Expr::new(loc, ExprKind::Integer(value))
}

fn is_sql_type(kw: Kw) -> bool {
    matches!(
        kw,
        Kw::Int
            | Kw::Integer
            | Kw::Smallint
            | Kw::Bigint
            | Kw::Real
            | Kw::Boolean
            | Kw::Double
            | Kw::Float
            | Kw::Decimal
            | Kw::Dec
            | Kw::Numeric
            | Kw::Bit
            | Kw::Character
            | Kw::Char
            | Kw::Nchar
            | Kw::National
            | Kw::Varchar
            | Kw::Timestamp
            | Kw::Time
            | Kw::Interval
    )
}
