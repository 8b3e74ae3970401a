//! Which object needs which: pg_depend, pg_shdepend.
//!
//! Objects made by `initdb` are never written down: their OIDs say that they cannot be dropped.
//!
//! C counterpart: catalog/dependency.c, pg_depend.c, pg_shdepend.c.

use common::Oid;
use elog::Result;

use crate::access::{self, is_oid};
use crate::rows::{PgDependRow, PgShdependRow};
use crate::tables::{self, PG_AUTHID, PG_DEPEND, PG_SHDEPEND};

/// Below it are the objects of every cluster. C: `FirstUnpinnedObjectId`.
pub const FIRST_UNPINNED_OID: Oid = Oid(12_000);

/// C: `deptype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DependencyType {
    /// Dropping what is needed takes CASCADE.
    Normal = b'n',
    /// Goes away with what it needs.
    Auto = b'a',
    /// Is a part of it.
    Internal = b'i',
}

/// An object: catalog, OID, column (0 for the whole). C: `ObjectAddress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// OID of the catalog.
    pub class: Oid,
    /// OID of the object.
    pub id: Oid,
    /// Column, or 0.
    pub sub: i32,
}

impl Object {
    /// A relation.
    pub const fn relation(id: Oid) -> Object {
        Object { class: Oid(1259), id, sub: 0 }
    }

    /// A column of a relation.
    pub const fn column(id: Oid, column: i16) -> Object {
        Object { class: Oid(1259), id, sub: column as i32 }
    }

    /// A type.
    pub const fn type_of(id: Oid) -> Object {
        Object { class: Oid(1247), id, sub: 0 }
    }

    /// A schema.
    pub const fn schema(id: Oid) -> Object {
        Object { class: Oid(2615), id, sub: 0 }
    }
}

/// Is it part of every cluster? Schema `public` is not. C: `IsPinnedObject`.
pub fn is_pinned(object: Object) -> bool {
    let is_public = object.class == tables::PG_NAMESPACE.oid && object.id == crate::namespace::PUBLIC;
    let is_database = object.class == tables::PG_DATABASE.oid;
    object.id < FIRST_UNPINNED_OID && !is_public && !is_database
}

/// The row that says so; `None` if it goes without saying.
pub(crate) fn row(needs: Object, needed: Object, kind: DependencyType) -> Option<Vec<types::Datum>> {
    if is_pinned(needed) {
        return None;
    }
    let row = PgDependRow {
        classid: needs.class,
        objid: needs.id,
        objsubid: needs.sub,
        refclassid: needed.class,
        refobjid: needed.id,
        refobjsubid: needed.sub,
        deptype: kind as u8,
    };
    Some(row.to_datums())
}

/// Writes down who needs what. C: `recordMultipleDependencies`.
///
/// # Errors
/// Here and below: what the catalog says.
pub fn record(dependencies: &[(Object, Object, DependencyType)]) -> Result<()> {
    let rows: Vec<_> =
        dependencies.iter().filter_map(|(needs, needed, kind)| row(*needs, *needed, *kind)).collect();
    access::insert(&PG_DEPEND, &rows)
}

/// Writes down an object's owner. C: `recordDependencyOnOwner`.
pub fn record_owner(object: Object, owner: Oid) -> Result<()> {
    if is_pinned(Object { class: PG_AUTHID.oid, id: owner, sub: 0 }) {
        return Ok(());
    }
    let row = PgShdependRow {
        dbid: if tables::is_shared(object.class) { Oid::INVALID } else { crate::my_database() },
        classid: object.class,
        objid: object.id,
        objsubid: object.sub,
        refclassid: PG_AUTHID.oid,
        refobjid: owner,
        deptype: b'o',
    };
    access::insert(&PG_SHDEPEND, &[row.to_datums()])
}

/// Everything that needs the object or a column of it, with how. C: the first scan of `findDependentObjects`.
pub fn dependents(object: Object) -> Result<Vec<(Object, DependencyType)>> {
    let mut found = Vec::new();
    access::scan_column(&PG_DEPEND, 4, is_oid(object.id), |_, row| {
        let row = PgDependRow::from_datums(row)?;
        if row.refclassid == object.class && (object.sub == 0 || row.refobjsubid == object.sub) {
            let kind = match row.deptype {
                b'a' => DependencyType::Auto,
                b'i' => DependencyType::Internal,
                _ => DependencyType::Normal,
            };
            found.push((Object { class: row.classid, id: row.objid, sub: row.objsubid }, kind));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Number of objects in all databases that a role owns or that mention it. C: `checkSharedDependencies`.
pub fn shared_dependents(class: Oid, object: Oid) -> Result<Vec<PgShdependRow>> {
    let mut found = Vec::new();
    access::scan_column(&PG_SHDEPEND, 5, is_oid(object), |_, row| {
        let row = PgShdependRow::from_datums(row)?;
        if row.refclassid == class {
            found.push(row);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Forgets what an object needs. C: `deleteDependencyRecordsFor`, `deleteSharedDependencyRecordsFor`.
pub fn forget(object: Object) -> Result<()> {
    let mut ids = Vec::new();
    access::scan_column(&PG_DEPEND, 1, is_oid(object.id), |id, row| {
        if PgDependRow::from_datums(row)?.classid == object.class {
            ids.push(id);
        }
        Ok(())
    })?;
    for id in ids {
        access::delete(&PG_DEPEND, id)?;
    }
    let mut ids = Vec::new();
    access::scan_column(&PG_SHDEPEND, 2, is_oid(object.id), |id, row| {
        if PgShdependRow::from_datums(row)?.classid == object.class {
            ids.push(id);
        }
        Ok(())
    })?;
    for id in ids {
        access::delete(&PG_SHDEPEND, id)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_without_saying() {
        assert!(is_pinned(Object::type_of(Oid(23))));
        assert!(!is_pinned(Object::schema(crate::namespace::PUBLIC)));
        assert!(!is_pinned(Object::relation(Oid(16_384))));
        assert!(
            row(Object::relation(Oid(16_384)), Object::type_of(Oid(23)), DependencyType::Normal).is_none()
        );
    }
}
