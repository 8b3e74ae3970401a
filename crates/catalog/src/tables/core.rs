//! Relations, columns, types, functions and what hangs on them.
//!
//! C counterpart: the structs of catalog/pg_*.h.

use super::{Catalog, catalog, col, mapped, opt};
use types::oid::*;

/// `pg_type`.
pub static PG_TYPE: Catalog = mapped(
    1247,
    "pg_type",
    71,
    210,
    &[
        col("oid", OID),
        col("typname", NAME),
        col("typnamespace", OID),
        col("typowner", OID),
        col("typlen", INT2),
        col("typbyval", BOOL),
        col("typtype", CHAR),
        col("typcategory", CHAR),
        col("typispreferred", BOOL),
        col("typisdefined", BOOL),
        col("typdelim", CHAR),
        col("typrelid", OID),
        col("typsubscript", REGPROC),
        col("typelem", OID),
        col("typarray", OID),
        col("typinput", REGPROC),
        col("typoutput", REGPROC),
        col("typreceive", REGPROC),
        col("typsend", REGPROC),
        col("typmodin", REGPROC),
        col("typmodout", REGPROC),
        col("typanalyze", REGPROC),
        col("typalign", CHAR),
        col("typstorage", CHAR),
        col("typnotnull", BOOL),
        col("typbasetype", OID),
        col("typtypmod", INT4),
        col("typndims", INT4),
        col("typcollation", OID),
        opt("typdefaultbin", PG_NODE_TREE),
        opt("typdefault", TEXT),
        opt("typacl", _ACLITEM),
    ],
);

/// `pg_attribute`.
pub static PG_ATTRIBUTE: Catalog = mapped(
    1249,
    "pg_attribute",
    75,
    270,
    &[
        col("attrelid", OID),
        col("attname", NAME),
        col("atttypid", OID),
        col("attstattarget", INT4),
        col("attlen", INT2),
        col("attnum", INT2),
        col("attndims", INT4),
        col("attcacheoff", INT4),
        col("atttypmod", INT4),
        col("attbyval", BOOL),
        col("attalign", CHAR),
        col("attstorage", CHAR),
        col("attcompression", CHAR),
        col("attnotnull", BOOL),
        col("atthasdef", BOOL),
        col("atthasmissing", BOOL),
        col("attidentity", CHAR),
        col("attgenerated", CHAR),
        col("attisdropped", BOOL),
        col("attislocal", BOOL),
        col("attinhcount", INT4),
        col("attcollation", OID),
        opt("attacl", _ACLITEM),
        opt("attoptions", _TEXT),
        opt("attfdwoptions", _TEXT),
        opt("attmissingval", ANYARRAY),
    ],
);

/// `pg_proc`.
pub static PG_PROC: Catalog = mapped(
    1255,
    "pg_proc",
    81,
    272,
    &[
        col("oid", OID),
        col("proname", NAME),
        col("pronamespace", OID),
        col("proowner", OID),
        col("prolang", OID),
        col("procost", FLOAT4),
        col("prorows", FLOAT4),
        col("provariadic", OID),
        col("prosupport", REGPROC),
        col("prokind", CHAR),
        col("prosecdef", BOOL),
        col("proleakproof", BOOL),
        col("proisstrict", BOOL),
        col("proretset", BOOL),
        col("provolatile", CHAR),
        col("proparallel", CHAR),
        col("pronargs", INT2),
        col("pronargdefaults", INT2),
        col("prorettype", OID),
        col("proargtypes", OIDVECTOR),
        opt("proallargtypes", _OID),
        opt("proargmodes", _CHAR),
        opt("proargnames", _TEXT),
        opt("proargdefaults", PG_NODE_TREE),
        opt("protrftypes", _OID),
        col("prosrc", TEXT),
        opt("probin", TEXT),
        opt("prosqlbody", PG_NODE_TREE),
        opt("proconfig", _TEXT),
        opt("proacl", _ACLITEM),
    ],
);

