//! SET, RESET, SHOW, ALTER SYSTEM.
//!
//! C counterpart: `VariableSetStmt`, `VariableResetStmt`, `VariableShowStmt`, `AlterSystemStmt` of gram.y.

use common::SqlState;
use elog::{Result, error};

use crate::ast::{ExprKind, SetAction, SetStmt, SetValue, Statement};
use crate::cursor::Parser;
use crate::keywords::Kw;
use crate::lexer::Tok;

impl Parser<'_> {
    pub(super) fn set_statement(&mut self) -> Result<Statement> {
        self.expect(Kw::Set)?;
        let local = self.is_kw(Kw::Local) && self.scope_word_follows();
        let session = self.is_kw(Kw::Session) && self.scope_word_follows();
        if local || session {
            self.advance();
        }
        Ok(Statement::Set(SetStmt { local, action: self.set_rest()? }))
    }

    /// LOCAL and SESSION may also be settings' names: then TO or `=` comes next.
    fn scope_word_follows(&self) -> bool {
        let next_is_name = self.is_col_id_at(1) || matches!(self.peek_at(1), Tok::Keyword(_));
        next_is_name && !matches!(self.kw_at(1), Some(Kw::To | Kw::Authorization | Kw::Characteristics))
            || (self.is_kw(Kw::Local) && matches!(self.kw_at(1), Some(Kw::Authorization)))
    }

    /// Behind SET [LOCAL|SESSION]. C: `set_rest`.
    pub(super) fn set_rest(&mut self) -> Result<SetAction> {
        let value = |name: &str, value: String| {
            Ok(SetAction::Value { name: name.to_string(), values: vec![SetValue::String(value)] })
        };
        let next_assigns = matches!(self.peek_at(1), Tok::Char(b'=' | b'.')) || self.kw_at(1) == Some(Kw::To);
        match self.kw() {
            _ if next_assigns => {}
            Some(Kw::Transaction) => {
                self.advance();
                if self.accept(Kw::Snapshot) {
                    return Ok(SetAction::TransactionSnapshot(self.string()?));
                }
                return Ok(SetAction::Transaction(self.transaction_modes(true)?));
            }
            Some(Kw::Session) if self.kw_at(1) == Some(Kw::Characteristics) => {
                self.at += 2;
                self.expect_all(&[Kw::As, Kw::Transaction])?;
                return Ok(SetAction::SessionCharacteristics(self.transaction_modes(true)?));
            }
            Some(Kw::Session) if self.kw_at(1) == Some(Kw::Authorization) => {
                self.at += 2;
                if self.accept(Kw::Default) {
                    return Ok(SetAction::Default { name: "session_authorization".into() });
                }
                return value("session_authorization", self.word_or_string()?);
            }
            Some(Kw::Time) if self.kw_at(1) == Some(Kw::Zone) => {
                self.at += 2;
                return self.zone_value();
            }
            Some(Kw::Role) => {
                self.advance();
                return value("role", self.word_or_string()?);
            }
            Some(Kw::Names) => {
                self.advance();
                if self.is_string() {
                    return value("client_encoding", self.string()?);
                }
                self.accept(Kw::Default);
                return Ok(SetAction::Default { name: "client_encoding".into() });
            }
            Some(Kw::Schema) => {
                self.advance();
                return value("search_path", self.string()?);
            }
            Some(Kw::Catalog) => {
                let loc = self.advance().start;
                let _ = self.string()?;
                let e = error!(SqlState::FEATURE_NOT_SUPPORTED, "current database cannot be changed");
                return Err(self.at(e, loc + 8));
            }
            Some(Kw::Xml) if self.kw_at(1) == Some(Kw::Option) => {
                self.at += 2;
                let word = if self.accept(Kw::Document) { "DOCUMENT" } else { "CONTENT" };
                if word == "CONTENT" {
                    self.expect(Kw::Content)?;
                }
                return value("xmloption", word.to_string());
            }
            _ => {}
        }
        let name = self.setting_name()?;
        if self.accept_all(&[Kw::From, Kw::Current]) {
            return Ok(SetAction::FromCurrent { name });
        }
        self.assigned_values(name)
    }

    /// TO or `=`, then the values. C: `generic_set`.
    fn assigned_values(&mut self, name: String) -> Result<SetAction> {
        if !self.accept(Kw::To) {
            self.expect_char(b'=')?;
        }
        if self.accept(Kw::Default) {
            return Ok(SetAction::Default { name });
        }
        let values = self.comma_list(Parser::set_value)?;
        Ok(SetAction::Value { name, values })
    }

    fn set_value(&mut self) -> Result<SetValue> {
        if let Some(kw @ (Kw::True | Kw::False | Kw::On)) = self.kw() {
            self.advance();
            return Ok(SetValue::String(kw.word().to_string()));
        }
        match self.signed_number_if()? {
            Some(number) => Ok(SetValue::Number(number)),
            None => Ok(SetValue::String(self.word_or_string()?)),
        }
    }

    fn zone_value(&mut self) -> Result<SetAction> {
        let name = "timezone".to_string();
        if self.accept(Kw::Default) || self.accept(Kw::Local) {
            return Ok(SetAction::Default { name });
        }
        let value = if let Some(number) = self.signed_number_if()? {
            SetValue::Number(number)
        } else if self.is_kw(Kw::Interval) {
            let loc = self.loc();
            let (type_name, _) = self.const_type_name()?;
            let mut constant = self.typed_constant(type_name, loc)?;
            self.interval_constant_rest(&mut constant)?;
            let text = match &constant.kind {
                ExprKind::Cast { arg, .. } => match &arg.kind {
                    ExprKind::String(text) => text.clone(),
                    _ => String::new(),
                },
                _ => String::new(),
            };
            SetValue::String(format!("INTERVAL '{text}'"))
        } else if matches!(self.peek(), Tok::Keyword(_)) {
            return Err(self.syntax_error());
        } else {
            SetValue::String(self.word_or_string()?)
        };
        Ok(SetAction::Value { name, values: vec![value] })
    }

    /// C: `var_name`.
    fn setting_name(&mut self) -> Result<String> {
        let mut name = self.col_id()?;
        while self.accept_char(b'.') {
            name.push('.');
            name.push_str(&self.col_id()?);
        }
        Ok(name)
    }

    pub(super) fn reset_statement(&mut self) -> Result<Statement> {
        self.expect(Kw::Reset)?;
        Ok(Statement::Set(SetStmt { local: false, action: self.reset_rest()? }))
    }

    /// Behind RESET. C: `reset_rest`.
    pub(super) fn reset_rest(&mut self) -> Result<SetAction> {
        Ok(match self.special_setting()? {
            Some(name) => SetAction::Reset { name: name.to_string() },
            None if self.accept(Kw::All) => SetAction::ResetAll,
            None => SetAction::Reset { name: self.setting_name()? },
        })
    }

    /// The settings that SQL spells in several words.
    fn special_setting(&mut self) -> Result<Option<&'static str>> {
        if self.is_kw(Kw::Time) && self.kw_at(1) == Some(Kw::Zone) {
            self.at += 2;
            return Ok(Some("timezone"));
        }
        if self.is_kw(Kw::Transaction) && self.kw_at(1) == Some(Kw::Isolation) {
            self.at += 2;
            self.expect(Kw::Level)?;
            return Ok(Some("transaction_isolation"));
        }
        if self.is_kw(Kw::Session) && self.kw_at(1) == Some(Kw::Authorization) {
            self.at += 2;
            return Ok(Some("session_authorization"));
        }
        Ok(None)
    }

    pub(super) fn show_statement(&mut self) -> Result<Statement> {
        self.expect(Kw::Show)?;
        Ok(Statement::Show(match self.special_setting()? {
            Some(name) => name.to_string(),
            None if self.accept(Kw::All) => "all".to_string(),
            None => self.setting_name()?,
        }))
    }

    pub(super) fn alter_system(&mut self) -> Result<Statement> {
        self.at += 2;
        let action = if self.accept(Kw::Set) {
            let name = self.setting_name()?;
            self.assigned_values(name)?
        } else {
            self.expect(Kw::Reset)?;
            match self.accept(Kw::All) {
                true => SetAction::ResetAll,
                false => SetAction::Reset { name: self.setting_name()? },
            }
        };
        Ok(Statement::AlterSystem(SetStmt { local: false, action }))
    }
}
