//! Functions about relations: names, sizes, files, definitions, rights.
//!
//! C counterpart: utils/adt/dbsize.c, regproc.c, ruleutils.c, acl.c, and `obj_description` and its like.

use catalog::{namespace, syscache};
use common::{ForkNumber, Oid, RelFileNode, SqlState};
use elog::{Result, error};
use types::fmgr::{Builtin, CallContext};
use types::{Datum, oid};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Builtin] = &[
    Builtin::scalar(2079, "pg_table_is_visible", &[oid::OID], oid::BOOL, pg_table_is_visible).stable(),
    Builtin::scalar(2080, "pg_type_is_visible", &[oid::OID], oid::BOOL, pg_type_is_visible).stable(),
    Builtin::scalar(2081, "pg_function_is_visible", &[oid::OID], oid::BOOL, always).stable(),
    Builtin::scalar(2165, "pg_get_function_result", &[oid::OID], oid::TEXT, pg_get_function_result).stable(),
    Builtin::scalar(2162, "pg_get_function_arguments", &[oid::OID], oid::TEXT, pg_get_function_arguments).stable(),
    Builtin::scalar(2232, "pg_get_function_identity_arguments", &[oid::OID], oid::TEXT, pg_get_function_identity_arguments).stable(),
    Builtin::scalar(2082, "pg_operator_is_visible", &[oid::OID], oid::BOOL, always).stable(),
    Builtin::scalar(2083, "pg_opclass_is_visible", &[oid::OID], oid::BOOL, always).stable(),
    Builtin::scalar(3829, "pg_opfamily_is_visible", &[oid::OID], oid::BOOL, always).stable(),
    Builtin::scalar(2093, "pg_conversion_is_visible", &[oid::OID], oid::BOOL, always).stable(),
    Builtin::scalar(3403, "pg_statistics_obj_is_visible", &[oid::OID], oid::BOOL, always).stable(),
    Builtin::scalar(1922, "has_table_privilege", &[oid::NAME, oid::TEXT, oid::TEXT], oid::BOOL, has_table_privilege).stable(),
    Builtin::scalar(1923, "has_table_privilege", &[oid::NAME, oid::OID, oid::TEXT], oid::BOOL, has_table_privilege).stable(),
    Builtin::scalar(1924, "has_table_privilege", &[oid::OID, oid::TEXT, oid::TEXT], oid::BOOL, has_table_privilege).stable(),
    Builtin::scalar(1925, "has_table_privilege", &[oid::OID, oid::OID, oid::TEXT], oid::BOOL, has_table_privilege).stable(),
    Builtin::scalar(1926, "has_table_privilege", &[oid::TEXT, oid::TEXT], oid::BOOL, has_table_privilege).stable(),
    Builtin::scalar(1927, "has_table_privilege", &[oid::OID, oid::TEXT], oid::BOOL, has_table_privilege).stable(),
    Builtin::scalar(3815, "pg_collation_is_visible", &[oid::OID], oid::BOOL, always).stable(),
    Builtin::scalar(2325, "pg_relation_size", &[oid::REGCLASS], oid::INT8, pg_relation_size).volatile(),
    Builtin::scalar(2332, "pg_relation_size", &[oid::REGCLASS, oid::TEXT], oid::INT8, pg_relation_size).volatile(),
    Builtin::scalar(2997, "pg_table_size", &[oid::REGCLASS], oid::INT8, pg_table_size).volatile(),
    Builtin::scalar(2286, "pg_total_relation_size", &[oid::REGCLASS], oid::INT8, pg_table_size).volatile(),
    Builtin::scalar(2998, "pg_indexes_size", &[oid::REGCLASS], oid::INT8, |_, _| Ok(Datum::Int8(0))).volatile(),
    Builtin::scalar(2324, "pg_database_size", &[oid::OID], oid::INT8, pg_database_size).volatile(),
    Builtin::scalar(2168, "pg_database_size", &[oid::NAME], oid::INT8, pg_database_size).volatile(),
    Builtin::scalar(2999, "pg_relation_filenode", &[oid::REGCLASS], oid::OID, pg_relation_filenode).stable(),
    Builtin::scalar(3034, "pg_relation_filepath", &[oid::REGCLASS], oid::TEXT, pg_relation_filepath).stable(),
    Builtin::scalar(1716, "pg_get_expr", &[oid::PG_NODE_TREE, oid::OID], oid::TEXT, pg_get_expr).stable(),
    Builtin::scalar(2509, "pg_get_expr", &[oid::PG_NODE_TREE, oid::OID, oid::BOOL], oid::TEXT, pg_get_expr).stable(),
    Builtin::scalar(1387, "pg_get_constraintdef", &[oid::OID], oid::TEXT, pg_get_constraintdef).stable(),
    Builtin::scalar(2508, "pg_get_constraintdef", &[oid::OID, oid::BOOL], oid::TEXT, pg_get_constraintdef).stable(),
    Builtin::scalar(6174, "pg_get_statisticsobjdef_columns", &[oid::OID], oid::TEXT, nothing).stable(),
    Builtin::scalar(3415, "pg_get_statisticsobjdef", &[oid::OID], oid::TEXT, nothing).stable(),
    Builtin::scalar(3352, "pg_get_partkeydef", &[oid::OID], oid::TEXT, nothing).stable(),
    Builtin::scalar(1643, "pg_get_indexdef", &[oid::OID], oid::TEXT, nothing).stable(),
    Builtin::scalar(2507, "pg_get_indexdef", &[oid::OID, oid::INT4, oid::BOOL], oid::TEXT, nothing).stable(),
    Builtin::scalar(1573, "pg_get_ruledef", &[oid::OID], oid::TEXT, nothing).stable(),
    Builtin::scalar(2504, "pg_get_ruledef", &[oid::OID, oid::BOOL], oid::TEXT, nothing).stable(),
    Builtin::scalar(1662, "pg_get_triggerdef", &[oid::OID], oid::TEXT, nothing).stable(),
    Builtin::scalar(2730, "pg_get_triggerdef", &[oid::OID, oid::BOOL], oid::TEXT, nothing).stable(),
    Builtin::scalar(1641, "pg_get_viewdef", &[oid::OID], oid::TEXT, nothing).stable(),
    Builtin::scalar(2506, "pg_get_viewdef", &[oid::OID, oid::BOOL], oid::TEXT, nothing).stable(),
    Builtin::scalar(1215, "obj_description", &[oid::OID, oid::NAME], oid::TEXT, nothing).stable(),
    Builtin::scalar(1348, "obj_description", &[oid::OID], oid::TEXT, nothing).stable(),
    Builtin::scalar(1216, "col_description", &[oid::OID, oid::INT4], oid::TEXT, nothing).stable(),
    Builtin::scalar(1993, "shobj_description", &[oid::OID, oid::NAME], oid::TEXT, nothing).stable(),
    Builtin::scalar(6121, "pg_relation_is_publishable", &[oid::REGCLASS], oid::BOOL, always).stable(),
    Builtin::scalar(2855, "pg_is_other_temp_schema", &[oid::OID], oid::BOOL, |_, _| Ok(Datum::Bool(false))).stable(),
    Builtin::scalar(3495, "to_regclass", &[oid::TEXT], oid::REGCLASS, to_regclass).stable(),
];

