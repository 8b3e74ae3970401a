//! What belongs to the cluster, and replication.
//!
//! C counterpart: the structs of catalog/pg_*.h.

use super::{Catalog, catalog, col, opt, shared};
use types::oid::*;

/// `pg_database`.
pub static PG_DATABASE: Catalog = shared(
    1262,
    "pg_database",
    1248,
    10052,
    &[
        col("oid", OID),
        col("datname", NAME),
        col("datdba", OID),
        col("encoding", INT4),
        col("datlocprovider", CHAR),
        col("datistemplate", BOOL),
        col("datallowconn", BOOL),
        col("datconnlimit", INT4),
        col("datfrozenxid", XID),
        col("datminmxid", XID),
        col("dattablespace", OID),
        col("datcollate", TEXT),
        col("datctype", TEXT),
        opt("daticulocale", TEXT),
        opt("datcollversion", TEXT),
        opt("datacl", _ACLITEM),
    ],
);

/// `pg_db_role_setting`.
pub static PG_DB_ROLE_SETTING: Catalog = shared(
    2964,
    "pg_db_role_setting",
    10054,
    10053,
    &[col("setdatabase", OID), col("setrole", OID), opt("setconfig", _TEXT)],
);

/// `pg_tablespace`.
pub static PG_TABLESPACE: Catalog = shared(
    1213,
    "pg_tablespace",
    10056,
    10055,
    &[
        col("oid", OID),
        col("spcname", NAME),
        col("spcowner", OID),
        opt("spcacl", _ACLITEM),
        opt("spcoptions", _TEXT),
    ],
);

/// `pg_authid`.
pub static PG_AUTHID: Catalog = shared(
    1260,
    "pg_authid",
    2842,
    10057,
    &[
        col("oid", OID),
        col("rolname", NAME),
        col("rolsuper", BOOL),
        col("rolinherit", BOOL),
        col("rolcreaterole", BOOL),
        col("rolcreatedb", BOOL),
        col("rolcanlogin", BOOL),
        col("rolreplication", BOOL),
        col("rolbypassrls", BOOL),
        col("rolconnlimit", INT4),
        opt("rolpassword", TEXT),
        opt("rolvaliduntil", TIMESTAMPTZ),
    ],
);

/// `pg_auth_members`.
pub static PG_AUTH_MEMBERS: Catalog = shared(
    1261,
    "pg_auth_members",
    2843,
    10058,
    &[col("roleid", OID), col("member", OID), col("grantor", OID), col("admin_option", BOOL)],
);

/// `pg_shdepend`.
pub static PG_SHDEPEND: Catalog = shared(
    1214,
    "pg_shdepend",
    10060,
    10059,
    &[
        col("dbid", OID),
        col("classid", OID),
        col("objid", OID),
        col("objsubid", INT4),
        col("refclassid", OID),
        col("refobjid", OID),
        col("deptype", CHAR),
    ],
);

/// `pg_shdescription`.
pub static PG_SHDESCRIPTION: Catalog = shared(
    2396,
    "pg_shdescription",
    10062,
    10061,
    &[col("objoid", OID), col("classoid", OID), col("description", TEXT)],
);

/// `pg_replication_origin`.
pub static PG_REPLICATION_ORIGIN: Catalog =
    shared(6000, "pg_replication_origin", 10086, 10085, &[col("roident", OID), col("roname", TEXT)]);

/// `pg_shseclabel`.
pub static PG_SHSECLABEL: Catalog = shared(
    3592,
    "pg_shseclabel",
    4066,
    10093,
    &[col("objoid", OID), col("classoid", OID), col("provider", TEXT), col("label", TEXT)],
);

/// `pg_parameter_acl`.
pub static PG_PARAMETER_ACL: Catalog = shared(
    6243,
    "pg_parameter_acl",
    10097,
    10096,
    &[col("oid", OID), col("parname", TEXT), opt("paracl", _ACLITEM)],
);

/// `pg_subscription`.
pub static PG_SUBSCRIPTION: Catalog = shared(
    6100,
    "pg_subscription",
    6101,
    10112,
    &[
        col("oid", OID),
        col("subdbid", OID),
        col("subskiplsn", PG_LSN),
        col("subname", NAME),
        col("subowner", OID),
        col("subenabled", BOOL),
        col("subbinary", BOOL),
        col("substream", BOOL),
        col("subtwophasestate", CHAR),
        col("subdisableonerr", BOOL),
        col("subconninfo", TEXT),
        opt("subslotname", NAME),
        col("subsynccommit", TEXT),
        col("subpublications", _TEXT),
    ],
);

/// `pg_subscription_rel`.
pub static PG_SUBSCRIPTION_REL: Catalog = catalog(
    6102,
    "pg_subscription_rel",
    10114,
    10113,
    &[col("srsubid", OID), col("srrelid", OID), col("srsubstate", CHAR), opt("srsublsn", PG_LSN)],
);

/// `pg_publication`.
pub static PG_PUBLICATION: Catalog = catalog(
    6104,
    "pg_publication",
    10107,
    10106,
    &[
        col("oid", OID),
        col("pubname", NAME),
        col("pubowner", OID),
        col("puballtables", BOOL),
        col("pubinsert", BOOL),
        col("pubupdate", BOOL),
        col("pubdelete", BOOL),
        col("pubtruncate", BOOL),
        col("pubviaroot", BOOL),
    ],
);

/// `pg_publication_namespace`.
pub static PG_PUBLICATION_NAMESPACE: Catalog = catalog(
    6237,
    "pg_publication_namespace",
    10109,
    10108,
    &[col("oid", OID), col("pnpubid", OID), col("pnnspid", OID)],
);

/// `pg_publication_rel`.
pub static PG_PUBLICATION_REL: Catalog = catalog(
    6106,
    "pg_publication_rel",
    10111,
    10110,
    &[
        col("oid", OID),
        col("prpubid", OID),
        col("prrelid", OID),
        opt("prqual", PG_NODE_TREE),
        opt("prattrs", INT2VECTOR),
    ],
);