/// `pg_class`.
pub static PG_CLASS: Catalog = mapped(
    1259,
    "pg_class",
    83,
    273,
    &[
        col("oid", OID),
        col("relname", NAME),
        col("relnamespace", OID),
        col("reltype", OID),
        col("reloftype", OID),
        col("relowner", OID),
        col("relam", OID),
        col("relfilenode", OID),
        col("reltablespace", OID),
        col("relpages", INT4),
        col("reltuples", FLOAT4),
        col("relallvisible", INT4),
        col("reltoastrelid", OID),
        col("relhasindex", BOOL),
        col("relisshared", BOOL),
        col("relpersistence", CHAR),
        col("relkind", CHAR),
        col("relnatts", INT2),
        col("relchecks", INT2),
        col("relhasrules", BOOL),
        col("relhastriggers", BOOL),
        col("relhassubclass", BOOL),
        col("relrowsecurity", BOOL),
        col("relforcerowsecurity", BOOL),
        col("relispopulated", BOOL),
        col("relreplident", CHAR),
        col("relispartition", BOOL),
        col("relrewrite", OID),
        col("relfrozenxid", XID),
        col("relminmxid", XID),
        opt("relacl", _ACLITEM),
        opt("reloptions", _TEXT),
        opt("relpartbound", PG_NODE_TREE),
    ],
);

/// `pg_attrdef`.
pub static PG_ATTRDEF: Catalog = catalog(
    2604,
    "pg_attrdef",
    10001,
    10000,
    &[col("oid", OID), col("adrelid", OID), col("adnum", INT2), col("adbin", PG_NODE_TREE)],
);

/// `pg_constraint`.
pub static PG_CONSTRAINT: Catalog = catalog(
    2606,
    "pg_constraint",
    10003,
    10002,
    &[
        col("oid", OID),
        col("conname", NAME),
        col("connamespace", OID),
        col("contype", CHAR),
        col("condeferrable", BOOL),
        col("condeferred", BOOL),
        col("convalidated", BOOL),
        col("conrelid", OID),
        col("contypid", OID),
        col("conindid", OID),
        col("conparentid", OID),
        col("confrelid", OID),
        col("confupdtype", CHAR),
        col("confdeltype", CHAR),
        col("confmatchtype", CHAR),
        col("conislocal", BOOL),
        col("coninhcount", INT4),
        col("connoinherit", BOOL),
        opt("conkey", _INT2),
        opt("confkey", _INT2),
        opt("conpfeqop", _OID),
        opt("conppeqop", _OID),
        opt("conffeqop", _OID),
        opt("confdelsetcols", _INT2),
        opt("conexclop", _OID),
        opt("conbin", PG_NODE_TREE),
    ],
);

/// `pg_inherits`.
pub static PG_INHERITS: Catalog = catalog(
    2611,
    "pg_inherits",
    10005,
    10004,
    &[col("inhrelid", OID), col("inhparent", OID), col("inhseqno", INT4), col("inhdetachpending", BOOL)],
);

/// `pg_index`.
pub static PG_INDEX: Catalog = catalog(
    2610,
    "pg_index",
    10007,
    10006,
    &[
        col("indexrelid", OID),
        col("indrelid", OID),
        col("indnatts", INT2),
        col("indnkeyatts", INT2),
        col("indisunique", BOOL),
        col("indnullsnotdistinct", BOOL),
        col("indisprimary", BOOL),
        col("indisexclusion", BOOL),
        col("indimmediate", BOOL),
        col("indisclustered", BOOL),
        col("indisvalid", BOOL),
        col("indcheckxmin", BOOL),
        col("indisready", BOOL),
        col("indislive", BOOL),
        col("indisreplident", BOOL),
        col("indkey", INT2VECTOR),
        col("indcollation", OIDVECTOR),
        col("indclass", OIDVECTOR),
        col("indoption", INT2VECTOR),
        opt("indexprs", PG_NODE_TREE),
        opt("indpred", PG_NODE_TREE),
    ],
);

/// `pg_namespace`.
pub static PG_NAMESPACE: Catalog = catalog(
    2615,
    "pg_namespace",
    10047,
    10046,
    &[col("oid", OID), col("nspname", NAME), col("nspowner", OID), opt("nspacl", _ACLITEM)],
);