type Cx<'a, 'b> = &'a mut CallContext<'b>;

fn oid_of(args: &[Datum]) -> Oid {
    match args.first() {
        Some(Datum::Oid(value)) => Oid(*value),
        _ => Oid::INVALID,
    }
}

fn always(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Bool(true))
}

/// Comments, and definitions of what cannot be made yet: indexes, rules, triggers, views, statistics.
fn nothing(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Null)
}

fn pg_table_is_visible(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    Ok(namespace::relation_is_visible(oid_of(args))?.map_or(Datum::Null, Datum::Bool))
}

fn pg_type_is_visible(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    Ok(namespace::type_is_visible(oid_of(args))?.map_or(Datum::Null, Datum::Bool))
}

/// The files of a relation; `None` if there is no such relation, or it has none.
fn files_of(relation: Oid) -> Result<Option<RelFileNode>> {
    let Some(class) = syscache::class(relation)? else { return Ok(None) };
    if !matches!(class.relkind, b'r' | b'i' | b'S' | b't' | b'm') {
        return Ok(None);
    }
    catalog::open_locked(relation).map(|relation| Some(relation.table.node))
}

/// Bytes of a fork, over all its segments.
fn fork_size(node: RelFileNode, fork: ForkNumber) -> i64 {
    let base = node.path(fork);
    let sizes = (0u32..).map(|segment| {
        let path = if segment == 0 { base.clone() } else { format!("{base}.{segment}") };
        std::fs::metadata(path).ok().map(|data| data.len() as i64)
    });
    sizes.map_while(|size| size).sum()
}

