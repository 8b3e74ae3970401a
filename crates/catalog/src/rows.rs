//! Rows of catalogs as structs, one field a column, in the catalog's order.
//!
//! A struct is made from a row's values and turned back into them; the test below keeps the fields equal to the
//! declarations in [`tables`](crate::tables). A column that may be NULL is an `Option`. Columns of ACLs are kept as the
//! values they are: nothing here looks into them yet.
//!
//! C counterpart: `Form_pg_class` and its like.

use std::rc::Rc;

use common::{Oid, SqlState, Xid};
use elog::{Result, error};
use types::{ArrayValue, Datum, oid};

/// What a column of a catalog can be in a struct.
pub trait Field: Sized {
    /// From the stored value.
    fn from_datum(datum: &Datum) -> Option<Self>;
    /// The value to store.
    fn to_datum(&self) -> Datum;
}

macro_rules! fields {
    ($($ty:ty, $variant:ident($v:ident) => $from:expr, $s:ident => $to:expr;)*) => {$(
        impl Field for $ty {
            fn from_datum(datum: &Datum) -> Option<$ty> {
                match datum {
                    Datum::$variant($v) => Some($from),
                    _ => None,
                }
            }
            fn to_datum(&self) -> Datum {
                let $s = self;
                Datum::$variant($to)
            }
        }
    )*};
}

fields! {
    bool, Bool(v) => *v, s => *s;
    u8, Char(v) => *v, s => *s;
    i16, Int2(v) => *v, s => *s;
    i32, Int4(v) => *v, s => *s;
    i64, Int8(v) => *v, s => *s;
    f32, Float4(v) => *v, s => *s;
    Oid, Oid(v) => Oid(*v), s => s.0;
    Xid, Xid(v) => Xid(*v), s => s.0;
    String, Text(v) => v.to_string(), s => s.as_str().into();
    Rc<str>, Text(v) => v.clone(), s => s.clone();
    Timestamp, TimestampTz(v) => Timestamp(*v), s => s.0;
}

/// A `timestamptz`: microseconds since 2000-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(pub i64);

/// A value that is passed on unread.
impl Field for Datum {
    fn from_datum(datum: &Datum) -> Option<Datum> {
        Some(datum.clone())
    }
    fn to_datum(&self) -> Datum {
        self.clone()
    }
}

impl<T: Field> Field for Option<T> {
    fn from_datum(datum: &Datum) -> Option<Option<T>> {
        if datum.is_null() { Some(None) } else { T::from_datum(datum).map(Some) }
    }
    fn to_datum(&self) -> Datum {
        self.as_ref().map_or(Datum::Null, T::to_datum)
    }
}

macro_rules! array_fields {
    ($($ty:ty, $elem:expr;)*) => {$(
        impl Field for Vec<$ty> {
            fn from_datum(datum: &Datum) -> Option<Vec<$ty>> {
                let Datum::Array(array) = datum else { return None };
                array.values.iter().map(<$ty>::from_datum).collect()
            }
            fn to_datum(&self) -> Datum {
                Datum::Array(Rc::new(ArrayValue::from_values($elem, self.iter().map(Field::to_datum).collect())))
            }
        }
    )*};
}

array_fields! {
    i16, oid::INT2;
    Oid, oid::OID;
    String, oid::TEXT;
    u8, oid::CHAR;
}