/// `pg_depend`.
pub static PG_DEPEND: Catalog = catalog(
    2608,
    "pg_depend",
    10051,
    10050,
    &[
        col("classid", OID),
        col("objid", OID),
        col("objsubid", INT4),
        col("refclassid", OID),
        col("refobjid", OID),
        col("refobjsubid", INT4),
        col("deptype", CHAR),
    ],
);

/// `pg_description`.
pub static PG_DESCRIPTION: Catalog = catalog(
    2609,
    "pg_description",
    10041,
    10040,
    &[col("objoid", OID), col("classoid", OID), col("objsubid", INT4), col("description", TEXT)],
);

/// `pg_rewrite`.
pub static PG_REWRITE: Catalog = catalog(
    2618,
    "pg_rewrite",
    10035,
    10034,
    &[
        col("oid", OID),
        col("rulename", NAME),
        col("ev_class", OID),
        col("ev_type", CHAR),
        col("ev_enabled", CHAR),
        col("is_instead", BOOL),
        col("ev_qual", PG_NODE_TREE),
        col("ev_action", PG_NODE_TREE),
    ],
);

/// `pg_trigger`.
pub static PG_TRIGGER: Catalog = catalog(
    2620,
    "pg_trigger",
    10037,
    10036,
    &[
        col("oid", OID),
        col("tgrelid", OID),
        col("tgparentid", OID),
        col("tgname", NAME),
        col("tgfoid", OID),
        col("tgtype", INT2),
        col("tgenabled", CHAR),
        col("tgisinternal", BOOL),
        col("tgconstrrelid", OID),
        col("tgconstrindid", OID),
        col("tgconstraint", OID),
        col("tgdeferrable", BOOL),
        col("tginitdeferred", BOOL),
        col("tgnargs", INT2),
        col("tgattr", INT2VECTOR),
        col("tgargs", BYTEA),
        opt("tgqual", PG_NODE_TREE),
        opt("tgoldtable", NAME),
        opt("tgnewtable", NAME),
    ],
);

/// `pg_sequence`.
pub static PG_SEQUENCE: Catalog = catalog(
    2224,
    "pg_sequence",
    10105,
    10104,
    &[
        col("seqrelid", OID),
        col("seqtypid", OID),
        col("seqstart", INT8),
        col("seqincrement", INT8),
        col("seqmax", INT8),
        col("seqmin", INT8),
        col("seqcache", INT8),
        col("seqcycle", BOOL),
    ],
);

/// `pg_enum`.
pub static PG_ENUM: Catalog = catalog(
    3501,
    "pg_enum",
    10045,
    10044,
    &[col("oid", OID), col("enumtypid", OID), col("enumsortorder", FLOAT4), col("enumlabel", NAME)],
);

/// `pg_range`.
pub static PG_RANGE: Catalog = catalog(
    3541,
    "pg_range",
    10101,
    10100,
    &[
        col("rngtypid", OID),
        col("rngsubtype", OID),
        col("rngmultitypid", OID),
        col("rngcollation", OID),
        col("rngsubopc", OID),
        col("rngcanonical", REGPROC),
        col("rngsubdiff", REGPROC),
    ],
);

/// `pg_partitioned_table`.
pub static PG_PARTITIONED_TABLE: Catalog = catalog(
    3350,
    "pg_partitioned_table",
    10099,
    10098,
    &[
        col("partrelid", OID),
        col("partstrat", CHAR),
        col("partnatts", INT2),
        col("partdefid", OID),
        col("partattrs", INT2VECTOR),
        col("partclass", OIDVECTOR),
        col("partcollation", OIDVECTOR),
        opt("partexprs", PG_NODE_TREE),
    ],
);

