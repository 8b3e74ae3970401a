//! The columns that every row has: `ctid`, `xmin`, `cmin`, `xmax`, `cmax`, `tableoid`.
//!
//! C counterpart: access/sysattr.h, `heap_getsysattr`, the table `SysAtt` of catalog/heap.c.

use common::Oid;
use types::{Datum, oid};

use crate::tuple::TupleView;

/// A system column, numbered as in pg_attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum SystemAttribute {
    /// Address of the row.
    Ctid = -1,
    /// Inserting transaction.
    Xmin = -2,
    /// Inserting command.
    Cmin = -3,
    /// Deleting or locking transaction, 0 if none.
    Xmax = -4,
    /// Deleting command.
    Cmax = -5,
    /// The row's table.
    Tableoid = -6,
}

impl SystemAttribute {
    /// All of them, by descending number.
    pub const ALL: [SystemAttribute; 6] = [
        SystemAttribute::Ctid,
        SystemAttribute::Xmin,
        SystemAttribute::Cmin,
        SystemAttribute::Xmax,
        SystemAttribute::Cmax,
        SystemAttribute::Tableoid,
    ];

    /// `attname`.
    pub fn name(self) -> &'static str {
        match self {
            SystemAttribute::Ctid => "ctid",
            SystemAttribute::Xmin => "xmin",
            SystemAttribute::Cmin => "cmin",
            SystemAttribute::Xmax => "xmax",
            SystemAttribute::Cmax => "cmax",
            SystemAttribute::Tableoid => "tableoid",
        }
    }

    /// `atttypid`.
    pub fn type_id(self) -> Oid {
        match self {
            SystemAttribute::Ctid => oid::TID,
            SystemAttribute::Xmin | SystemAttribute::Xmax => oid::XID,
            SystemAttribute::Cmin | SystemAttribute::Cmax => oid::CID,
            SystemAttribute::Tableoid => oid::OID,
        }
    }
}

/// The system column with this name. C: `SystemAttributeByName`.
pub fn system_attribute(name: &str) -> Option<SystemAttribute> {
    SystemAttribute::ALL.into_iter().find(|a| a.name() == name)
}

impl TupleView<'_> {
    /// The value of a system column. As in C, cmin and cmax show the raw command id. C: `heap_getsysattr`.
    pub fn system(self, attr: SystemAttribute) -> Datum {
        let header = self.header();
        match attr {
            SystemAttribute::Ctid => Datum::Tid(self.tid.block, self.tid.offset),
            SystemAttribute::Xmin => Datum::Xid(header.raw_xmin().0),
            SystemAttribute::Xmax => Datum::Xid(header.raw_xmax().0),
            SystemAttribute::Cmin | SystemAttribute::Cmax => Datum::Xid(header.raw_cid()),
            SystemAttribute::Tableoid => Datum::Oid(self.table_oid.0),
        }
    }
}
