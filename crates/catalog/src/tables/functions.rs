//! Operators, casts, aggregates, access methods, languages, collations, text search.
//!
//! C counterpart: the structs of catalog/pg_*.h.

use super::{Catalog, catalog, col, opt};
use types::oid::*;

/// `pg_operator`.
pub static PG_OPERATOR: Catalog = catalog(
    2617,
    "pg_operator",
    10009,
    10008,
    &[
        col("oid", OID),
        col("oprname", NAME),
        col("oprnamespace", OID),
        col("oprowner", OID),
        col("oprkind", CHAR),
        col("oprcanmerge", BOOL),
        col("oprcanhash", BOOL),
        col("oprleft", OID),
        col("oprright", OID),
        col("oprresult", OID),
        col("oprcom", OID),
        col("oprnegate", OID),
        col("oprcode", REGPROC),
        col("oprrest", REGPROC),
        col("oprjoin", REGPROC),
    ],
);

/// `pg_opfamily`.
pub static PG_OPFAMILY: Catalog = catalog(
    2753,
    "pg_opfamily",
    10011,
    10010,
    &[
        col("oid", OID),
        col("opfmethod", OID),
        col("opfname", NAME),
        col("opfnamespace", OID),
        col("opfowner", OID),
    ],
);

/// `pg_opclass`.
pub static PG_OPCLASS: Catalog = catalog(
    2616,
    "pg_opclass",
    10013,
    10012,
    &[
        col("oid", OID),
        col("opcmethod", OID),
        col("opcname", NAME),
        col("opcnamespace", OID),
        col("opcowner", OID),
        col("opcfamily", OID),
        col("opcintype", OID),
        col("opcdefault", BOOL),
        col("opckeytype", OID),
    ],
);

/// `pg_am`.
pub static PG_AM: Catalog = catalog(
    2601,
    "pg_am",
    10015,
    10014,
    &[col("oid", OID), col("amname", NAME), col("amhandler", REGPROC), col("amtype", CHAR)],
);

/// `pg_amop`.
pub static PG_AMOP: Catalog = catalog(
    2602,
    "pg_amop",
    10017,
    10016,
    &[
        col("oid", OID),
        col("amopfamily", OID),
        col("amoplefttype", OID),
        col("amoprighttype", OID),
        col("amopstrategy", INT2),
        col("amoppurpose", CHAR),
        col("amopopr", OID),
        col("amopmethod", OID),
        col("amopsortfamily", OID),
    ],
);

/// `pg_amproc`.
pub static PG_AMPROC: Catalog = catalog(
    2603,
    "pg_amproc",
    10019,
    10018,
    &[
        col("oid", OID),
        col("amprocfamily", OID),
        col("amproclefttype", OID),
        col("amprocrighttype", OID),
        col("amprocnum", INT2),
        col("amproc", REGPROC),
    ],
);

/// `pg_language`.
pub static PG_LANGUAGE: Catalog = catalog(
    2612,
    "pg_language",
    10021,
    10020,
    &[
        col("oid", OID),
        col("lanname", NAME),
        col("lanowner", OID),
        col("lanispl", BOOL),
        col("lanpltrusted", BOOL),
        col("lanplcallfoid", OID),
        col("laninline", OID),
        col("lanvalidator", OID),
        opt("lanacl", _ACLITEM),
    ],
);

/// `pg_aggregate`.
pub static PG_AGGREGATE: Catalog = catalog(
    2600,
    "pg_aggregate",
    10027,
    10026,
    &[
        col("aggfnoid", REGPROC),
        col("aggkind", CHAR),
        col("aggnumdirectargs", INT2),
        col("aggtransfn", REGPROC),
        col("aggfinalfn", REGPROC),
        col("aggcombinefn", REGPROC),
        col("aggserialfn", REGPROC),
        col("aggdeserialfn", REGPROC),
        col("aggmtransfn", REGPROC),
        col("aggminvtransfn", REGPROC),
        col("aggmfinalfn", REGPROC),
        col("aggfinalextra", BOOL),
        col("aggmfinalextra", BOOL),
        col("aggfinalmodify", CHAR),
        col("aggmfinalmodify", CHAR),
        col("aggsortop", OID),
        col("aggtranstype", OID),
        col("aggtransspace", INT4),
        col("aggmtranstype", OID),
        col("aggmtransspace", INT4),
        opt("agginitval", TEXT),
        opt("aggminitval", TEXT),
    ],
);

/// `pg_cast`.
pub static PG_CAST: Catalog = catalog(
    2605,
    "pg_cast",
    10043,
    10042,
    &[
        col("oid", OID),
        col("castsource", OID),
        col("casttarget", OID),
        col("castfunc", OID),
        col("castcontext", CHAR),
        col("castmethod", CHAR),
    ],
);

/// `pg_conversion`.
pub static PG_CONVERSION: Catalog = catalog(
    2607,
    "pg_conversion",
    10049,
    10048,
    &[
        col("oid", OID),
        col("conname", NAME),
        col("connamespace", OID),
        col("conowner", OID),
        col("conforencoding", INT4),
        col("contoencoding", INT4),
        col("conproc", REGPROC),
        col("condefault", BOOL),
    ],
);