macro_rules! rows {
    ($($(#[$meta:meta])* $name:ident of $catalog:ident { $($field:ident: $ty:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug)]
            #[allow(missing_docs, reason = "named as the columns")]
            pub struct $name { $(pub $field: $ty,)* }

            impl $name {
                /// From a row's values.
                pub fn from_datums(row: &[Datum]) -> Result<$name> {
                    let mut column = 0;
                    $(let $field = read(row, &mut column, &crate::tables::$catalog)?;)*
                    Ok($name { $($field,)* })
                }

                /// The values of the row.
                pub fn to_datums(&self) -> Vec<Datum> {
                    vec![$(Field::to_datum(&self.$field),)*]
                }
            }
        )*

        #[cfg(test)]
        const FIELDS: &[(&crate::tables::Catalog, &[&str])] =
            &[$((&crate::tables::$catalog, &[$(stringify!($field),)*]),)*];
    };
}

fn read<T: Field>(row: &[Datum], column: &mut usize, catalog: &crate::tables::Catalog) -> Result<T> {
    let i = *column;
    *column += 1;
    row.get(i).and_then(T::from_datum).ok_or_else(|| {
        let name = catalog.columns.get(i).map_or("?", |column| column.name);
        error!(SqlState::DATA_CORRUPTED, "unexpected value in column {name} of {}", catalog.name)
    })
}

rows! {
    /// A relation.
    PgClassRow of PG_CLASS {
        oid: Oid,
        relname: String,
        relnamespace: Oid,
        reltype: Oid,
        reloftype: Oid,
        relowner: Oid,
        relam: Oid,
        relfilenode: Oid,
        reltablespace: Oid,
        relpages: i32,
        reltuples: f32,
        relallvisible: i32,
        reltoastrelid: Oid,
        relhasindex: bool,
        relisshared: bool,
        relpersistence: u8,
        relkind: u8,
        relnatts: i16,
        relchecks: i16,
        relhasrules: bool,
        relhastriggers: bool,
        relhassubclass: bool,
        relrowsecurity: bool,
        relforcerowsecurity: bool,
        relispopulated: bool,
        relreplident: u8,
        relispartition: bool,
        relrewrite: Oid,
        relfrozenxid: Xid,
        relminmxid: Xid,
        relacl: Datum,
        reloptions: Option<Vec<String>>,
        relpartbound: Option<String>,
    }
    /// A column.
    PgAttributeRow of PG_ATTRIBUTE {
        attrelid: Oid,
        attname: String,
        atttypid: Oid,
        attstattarget: i32,
        attlen: i16,
        attnum: i16,
        attndims: i32,
        attcacheoff: i32,
        atttypmod: i32,
        attbyval: bool,
        attalign: u8,
        attstorage: u8,
        attcompression: u8,
        attnotnull: bool,
        atthasdef: bool,
        atthasmissing: bool,
        attidentity: u8,
        attgenerated: u8,
        attisdropped: bool,
        attislocal: bool,
        attinhcount: i32,
        attcollation: Oid,
        attacl: Datum,
        attoptions: Option<Vec<String>>,
        attfdwoptions: Option<Vec<String>>,
        attmissingval: Datum,
    }
    /// A type.
    PgTypeRow of PG_TYPE {
        oid: Oid,
        typname: String,
        typnamespace: Oid,
        typowner: Oid,
        typlen: i16,
        typbyval: bool,
        typtype: u8,
        typcategory: u8,
        typispreferred: bool,
        typisdefined: bool,
        typdelim: u8,
        typrelid: Oid,
        typsubscript: Oid,
        typelem: Oid,
        typarray: Oid,
        typinput: Oid,
        typoutput: Oid,
        typreceive: Oid,
        typsend: Oid,
        typmodin: Oid,
        typmodout: Oid,
        typanalyze: Oid,
        typalign: u8,
        typstorage: u8,
        typnotnull: bool,
        typbasetype: Oid,
        typtypmod: i32,
        typndims: i32,
        typcollation: Oid,
        typdefaultbin: Option<String>,
        typdefault: Option<String>,
        typacl: Datum,
    }
    /// A schema.
    PgNamespaceRow of PG_NAMESPACE {
        oid: Oid,
        nspname: String,
        nspowner: Oid,
        nspacl: Datum,
    }
    /// A default; `adbin` holds the expression as SQL text.
    PgAttrdefRow of PG_ATTRDEF {
        oid: Oid,
        adrelid: Oid,
        adnum: i16,
        adbin: String,
    }
    /// A constraint; `conbin` holds the expression as SQL text.
    PgConstraintRow of PG_CONSTRAINT {
        oid: Oid,
        conname: String,
        connamespace: Oid,
        contype: u8,
        condeferrable: bool,
        condeferred: bool,
        convalidated: bool,
        conrelid: Oid,
        contypid: Oid,
        conindid: Oid,
        conparentid: Oid,
        confrelid: Oid,
        confupdtype: u8,
        confdeltype: u8,
        confmatchtype: u8,
        conislocal: bool,
        coninhcount: i32,
        connoinherit: bool,
        conkey: Option<Vec<i16>>,
        confkey: Option<Vec<i16>>,
        conpfeqop: Option<Vec<Oid>>,
        conppeqop: Option<Vec<Oid>>,
        conffeqop: Option<Vec<Oid>>,
        confdelsetcols: Option<Vec<i16>>,
        conexclop: Option<Vec<Oid>>,
        conbin: Option<String>,
    }
    /// One object needs another.
    PgDependRow of PG_DEPEND {
        classid: Oid,
        objid: Oid,
        objsubid: i32,
        refclassid: Oid,
        refobjid: Oid,
        refobjsubid: i32,
        deptype: u8,
    }
    /// One object needs a shared one.
    PgShdependRow of PG_SHDEPEND {
        dbid: Oid,
        classid: Oid,
        objid: Oid,
        objsubid: i32,
        refclassid: Oid,
        refobjid: Oid,
        deptype: u8,
    }
    /// A database.
    PgDatabaseRow of PG_DATABASE {
        oid: Oid,
        datname: String,
        datdba: Oid,
        encoding: i32,
        datlocprovider: u8,
        datistemplate: bool,
        datallowconn: bool,
        datconnlimit: i32,
        datfrozenxid: Xid,
        datminmxid: Xid,
        dattablespace: Oid,
        datcollate: String,
        datctype: String,
        daticulocale: Option<String>,
        datcollversion: Option<String>,
        datacl: Datum,
    }
    /// A role.
    PgAuthidRow of PG_AUTHID {
        oid: Oid,
        rolname: String,
        rolsuper: bool,
        rolinherit: bool,
        rolcreaterole: bool,
        rolcreatedb: bool,
        rolcanlogin: bool,
        rolreplication: bool,
        rolbypassrls: bool,
        rolconnlimit: i32,
        rolpassword: Option<String>,
        rolvaliduntil: Option<Timestamp>,
    }
    /// A membership.
    PgAuthMembersRow of PG_AUTH_MEMBERS {
        roleid: Oid,
        member: Oid,
        grantor: Oid,
        admin_option: bool,
    }
    /// A tablespace.
    PgTablespaceRow of PG_TABLESPACE {
        oid: Oid,
        spcname: String,
        spcowner: Oid,
        spcacl: Datum,
        spcoptions: Option<Vec<String>>,
    }
    /// Settings of a role in a database.
    PgDbRoleSettingRow of PG_DB_ROLE_SETTING {
        setdatabase: Oid,
        setrole: Oid,
        setconfig: Option<Vec<String>>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_the_columns() {
        for (catalog, fields) in FIELDS {
            let columns: Vec<&str> = catalog.columns.iter().map(|column| column.name).collect();
            assert_eq!(columns, *fields, "{}", catalog.name);
        }
    }
}