fn pg_relation_size(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let fork = match args.get(1).and_then(Datum::as_str) {
        None | Some("main") => ForkNumber::Main,
        Some("fsm") => ForkNumber::Fsm,
        Some("vm") => ForkNumber::VisibilityMap,
        Some("init") => ForkNumber::Init,
        Some(_) => {
            return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "invalid fork name")
                .hint("Valid fork names are \"main\", \"fsm\", \"vm\", and \"init\"."));
        }
    };
    Ok(files_of(oid_of(args))?.map_or(Datum::Null, |node| Datum::Int8(fork_size(node, fork))))
}

fn pg_table_size(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let all = |node| ForkNumber::ALL.into_iter().map(|fork| fork_size(node, fork)).sum();
    Ok(files_of(oid_of(args))?.map_or(Datum::Null, |node| Datum::Int8(all(node))))
}

fn pg_database_size(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let database = match args.first() {
        Some(Datum::Text(name)) => match syscache::database_by_name(name)? {
            Some(database) => database.oid,
            None => {
                return Err(error!(SqlState::UNDEFINED_DATABASE, "database \"{name}\" does not exist"));
            }
        },
        _ => oid_of(args),
    };
    super::tablespace::database_size(database)
}

fn pg_relation_filenode(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    Ok(files_of(oid_of(args))?.map_or(Datum::Null, |node| Datum::Oid(node.rel.0)))
}

fn pg_relation_filepath(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    Ok(files_of(oid_of(args))?.map_or(Datum::Null, |node| Datum::text(node.path(ForkNumber::Main))))
}

fn builtin(args: &[Datum]) -> Option<&'static Builtin> {
    let wanted = oid_of(args);
    crate::registry().functions().find(|function| function.oid == wanted)
}

fn pg_get_function_result(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let Some(function) = builtin(args) else { return Ok(Datum::Null) };
    let set = if function.retset { "SETOF " } else { "" };
    Ok(Datum::text(format!("{set}{}", types::format_type(function.ret, -1))))
}

fn pg_get_function_arguments(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    Ok(builtin(args).map_or(Datum::Null, |function| Datum::text(arguments(function, true))))
}

fn pg_get_function_identity_arguments(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    Ok(builtin(args).map_or(Datum::Null, |function| Datum::text(arguments(function, false))))
}

/// C: `print_function_arguments`, for the functions that there are.
fn arguments(function: &Builtin, defaults: bool) -> String {
    let first_default = function.args.len() - function.defaults.len();
    let mut shown = Vec::with_capacity(function.args.len() + function.columns.len());
    for (index, ty) in function.args.iter().enumerate() {
        let is_variadic = function.variadic.is_valid() && index + 1 == function.args.len();
        let name = function.arg_names.get(index).filter(|name| !name.is_empty());
        let name = name.map_or_else(String::new, |name| format!("{name} "));
        let variadic = if is_variadic { "VARIADIC " } else { "" };
        let default = index.checked_sub(first_default).filter(|_| defaults);
        let default = default.map_or_else(String::new, |n| default_text(function.defaults[n], *ty));
        shown.push(format!("{variadic}{name}{}{default}", types::format_type(*ty, -1)));
    }
    for (name, ty) in function.columns {
        shown.push(format!("OUT {name} {}", types::format_type(*ty, -1)));
    }
    shown.join(", ")
}

/// ` DEFAULT false`, ` DEFAULT 'x'::text`.
fn default_text(value: Option<&str>, ty: Oid) -> String {
    let plain = [oid::BOOL, oid::INT2, oid::INT4, oid::INT8, oid::FLOAT8, oid::NUMERIC].contains(&ty);
    match value {
        Some(value) if plain => format!(" DEFAULT {value}"),
        Some(value) => {
            format!(" DEFAULT '{}'::{}", value.replace('\'', "''"), types::format_type(ty, -1))
        }
        None => format!(" DEFAULT NULL::{}", types::format_type(ty, -1)),
    }
}

