//! What pg_type says about a type beyond what `types` needs: how its values are stored in a column, and the OIDs of its
//! input and output functions.
//!
//! C counterpart: pg_type.dat; `get_typlenbyvalalign`, `get_typstorage`, `get_typcollation` of lsyscache.c.

use common::Oid;
use types::{oid, type_info};

use crate::tables::{self, DEFAULT_COLLATION};

/// How a column of a type is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeFacts {
    /// `typlen`.
    pub len: i16,
    /// `typbyval`.
    pub by_val: bool,
    /// `typalign`.
    pub align: u8,
    /// `typstorage`.
    pub storage: u8,
    /// `typcollation`.
    pub collation: Oid,
}

impl TypeFacts {
    /// Of a built-in type. Anything else is a row type or an array of one, which are stored alike.
    pub fn of(ty: Oid) -> TypeFacts {
        let Some(info) = type_info(ty) else {
            return TypeFacts { len: -1, by_val: false, align: b'd', storage: b'x', collation: Oid::INVALID };
        };
        let storage = match ty {
            oid::INT2VECTOR | oid::OIDVECTOR | oid::TSQUERY | oid::GTSVECTOR => b'p',
            oid::NUMERIC | oid::INET | oid::CIDR => b'm',
            oid::RECORD | oid::_RECORD => b'x',
            _ if info.typlen == -1 && !is_plain_pseudo(ty) => b'x',
            _ => b'p',
        };
        let (len, by_val, align) = (info.typlen, info.typbyval, info.align as u8);
        TypeFacts { len, by_val, align, storage, collation: collation(ty, info) }
    }
}

fn is_plain_pseudo(_: Oid) -> bool {
    false
}

fn collation(ty: Oid, info: &types::TypeInfo) -> Oid {
    match ty {
        oid::NAME => tables::C_COLLATION,
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::PG_NODE_TREE => DEFAULT_COLLATION,
        oid::PG_NDISTINCT | oid::PG_DEPENDENCIES | oid::PG_MCV_LIST => DEFAULT_COLLATION,
        oid::PG_BRIN_BLOOM_SUMMARY | oid::PG_BRIN_MINMAX_MULTI_SUMMARY => DEFAULT_COLLATION,
        _ if info.is_array() && info.category == 'A' => {
            type_info(info.elem).map_or(Oid::INVALID, |elem| collation(info.elem, elem))
        }
        _ => Oid::INVALID,
    }
}

/// The functions of a type, by OID; 0 where it has none.
#[derive(Clone, Copy, Debug)]
pub struct TypeFunctions {
    /// `typsubscript`.
    pub subscript: Oid,
    /// `typinput`.
    pub input: Oid,
    /// `typoutput`.
    pub output: Oid,
    /// `typreceive`.
    pub receive: Oid,
    /// `typsend`.
    pub send: Oid,
    /// `typmodin`.
    pub modin: Oid,
    /// `typmodout`.
    pub modout: Oid,
    /// `typanalyze`.
    pub analyze: Oid,
}

impl TypeFunctions {
    /// Of a built-in type; of an array over anything; `None` for unknown types.
    pub fn of(ty: Oid) -> Option<TypeFunctions> {
        if let Ok(i) = FUNCTIONS.binary_search_by_key(&ty.0, |row| row.0) {
            let (_, subscript, input, output, receive, send, modin, modout, analyze) = FUNCTIONS[i];
            let [subscript, input, output, receive] = [subscript, input, output, receive].map(Oid);
            let [send, modin, modout, analyze] = [send, modin, modout, analyze].map(Oid);
            return Some(TypeFunctions { subscript, input, output, receive, send, modin, modout, analyze });
        }
        let info = type_info(ty).filter(|info| info.is_array())?;
        Some(TypeFunctions::array_of(info.elem))
    }

    /// Of an array over this type.
    pub fn array_of(elem: Oid) -> TypeFunctions {
        let (modin, modout) =
            TypeFunctions::of(elem).map_or((Oid::INVALID, Oid::INVALID), |of| (of.modin, of.modout));
        TypeFunctions {
            subscript: Oid(6179),
            input: Oid(750),
            output: Oid(751),
            receive: Oid(2400),
            send: Oid(2401),
            modin,
            modout,
            analyze: Oid(3816),
        }
    }

    /// Of a row type.
    pub fn of_row_type() -> TypeFunctions {
        TypeFunctions {
            subscript: Oid::INVALID,
            input: Oid(2290),
            output: Oid(2291),
            receive: Oid(2402),
            send: Oid(2403),
            modin: Oid::INVALID,
            modout: Oid::INVALID,
            analyze: Oid::INVALID,
        }
    }
}

type FunctionsRow = (u32, u32, u32, u32, u32, u32, u32, u32, u32);

