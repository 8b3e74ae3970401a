//! Function calls, and the calls that SQL gives a syntax of their own.
//!
//! C counterpart: `func_expr`, `func_application`, `func_expr_common_subexpr` of gram.y.

use elog::Result;

use crate::ast::{Expr, ExprKind, FunctionCall, Loc, Name, SortBy, TypeName};
use crate::cursor::Parser;
use crate::keywords::Kw;
use crate::lexer::Tok;
use crate::primary::tallest;

impl Parser<'_> {
    /// A call of one of pg_catalog's own functions. C: `SystemFuncName`.
    pub(crate) fn system_call(&self, loc: Loc, function: &str, args: Vec<Expr>) -> Result<Expr> {
        let height = tallest(&args);
        let mut call = FunctionCall::simple(vec!["pg_catalog".into(), function.into()], args);
        call.sql_syntax = true;
        self.node(loc, height, ExprKind::Function(Box::new(call)))
    }

    /// At the opening parenthesis.
    pub(crate) fn function_call(&mut self, name: Name, loc: Loc) -> Result<Expr> {
        self.expect_char(b'(')?;
        let mut call = FunctionCall::simple(name, Vec::new());
        if self.accept_char(b'*') {
            call.star = true;
        } else if !self.is_char(b')') {
            self.call_arguments(&mut call)?;
        }
        self.expect_char(b')')?;
        let plain = !call.star && !call.distinct && !call.variadic && call.order_by.is_empty();
        if plain && self.is_string() {
            // `type(modifiers) 'constant'`
            let type_name =
                TypeName { loc, name: call.name, typmods: call.args, array_dims: 0, setof: false };
            return self.typed_constant(type_name, loc);
        }
        self.call_clauses(&mut call)?;
        let sort_height = call.order_by.iter().map(|s| s.expr.height).max().unwrap_or(0);
        let filter_height = call.filter.as_ref().map_or(0, |f| f.height);
        let height = tallest(&call.args).max(sort_height).max(filter_height);
        self.node(loc, height, ExprKind::Function(Box::new(call)))
    }

    fn call_arguments(&mut self, call: &mut FunctionCall) -> Result<()> {
        if !self.accept(Kw::All) {
            call.distinct = self.accept(Kw::Distinct);
        }
        loop {
            if self.accept(Kw::Variadic) {
                call.variadic = true;
            }
            let (name, arg) = self.call_argument()?;
            if name.is_some() && call.arg_names.is_empty() {
                call.arg_names = vec![None; call.args.len()];
            }
            if name.is_some() || !call.arg_names.is_empty() {
                call.arg_names.push(name);
            }
            call.args.push(arg);
            if call.variadic || !self.accept_char(b',') {
                break;
            }
        }
        call.order_by = self.sort_clause()?;
        Ok(())
    }

    /// C: `func_arg_expr`.
    fn call_argument(&mut self) -> Result<(Option<String>, Expr)> {
        let named = self.is_type_function_name_at(0)
            && matches!(self.peek_at(1), Tok::ColonEquals | Tok::EqualsGreater);
        let name = match named {
            true => {
                let name = self.type_function_name()?;
                self.advance();
                Some(name)
            }
            false => None,
        };
        Ok((name, self.expr()?))
    }

    /// WITHIN GROUP, FILTER and OVER.
    fn call_clauses(&mut self, call: &mut FunctionCall) -> Result<()> {
        if self.accept(Kw::Within) {
            self.expect(Kw::Group)?;
            self.expect_char(b'(')?;
            call.within_group = true;
            call.order_by = self.sort_clause()?;
            self.expect_char(b')')?;
        }
        if self.accept(Kw::Filter) {
            self.expect_char(b'(')?;
            self.expect(Kw::Where)?;
            call.filter = Some(Box::new(self.expr()?));
            self.expect_char(b')')?;
        }
        if self.accept(Kw::Over) {
            call.over = true;
            if self.is_char(b'(') {
                self.window_specification()?;
            } else {
                self.col_id()?;
            }
        }
        Ok(())
    }

    /// `([name] [PARTITION BY ...] [ORDER BY ...] [frame])`: checked, not kept, as nothing can run it yet.
    pub(crate) fn window_specification(&mut self) -> Result<()> {
        self.expect_char(b'(')?;
        if !matches!(self.kw(), Some(Kw::Partition | Kw::Range | Kw::Rows | Kw::Groups)) {
            self.col_id_if()?;
        }
        if self.accept(Kw::Partition) {
            self.expect(Kw::By)?;
            self.expr_list()?;
        }
        self.sort_clause()?;
        if matches!(self.kw(), Some(Kw::Range | Kw::Rows | Kw::Groups)) {
            self.advance();
            if self.accept(Kw::Between) {
                self.frame_bound()?;
                self.expect(Kw::And)?;
            }
            self.frame_bound()?;
            if self.accept(Kw::Exclude) {
                let known = self.accept_all(&[Kw::Current, Kw::Row])
                    || self.accept(Kw::Group)
                    || self.accept(Kw::Ties)
                    || self.accept_all(&[Kw::No, Kw::Others]);
                if !known {
                    return Err(self.syntax_error());
                }
            }
        }
        self.expect_char(b')')
    }

    fn frame_bound(&mut self) -> Result<()> {
        if self.accept_all(&[Kw::Current, Kw::Row]) {
            return Ok(());
        }
        if !self.accept(Kw::Unbounded) {
            self.expr()?;
        }
        if self.accept(Kw::Preceding) || self.accept(Kw::Following) {
            Ok(())
        } else {
            Err(self.syntax_error())
        }
    }

    /// ORDER BY, if it is there. C: `opt_sort_clause`.
    pub(crate) fn sort_clause(&mut self) -> Result<Vec<SortBy>> {
        if !self.is_kw(Kw::Order) {
            return Ok(Vec::new());
        }
        self.advance();
        self.expect(Kw::By)?;
        self.comma_list(Parser::sort_by)
    }

    // --- special syntax ---

    /// A call of a function whose name is a key word; at the name, which a parenthesis follows.
    pub(crate) fn special_call(&mut self, kw: Kw, loc: Loc) -> Result<Expr> {
        self.at += 2;
        let expr = match kw {
            Kw::Coalesce => {
                let args = self.expr_list()?;
                self.node(loc, tallest(&args), ExprKind::Coalesce(args))?
            }
            Kw::Greatest | Kw::Least => {
                let args = self.expr_list()?;
                let greatest = kw == Kw::Greatest;
                self.node(loc, tallest(&args), ExprKind::MinMax { greatest, args })?
            }
            Kw::Nullif => {
                let left = Box::new(self.expr()?);
                self.expect_char(b',')?;
                let right = Box::new(self.expr()?);
                let height = left.height.max(right.height);
                self.node(loc, height, ExprKind::NullIf(left, right))?
            }
            Kw::Extract => self.extract(loc)?,
            Kw::Position => self.position_call(loc)?,
            Kw::Substring => return self.substring(loc),
            Kw::Overlay => return self.overlay(loc),
            Kw::Trim => self.trim(loc)?,
            Kw::Normalize => self.normalize(loc)?,
            Kw::Treat | Kw::Grouping | Kw::Exists => {
                return Err(self.not_supported(loc, &kw.word().to_uppercase()));
            }
            _ if kw.word().starts_with("xml") => return Err(self.not_supported(loc, "XML")),
            // The other words of this kind name types; none of them is a function.
            _ => return Err(self.syntax_error_at(self.at - 1)),
        };
        self.expect_char(b')')?;
        Ok(expr)
    }

    fn extract(&mut self, loc: Loc) -> Result<Expr> {
        let at = self.loc();
        let unit =
            matches!(self.kw(), Some(Kw::Year | Kw::Month | Kw::Day | Kw::Hour | Kw::Minute | Kw::Second));
        let field = match self.string_if()? {
            Some(field) => field,
            None if unit || !matches!(self.peek(), Tok::Keyword(_)) => self.col_id()?,
            None => return Err(self.syntax_error()),
        };
        self.expect(Kw::From)?;
        let source = self.expr()?;
        self.system_call(loc, "extract", vec![Expr::new(at, ExprKind::String(field)), source])
    }

    fn position_call(&mut self, loc: Loc) -> Result<Expr> {
        let needle = self.b_expr()?;
        self.expect(Kw::In)?;
        let hay = self.b_expr()?;
        self.system_call(loc, "position", vec![hay, needle])
    }

    /// Behind the opening parenthesis.
    fn substring(&mut self, loc: Loc) -> Result<Expr> {
        if let Some(call) = self.plain_call("substring", loc)? {
            return Ok(call);
        }
        let text = self.expr()?;
        let args = match self.kw() {
            Some(Kw::From) => {
                self.advance();
                let from = self.expr()?;
                match self.accept(Kw::For) {
                    true => vec![text, from, self.expr()?],
                    false => vec![text, from],
                }
            }
            Some(Kw::For) => {
                self.advance();
                let count = self.expr()?;
                match self.accept(Kw::From) {
                    true => vec![text, self.expr()?, count],
                    false => {
                        // A lone FOR counts from the start; the cast keeps it off the regular expressions.
                        let at = count.loc;
                        let height = count.height;
                        let type_name = Box::new(TypeName::system(at, "int4"));
                        let cast = ExprKind::Cast { arg: Box::new(count), type_name };
                        vec![text, Expr::new(at, ExprKind::Integer(1)), self.node(at, height, cast)?]
                    }
                }
            }
            Some(Kw::Similar) => {
                self.advance();
                let pattern = self.expr()?;
                self.expect(Kw::Escape)?;
                vec![text, pattern, self.expr()?]
            }
            _ => return Err(self.syntax_error()),
        };
        self.expect_char(b')')?;
        self.system_call(loc, "substring", args)
    }

    fn overlay(&mut self, loc: Loc) -> Result<Expr> {
        if let Some(call) = self.plain_call("overlay", loc)? {
            return Ok(call);
        }
        let mut args = vec![self.expr()?];
        self.expect(Kw::Placing)?;
        args.push(self.expr()?);
        self.expect(Kw::From)?;
        args.push(self.expr()?);
        if self.accept(Kw::For) {
            args.push(self.expr()?);
        }
        self.expect_char(b')')?;
        self.system_call(loc, "overlay", args)
    }

    /// The call with plain arguments, if it is one; otherwise the parser is back where it was.
    fn plain_call(&mut self, name: &str, loc: Loc) -> Result<Option<Expr>> {
        let start = self.at;
        if self.is_char(b')') || {
            self.call_argument()?;
            self.is_char(b',') || self.is_char(b')')
        } {
            self.at = start;
            let mut call = FunctionCall::simple(vec![name.into()], Vec::new());
            if !self.is_char(b')') {
                self.call_arguments(&mut call)?;
            }
            self.expect_char(b')')?;
            let height = tallest(&call.args);
            return self.node(loc, height, ExprKind::Function(Box::new(call))).map(Some);
        }
        self.at = start;
        Ok(None)
    }

    fn trim(&mut self, loc: Loc) -> Result<Expr> {
        let function = match self.kw() {
            Some(Kw::Leading) => "ltrim",
            Some(Kw::Trailing) => "rtrim",
            _ => "btrim",
        };
        if matches!(self.kw(), Some(Kw::Both | Kw::Leading | Kw::Trailing)) {
            self.advance();
        }
        let args = if self.accept(Kw::From) {
            self.expr_list()?
        } else {
            let first = self.expr()?;
            if self.accept(Kw::From) {
                let mut args = self.expr_list()?;
                args.push(first);
                args
            } else {
                let mut args = vec![first];
                while self.accept_char(b',') {
                    args.push(self.expr()?);
                }
                args
            }
        };
        self.system_call(loc, function, args)
    }

    fn normalize(&mut self, loc: Loc) -> Result<Expr> {
        let mut args = vec![self.expr()?];
        if self.accept_char(b',') {
            let at = self.loc();
            let form = self.col_id()?;
            args.push(Expr::new(at, ExprKind::String(form.to_uppercase())));
        }
        self.system_call(loc, "normalize", args)
    }
}
