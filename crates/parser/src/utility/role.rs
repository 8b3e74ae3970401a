//! Roles, databases, tablespaces.
//!
//! C counterpart: `CreateRoleStmt`, `AlterRoleStmt`, `AlterRoleSetStmt`, `DropRoleStmt`, `CreatedbStmt`,
//! `DropdbStmt`, `AlterDatabaseSetStmt` of gram.y.

use common::SqlState;
use elog::{Result, error};

use crate::ast::{CreateTablespaceStmt, DefElem, OptionValue, RoleKind, RoleSpec, SetStmt, Statement};
use crate::cursor::Parser;
use crate::keywords::Kw;
use crate::lexer::Tok;

impl Parser<'_> {
    fn role_kind(&mut self) -> Result<RoleKind> {
        let kind = match self.kw() {
            Some(Kw::Role) => RoleKind::Role,
            Some(Kw::User) => RoleKind::User,
            Some(Kw::Group) => RoleKind::Group,
            _ => return Err(self.syntax_error()),
        };
        self.advance();
        Ok(kind)
    }

    pub(super) fn create_role(&mut self) -> Result<Statement> {
        self.advance();
        let kind = self.role_kind()?;
        let name = self.role_id()?;
        self.accept(Kw::With);
        let options = self.role_options(true)?;
        Ok(Statement::CreateRole { kind, name, options })
    }

    pub(super) fn alter_role(&mut self) -> Result<Statement> {
        self.advance();
        self.role_kind()?;
        let role = match self.accept(Kw::All) {
            true => None,
            false => Some(self.role_spec()?),
        };
        if self.is_kw(Kw::Rename) {
            return self.rest_unsupported("ALTER ROLE");
        }
        let database = match self.accept_all(&[Kw::In, Kw::Database]) {
            true => Some(self.col_id()?),
            false => None,
        };
        if self.is_kw(Kw::Set) || self.is_kw(Kw::Reset) || database.is_some() {
            let set = self.set_or_reset()?;
            return Ok(Statement::AlterRoleSet { role, database, set });
        }
        let Some(role) = role else { return Err(self.syntax_error()) };
        self.accept(Kw::With);
        Ok(Statement::AlterRole { role, options: self.role_options(false)? })
    }

    /// C: `SetResetClause`.
    fn set_or_reset(&mut self) -> Result<SetStmt> {
        let action = if self.accept(Kw::Set) {
            self.set_rest()?
        } else {
            self.expect(Kw::Reset)?;
            self.reset_rest()?
        };
        Ok(SetStmt { local: false, action })
    }

    pub(super) fn drop_role(&mut self) -> Result<Statement> {
        self.at += 2;
        let missing_ok = self.accept_all(&[Kw::If, Kw::Exists]);
        let roles = self.comma_list(Parser::role_spec)?;
        Ok(Statement::DropRole { roles, missing_ok })
    }

    /// The name of a new role. C: `RoleId`.
    fn role_id(&mut self) -> Result<String> {
        let loc = self.loc();
        let quoted = matches!(self.peek(), Tok::QuotedIdent | Tok::UnicodeIdent);
        match self.role_spec()? {
            RoleSpec::Name(name) => Ok(name),
            RoleSpec::Public => {
                let e = error!(SqlState::RESERVED_NAME, "role name \"{}\" is reserved", "public");
                Err(self.at(e, loc))
            }
            other if !quoted => {
                let word = match other {
                    RoleSpec::CurrentRole => "CURRENT_ROLE",
                    RoleSpec::CurrentUser => "CURRENT_USER",
                    _ => "SESSION_USER",
                };
                let e = error!(SqlState::RESERVED_NAME, "{word} cannot be used as a role name here");
                Err(self.at(e, loc))
            }
            _ => Err(self.syntax_error()),
        }
    }

    /// C: `RoleSpec`.
    pub(super) fn role_spec(&mut self) -> Result<RoleSpec> {
        let loc = self.loc();
        let special = match self.kw() {
            Some(Kw::CurrentRole) => Some(RoleSpec::CurrentRole),
            Some(Kw::CurrentUser) => Some(RoleSpec::CurrentUser),
            Some(Kw::SessionUser) => Some(RoleSpec::SessionUser),
            _ => None,
        };
        if let Some(special) = special {
            self.advance();
            return Ok(special);
        }
        let name = self.non_reserved_word()?;
        match name.as_str() {
            "public" => Ok(RoleSpec::Public),
            "none" => {
                let e = error!(SqlState::RESERVED_NAME, "role name \"none\" is reserved");
                Err(self.at(e, loc))
            }
            _ => Ok(RoleSpec::Name(name)),
        }
    }

    fn role_options(&mut self, creating: bool) -> Result<Vec<DefElem>> {
        let mut options = Vec::new();
        while !matches!(self.peek(), Tok::Eof | Tok::Bad | Tok::Char(b';')) {
            let loc = self.loc();
            let (name, value) = self.role_option(creating)?;
            options.push(DefElem { name: name.to_string(), value: Some(value), loc });
        }
        if self.peek() == Tok::Bad {
            return Err(self.syntax_error());
        }
        Ok(options)
    }

    fn role_option(&mut self, creating: bool) -> Result<(&'static str, OptionValue)> {
        let Some(kw) = self.kw() else { return self.role_flag() };
        let start = self.at;
        self.advance();
        Ok(match kw {
            Kw::Password if self.accept(Kw::Null) => ("password", OptionValue::Null),
            Kw::Password => ("password", OptionValue::String(self.string()?)),
            Kw::Encrypted => {
                self.expect(Kw::Password)?;
                ("password", OptionValue::String(self.string()?))
            }
            Kw::Unencrypted => {
                self.expect(Kw::Password)?;
                self.string()?;
                let e =
                    error!(SqlState::FEATURE_NOT_SUPPORTED, "UNENCRYPTED PASSWORD is no longer supported")
                        .hint("Remove UNENCRYPTED to store the password in encrypted form instead.");
                self.at = start;
                return Err(self.at(e, self.loc()));
            }
            Kw::Inherit => ("inherit", OptionValue::Boolean(true)),
            Kw::Connection => {
                self.expect(Kw::Limit)?;
                ("connectionlimit", OptionValue::Integer(self.signed_integer()?))
            }
            Kw::Valid => {
                self.expect(Kw::Until)?;
                ("validUntil", OptionValue::String(self.string()?))
            }
            Kw::User => ("rolemembers", self.role_list()?),
            Kw::Sysid if creating => ("sysid", OptionValue::Integer(self.integer()?)),
            Kw::Admin if creating => ("adminmembers", self.role_list()?),
            Kw::Role if creating => ("rolemembers", self.role_list()?),
            Kw::In if creating => {
                if !self.accept(Kw::Role) {
                    self.expect(Kw::Group)?;
                }
                ("addroleto", self.role_list()?)
            }
            _ => {
                self.at = start;
                return Err(self.syntax_error());
            }
        })
    }

    fn role_list(&mut self) -> Result<OptionValue> {
        Ok(OptionValue::Roles(self.comma_list(Parser::role_spec)?))
    }

    /// The options that are no key words.
    fn role_flag(&mut self) -> Result<(&'static str, OptionValue)> {
        let loc = self.loc();
        let word = self.col_id()?;
        let (positive, enabled) = match word.strip_prefix("no") {
            Some(rest) => (rest, false),
            None => (word.as_str(), true),
        };
        let name = match positive {
            "superuser" => "superuser",
            "createrole" => "createrole",
            "replication" => "isreplication",
            "createdb" => "createdb",
            "login" => "canlogin",
            "bypassrls" => "bypassrls",
            "inherit" if !enabled => "inherit",
            _ => return Err(self.complain(loc, &format!("unrecognized role option \"{word}\""))),
        };
        Ok((name, OptionValue::Boolean(enabled)))
    }

    // --- databases ---

    pub(super) fn create_database(&mut self) -> Result<Statement> {
        self.at += 2;
        let name = self.col_id()?;
        self.accept(Kw::With);
        let mut options = Vec::new();
        while !matches!(self.peek(), Tok::Eof | Tok::Bad | Tok::Char(b';')) {
            options.push(self.database_option()?);
        }
        if self.peek() == Tok::Bad {
            return Err(self.syntax_error());
        }
        Ok(Statement::CreateDatabase { name, options })
    }

    fn database_option(&mut self) -> Result<DefElem> {
        let loc = self.loc();
        let name = match self.kw() {
            Some(Kw::Connection) => {
                self.advance();
                self.expect(Kw::Limit)?;
                "connection_limit".to_string()
            }
            Some(kw @ (Kw::Encoding | Kw::Location | Kw::Owner | Kw::Tablespace | Kw::Template)) => {
                self.advance();
                kw.word().to_string()
            }
            Some(_) => return Err(self.syntax_error()),
            None => self.col_id()?,
        };
        self.accept_char(b'=');
        let value = if self.accept(Kw::Default) { None } else { Some(self.option_value()?) };
        Ok(DefElem { name, value, loc })
    }

    pub(super) fn alter_database(&mut self) -> Result<Statement> {
        self.at += 2;
        let name = self.col_id()?;
        if self.is_kw(Kw::Reset) || (self.is_kw(Kw::Set) && self.kw_at(1) != Some(Kw::Tablespace)) {
            let set = self.set_or_reset()?;
            return Ok(Statement::AlterDatabaseSet { name, set });
        }
        self.rest_unsupported("ALTER DATABASE")
    }

    // --- tablespaces ---

    /// C: `CreateTableSpaceStmt`.
    pub(super) fn create_tablespace(&mut self) -> Result<Statement> {
        self.at += 2;
        let name = self.col_id()?;
        let owner = if self.accept(Kw::Owner) { Some(self.role_spec()?) } else { None };
        self.expect(Kw::Location)?;
        let location = self.string()?;
        let options = if self.accept(Kw::With) { self.storage_parameters()? } else { Vec::new() };
        Ok(Statement::CreateTablespace(CreateTablespaceStmt { name, owner, location, options }))
    }

    /// C: `DropTableSpaceStmt`.
    pub(super) fn drop_tablespace(&mut self) -> Result<Statement> {
        self.at += 2;
        let missing_ok = self.accept_all(&[Kw::If, Kw::Exists]);
        Ok(Statement::DropTablespace { name: self.col_id()?, missing_ok })
    }

    pub(super) fn drop_database(&mut self) -> Result<Statement> {
        self.at += 2;
        let missing_ok = self.accept_all(&[Kw::If, Kw::Exists]);
        let name = self.col_id()?;
        let mut force = false;
        if self.accept(Kw::With) || self.is_char(b'(') {
            self.expect_char(b'(')?;
            self.comma_list(|p| p.expect(Kw::Force))?;
            self.expect_char(b')')?;
            force = true;
        }
        Ok(Statement::DropDatabase { name, missing_ok, force })
    }
}