/// `pg_collation`.
pub static PG_COLLATION: Catalog = catalog(
    3456,
    "pg_collation",
    10095,
    10094,
    &[
        col("oid", OID),
        col("collname", NAME),
        col("collnamespace", OID),
        col("collowner", OID),
        col("collprovider", CHAR),
        col("collisdeterministic", BOOL),
        col("collencoding", INT4),
        opt("collcollate", TEXT),
        opt("collctype", TEXT),
        opt("colliculocale", TEXT),
        opt("collversion", TEXT),
    ],
);

/// `pg_transform`.
pub static PG_TRANSFORM: Catalog = catalog(
    3576,
    "pg_transform",
    10103,
    10102,
    &[
        col("oid", OID),
        col("trftype", OID),
        col("trflang", OID),
        col("trffromsql", REGPROC),
        col("trftosql", REGPROC),
    ],
);

/// `pg_ts_config`.
pub static PG_TS_CONFIG: Catalog = catalog(
    3602,
    "pg_ts_config",
    10064,
    10063,
    &[
        col("oid", OID),
        col("cfgname", NAME),
        col("cfgnamespace", OID),
        col("cfgowner", OID),
        col("cfgparser", OID),
    ],
);

/// `pg_ts_config_map`.
pub static PG_TS_CONFIG_MAP: Catalog = catalog(
    3603,
    "pg_ts_config_map",
    10066,
    10065,
    &[col("mapcfg", OID), col("maptokentype", INT4), col("mapseqno", INT4), col("mapdict", OID)],
);

/// `pg_ts_dict`.
pub static PG_TS_DICT: Catalog = catalog(
    3600,
    "pg_ts_dict",
    10068,
    10067,
    &[
        col("oid", OID),
        col("dictname", NAME),
        col("dictnamespace", OID),
        col("dictowner", OID),
        col("dicttemplate", OID),
        opt("dictinitoption", TEXT),
    ],
);

/// `pg_ts_parser`.
pub static PG_TS_PARSER: Catalog = catalog(
    3601,
    "pg_ts_parser",
    10070,
    10069,
    &[
        col("oid", OID),
        col("prsname", NAME),
        col("prsnamespace", OID),
        col("prsstart", REGPROC),
        col("prstoken", REGPROC),
        col("prsend", REGPROC),
        col("prsheadline", REGPROC),
        col("prslextype", REGPROC),
    ],
);

/// `pg_ts_template`.
pub static PG_TS_TEMPLATE: Catalog = catalog(
    3764,
    "pg_ts_template",
    10072,
    10071,
    &[
        col("oid", OID),
        col("tmplname", NAME),
        col("tmplnamespace", OID),
        col("tmplinit", REGPROC),
        col("tmpllexize", REGPROC),
    ],
);

/// `pg_extension`.
pub static PG_EXTENSION: Catalog = catalog(
    3079,
    "pg_extension",
    10074,
    10073,
    &[
        col("oid", OID),
        col("extname", NAME),
        col("extowner", OID),
        col("extnamespace", OID),
        col("extrelocatable", BOOL),
        col("extversion", TEXT),
        opt("extconfig", _OID),
        opt("extcondition", _TEXT),
    ],
);

/// `pg_largeobject`.
pub static PG_LARGEOBJECT: Catalog = catalog(
    2613,
    "pg_largeobject",
    10025,
    10024,
    &[col("loid", OID), col("pageno", INT4), col("data", BYTEA)],
);

/// `pg_largeobject_metadata`.
pub static PG_LARGEOBJECT_METADATA: Catalog = catalog(
    2995,
    "pg_largeobject_metadata",
    10023,
    10022,
    &[col("oid", OID), col("lomowner", OID), opt("lomacl", _ACLITEM)],
);

/// `pg_foreign_data_wrapper`.
pub static PG_FOREIGN_DATA_WRAPPER: Catalog = catalog(
    2328,
    "pg_foreign_data_wrapper",
    10076,
    10075,
    &[
        col("oid", OID),
        col("fdwname", NAME),
        col("fdwowner", OID),
        col("fdwhandler", OID),
        col("fdwvalidator", OID),
        opt("fdwacl", _ACLITEM),
        opt("fdwoptions", _TEXT),
    ],
);

/// `pg_foreign_server`.
pub static PG_FOREIGN_SERVER: Catalog = catalog(
    1417,
    "pg_foreign_server",
    10078,
    10077,
    &[
        col("oid", OID),
        col("srvname", NAME),
        col("srvowner", OID),
        col("srvfdw", OID),
        opt("srvtype", TEXT),
        opt("srvversion", TEXT),
        opt("srvacl", _ACLITEM),
        opt("srvoptions", _TEXT),
    ],
);

/// `pg_user_mapping`.
pub static PG_USER_MAPPING: Catalog = catalog(
    1418,
    "pg_user_mapping",
    10080,
    10079,
    &[col("oid", OID), col("umuser", OID), col("umserver", OID), opt("umoptions", _TEXT)],
);

/// `pg_foreign_table`.
pub static PG_FOREIGN_TABLE: Catalog = catalog(
    3118,
    "pg_foreign_table",
    10082,
    10081,
    &[col("ftrelid", OID), col("ftserver", OID), opt("ftoptions", _TEXT)],
);