/// Expressions are stored as their text, in the plain form.
fn pg_get_expr(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let text = args.first().cloned().unwrap_or_default();
    match (text.as_str(), args) {
        (Some(plain), [_, Datum::Oid(table), Datum::Bool(true)]) => {
            Ok(Datum::text(pretty(plain, Oid(*table)).unwrap_or_else(|| plain.to_owned())))
        }
        _ => Ok(text),
    }
}

/// The pretty form of a stored expression, if it can be read. C: `pg_get_expr_worker`.
fn pretty(plain: &str, table: Oid) -> Option<String> {
    let relation = syscache::class(table).ok()??;
    let relation = catalog::open_locked(relation.oid).ok()?;
    let column = |a: &heap::Attribute| {
        (!a.is_dropped).then(|| executor::Column {
            name: a.name.to_string(),
            ty: a.type_id,
            typmod: a.typmod,
        })
    };
    let columns: Vec<_> = relation.desc.attrs.iter().map(column).collect();
    let parsed = parser::parse_expr(plain).ok()?;
    let purpose = executor::ExprPurpose::Shown(relation.name());
    crate::query::with_env(|env| executor::expr_text(&parsed, plain, purpose, &columns, env, true)).ok()?
}

fn pg_get_constraintdef(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let wanted = oid_of(args);
    for class in syscache::classes()?.into_iter().filter(|class| class.relchecks > 0) {
        let relation = catalog::open_locked(class.oid)?;
        if let Some(check) = relation.checks.iter().find(|check| check.oid == wanted) {
            let no_inherit = if check.no_inherit { " NO INHERIT" } else { "" };
            let is_pretty = matches!(args.get(1), Some(Datum::Bool(true)));
            let text = is_pretty.then(|| pretty(&check.expression, class.oid)).flatten();
            let text = text.unwrap_or_else(|| check.expression.to_string());
            return Ok(Datum::text(format!("CHECK ({text}){no_inherit}")));
        }
    }
    Ok(Datum::Null)
}

/// All privileges that the list names, or one of them; WITH GRANT OPTION is the owner's. C: `has_table_privilege_*`.
fn has_table_privilege(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let [user @ .., table, privileges] = args else { return Ok(Datum::Null) };
    let identity = crate::identity::get();
    let role = match user.first() {
        None => syscache::role(identity.current_user.oid)?,
        Some(Datum::Oid(role)) => syscache::role(Oid(*role))?,
        Some(name) => {
            let name = name.as_str().unwrap_or("");
            let missing = || error!(SqlState::UNDEFINED_OBJECT, "role \"{name}\" does not exist");
            Some(syscache::role_by_name(name)?.ok_or_else(missing)?)
        }
    };
    let table = match table {
        Datum::Oid(oid) => Oid(*oid),
        name => {
            let name = name.as_str().unwrap_or("");
            let missing = || error!(SqlState::UNDEFINED_TABLE, "relation \"{name}\" does not exist");
            super::find_relation(name)?.ok_or_else(missing)?
        }
    };
    let mut wanted = Vec::new();
    for word in privileges.as_str().unwrap_or("").split(',') {
        use commands::rights::Right;
        wanted.push(match word.trim().to_ascii_uppercase().trim_end_matches(" WITH GRANT OPTION") {
            "SELECT" => Right::Select,
            "INSERT" | "UPDATE" | "DELETE" => Right::Write,
            "TRUNCATE" | "REFERENCES" | "TRIGGER" | "RULE" => Right::Truncate,
            _ => {
                let word = word.trim();
                return Err(error!(
                    SqlState::INVALID_PARAMETER_VALUE,
                    "unrecognized privilege type: \"{word}\""
                ));
            }
        });
    }
    let (Some(role), Some(class)) = (role, syscache::class(table)?) else { return Ok(Datum::Null) };
    for right in wanted {
        if commands::rights::may(role.oid, role.rolsuper, &class, right)? {
            return Ok(Datum::Bool(true));
        }
    }
    Ok(Datum::Bool(false))
}

fn to_regclass(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let text = args.first().and_then(Datum::as_str).unwrap_or("");
    Ok(super::find_relation(text)?.map_or(Datum::Null, |oid| Datum::Oid(oid.0)))
}