/// `pg_statistic`.
pub static PG_STATISTIC: Catalog = catalog(
    2619,
    "pg_statistic",
    10029,
    10028,
    &[
        col("starelid", OID),
        col("staattnum", INT2),
        col("stainherit", BOOL),
        col("stanullfrac", FLOAT4),
        col("stawidth", INT4),
        col("stadistinct", FLOAT4),
        col("stakind1", INT2),
        col("stakind2", INT2),
        col("stakind3", INT2),
        col("stakind4", INT2),
        col("stakind5", INT2),
        col("staop1", OID),
        col("staop2", OID),
        col("staop3", OID),
        col("staop4", OID),
        col("staop5", OID),
        col("stacoll1", OID),
        col("stacoll2", OID),
        col("stacoll3", OID),
        col("stacoll4", OID),
        col("stacoll5", OID),
        opt("stanumbers1", _FLOAT4),
        opt("stanumbers2", _FLOAT4),
        opt("stanumbers3", _FLOAT4),
        opt("stanumbers4", _FLOAT4),
        opt("stanumbers5", _FLOAT4),
        opt("stavalues1", ANYARRAY),
        opt("stavalues2", ANYARRAY),
        opt("stavalues3", ANYARRAY),
        opt("stavalues4", ANYARRAY),
        opt("stavalues5", ANYARRAY),
    ],
);

/// `pg_statistic_ext`.
pub static PG_STATISTIC_EXT: Catalog = catalog(
    3381,
    "pg_statistic_ext",
    10031,
    10030,
    &[
        col("oid", OID),
        col("stxrelid", OID),
        col("stxname", NAME),
        col("stxnamespace", OID),
        col("stxowner", OID),
        col("stxstattarget", INT4),
        col("stxkeys", INT2VECTOR),
        col("stxkind", _CHAR),
        opt("stxexprs", PG_NODE_TREE),
    ],
);

/// `pg_statistic_ext_data`.
pub static PG_STATISTIC_EXT_DATA: Catalog = catalog(
    3429,
    "pg_statistic_ext_data",
    10033,
    10032,
    &[
        col("stxoid", OID),
        col("stxdinherit", BOOL),
        opt("stxdndistinct", PG_NDISTINCT),
        opt("stxddependencies", PG_DEPENDENCIES),
        opt("stxdmcv", PG_MCV_LIST),
        opt("stxdexpr", common::Oid(10028)),
    ],
);

/// `pg_policy`.
pub static PG_POLICY: Catalog = catalog(
    3256,
    "pg_policy",
    10084,
    10083,
    &[
        col("oid", OID),
        col("polname", NAME),
        col("polrelid", OID),
        col("polcmd", CHAR),
        col("polpermissive", BOOL),
        col("polroles", _OID),
        opt("polqual", PG_NODE_TREE),
        opt("polwithcheck", PG_NODE_TREE),
    ],
);

/// `pg_event_trigger`.
pub static PG_EVENT_TRIGGER: Catalog = catalog(
    3466,
    "pg_event_trigger",
    10039,
    10038,
    &[
        col("oid", OID),
        col("evtname", NAME),
        col("evtevent", NAME),
        col("evtowner", OID),
        col("evtfoid", OID),
        col("evtenabled", CHAR),
        opt("evttags", _TEXT),
    ],
);

/// `pg_default_acl`.
pub static PG_DEFAULT_ACL: Catalog = catalog(
    826,
    "pg_default_acl",
    10088,
    10087,
    &[
        col("oid", OID),
        col("defaclrole", OID),
        col("defaclnamespace", OID),
        col("defaclobjtype", CHAR),
        col("defaclacl", _ACLITEM),
    ],
);

/// `pg_init_privs`.
pub static PG_INIT_PRIVS: Catalog = catalog(
    3394,
    "pg_init_privs",
    10090,
    10089,
    &[
        col("objoid", OID),
        col("classoid", OID),
        col("objsubid", INT4),
        col("privtype", CHAR),
        col("initprivs", _ACLITEM),
    ],
);

/// `pg_seclabel`.
pub static PG_SECLABEL: Catalog = catalog(
    3596,
    "pg_seclabel",
    10092,
    10091,
    &[
        col("objoid", OID),
        col("classoid", OID),
        col("objsubid", INT4),
        col("provider", TEXT),
        col("label", TEXT),
    ],
);