/// Type, then typsubscript, typinput, typoutput, typreceive, typsend, typmodin, typmodout, typanalyze. Sorted.
#[rustfmt::skip]
static FUNCTIONS: &[FunctionsRow] = &[
    (16, 0, 1242, 1243, 2436, 2437, 0, 0, 0), // bool
    (17, 0, 1244, 31, 2412, 2413, 0, 0, 0), // bytea
    (18, 0, 1245, 33, 2434, 2435, 0, 0, 0), // char
    (19, 6180, 34, 35, 2422, 2423, 0, 0, 0), // name
    (20, 0, 460, 461, 2408, 2409, 0, 0, 0), // int8
    (21, 0, 38, 39, 2404, 2405, 0, 0, 0), // int2
    (22, 6179, 40, 41, 2410, 2411, 0, 0, 0), // int2vector
    (23, 0, 42, 43, 2406, 2407, 0, 0, 0), // int4
    (24, 0, 44, 45, 2444, 2445, 0, 0, 0), // regproc
    (25, 0, 46, 47, 2414, 2415, 0, 0, 0), // text
    (26, 0, 1798, 1799, 2418, 2419, 0, 0, 0), // oid
    (27, 0, 48, 49, 2438, 2439, 0, 0, 0), // tid
    (28, 0, 50, 51, 2440, 2441, 0, 0, 0), // xid
    (29, 0, 52, 53, 2442, 2443, 0, 0, 0), // cid
    (30, 6179, 54, 55, 2420, 2421, 0, 0, 0), // oidvector
    (32, 0, 86, 87, 88, 90, 0, 0, 0), // pg_ddl_command
    (114, 0, 321, 322, 323, 324, 0, 0, 0), // json
    (142, 0, 2893, 2894, 2898, 2899, 0, 0, 0), // xml
    (194, 0, 195, 196, 197, 198, 0, 0, 0), // pg_node_tree
    (269, 0, 267, 268, 0, 0, 0, 0, 0), // table_am_handler
    (325, 0, 326, 327, 0, 0, 0, 0, 0), // index_am_handler
    (600, 6180, 117, 118, 2428, 2429, 0, 0, 0), // point
    (601, 6180, 119, 120, 2480, 2481, 0, 0, 0), // lseg
    (602, 0, 121, 122, 2482, 2483, 0, 0, 0), // path
    (603, 6180, 123, 124, 2484, 2485, 0, 0, 0), // box
    (604, 0, 347, 348, 2486, 2487, 0, 0, 0), // polygon
    (628, 6180, 1490, 1491, 2488, 2489, 0, 0, 0), // line
    (650, 0, 1267, 1427, 2498, 2499, 0, 0, 0), // cidr
    (700, 0, 200, 201, 2424, 2425, 0, 0, 0), // float4
    (701, 0, 214, 215, 2426, 2427, 0, 0, 0), // float8
    (705, 0, 109, 110, 2416, 2417, 0, 0, 0), // unknown
    (718, 0, 1450, 1451, 2490, 2491, 0, 0, 0), // circle
    (774, 0, 4110, 4111, 3446, 3447, 0, 0, 0), // macaddr8
    (790, 0, 886, 887, 2492, 2493, 0, 0, 0), // money
    (829, 0, 436, 437, 2494, 2495, 0, 0, 0), // macaddr
    (869, 0, 910, 911, 2496, 2497, 0, 0, 0), // inet
    (1033, 0, 1031, 1032, 0, 0, 0, 0, 0), // aclitem
    (1042, 0, 1044, 1045, 2430, 2431, 2913, 2914, 0), // bpchar
    (1043, 0, 1046, 1047, 2432, 2433, 2915, 2916, 0), // varchar
    (1082, 0, 1084, 1085, 2468, 2469, 0, 0, 0), // date
    (1083, 0, 1143, 1144, 2470, 2471, 2909, 2910, 0), // time
    (1114, 0, 1312, 1313, 2474, 2475, 2905, 2906, 0), // timestamp
    (1184, 0, 1150, 1151, 2476, 2477, 2907, 2908, 0), // timestamptz
    (1186, 0, 1160, 1161, 2478, 2479, 2903, 2904, 0), // interval
    (1266, 0, 1350, 1351, 2472, 2473, 2911, 2912, 0), // timetz
    (1560, 0, 1564, 1565, 2456, 2457, 2919, 2920, 0), // bit
    (1562, 0, 1579, 1580, 2458, 2459, 2902, 2921, 0), // varbit
    (1700, 0, 1701, 1702, 2460, 2461, 2917, 2918, 0), // numeric
    (1790, 0, 46, 47, 2414, 2415, 0, 0, 0), // refcursor
    (2202, 0, 2212, 2213, 2446, 2447, 0, 0, 0), // regprocedure
    (2203, 0, 2214, 2215, 2448, 2449, 0, 0, 0), // regoper
    (2204, 0, 2216, 2217, 2450, 2451, 0, 0, 0), // regoperator
    (2205, 0, 2218, 2219, 2452, 2453, 0, 0, 0), // regclass
    (2206, 0, 2220, 2221, 2454, 2455, 0, 0, 0), // regtype
    (2249, 0, 2290, 2291, 2402, 2403, 0, 0, 0), // record
    (2275, 0, 2292, 2293, 2500, 2501, 0, 0, 0), // cstring
    (2276, 0, 2294, 2295, 0, 0, 0, 0, 0), // any
    (2277, 0, 2296, 2297, 2502, 2503, 0, 0, 0), // anyarray
    (2278, 0, 2298, 2299, 3120, 3121, 0, 0, 0), // void
    (2279, 0, 2300, 2301, 0, 0, 0, 0, 0), // trigger
    (2280, 0, 2302, 2303, 0, 0, 0, 0, 0), // language_handler
    (2281, 0, 2304, 2305, 0, 0, 0, 0, 0), // internal
    (2283, 0, 2312, 2313, 0, 0, 0, 0, 0), // anyelement
    (2776, 0, 2777, 2778, 0, 0, 0, 0, 0), // anynonarray
    (2950, 0, 2952, 2953, 2961, 2962, 0, 0, 0), // uuid
    (2970, 0, 2939, 2940, 2941, 2942, 0, 0, 0), // txid_snapshot
    (3115, 0, 3116, 3117, 0, 0, 0, 0, 0), // fdw_handler
    (3220, 0, 3229, 3230, 3238, 3239, 0, 0, 0), // pg_lsn
    (3310, 0, 3311, 3312, 0, 0, 0, 0, 0), // tsm_handler
    (3361, 0, 3355, 3356, 3357, 3358, 0, 0, 0), // pg_ndistinct
    (3402, 0, 3404, 3405, 3406, 3407, 0, 0, 0), // pg_dependencies
    (3500, 0, 3504, 3505, 0, 0, 0, 0, 0), // anyenum
    (3614, 0, 3610, 3611, 3639, 3638, 0, 0, 3688), // tsvector
    (3615, 0, 3612, 3613, 3641, 3640, 0, 0, 0), // tsquery
    (3642, 0, 3646, 3647, 0, 0, 0, 0, 0), // gtsvector
    (3734, 0, 3736, 3737, 3738, 3739, 0, 0, 0), // regconfig
    (3769, 0, 3771, 3772, 3773, 3774, 0, 0, 0), // regdictionary
    (3802, 6098, 3806, 3804, 3805, 3803, 0, 0, 0), // jsonb
    (3831, 0, 3832, 3833, 0, 0, 0, 0, 0), // anyrange
    (3838, 0, 3594, 3595, 0, 0, 0, 0, 0), // event_trigger
    (3904, 0, 3834, 3835, 3836, 3837, 0, 0, 3916), // int4range
    (3906, 0, 3834, 3835, 3836, 3837, 0, 0, 3916), // numrange
    (3908, 0, 3834, 3835, 3836, 3837, 0, 0, 3916), // tsrange
    (3910, 0, 3834, 3835, 3836, 3837, 0, 0, 3916), // tstzrange
    (3912, 0, 3834, 3835, 3836, 3837, 0, 0, 3916), // daterange
    (3926, 0, 3834, 3835, 3836, 3837, 0, 0, 3916), // int8range
    (4072, 0, 4001, 4003, 4002, 4004, 0, 0, 0), // jsonpath
    (4089, 0, 4084, 4085, 4087, 4088, 0, 0, 0), // regnamespace
    (4096, 0, 4098, 4092, 4094, 4095, 0, 0, 0), // regrole
    (4191, 0, 4193, 4194, 4196, 4197, 0, 0, 0), // regcollation
    (4451, 0, 4231, 4232, 4233, 4234, 0, 0, 4242), // int4multirange
    (4532, 0, 4231, 4232, 4233, 4234, 0, 0, 4242), // nummultirange
    (4533, 0, 4231, 4232, 4233, 4234, 0, 0, 4242), // tsmultirange
    (4534, 0, 4231, 4232, 4233, 4234, 0, 0, 4242), // tstzmultirange
    (4535, 0, 4231, 4232, 4233, 4234, 0, 0, 4242), // datemultirange
    (4536, 0, 4231, 4232, 4233, 4234, 0, 0, 4242), // int8multirange
    (4537, 0, 4229, 4230, 0, 0, 0, 0, 0), // anymultirange
    (4538, 0, 4226, 4227, 0, 0, 0, 0, 0), // anycompatiblemultirange
    (4600, 0, 4596, 4597, 4598, 4599, 0, 0, 0), // pg_brin_bloom_summary
    (4601, 0, 4638, 4639, 4640, 4641, 0, 0, 0), // pg_brin_minmax_multi_summary
    (5017, 0, 5018, 5019, 5020, 5021, 0, 0, 0), // pg_mcv_list
    (5038, 0, 5055, 5056, 5057, 5058, 0, 0, 0), // pg_snapshot
    (5069, 0, 5070, 5081, 5082, 5083, 0, 0, 0), // xid8
    (5077, 0, 5086, 5087, 0, 0, 0, 0, 0), // anycompatible
    (5078, 0, 5088, 5089, 5090, 5091, 0, 0, 0), // anycompatiblearray
    (5079, 0, 5092, 5093, 0, 0, 0, 0, 0), // anycompatiblenonarray
    (5080, 0, 5094, 5095, 0, 0, 0, 0, 0), // anycompatiblerange
];
