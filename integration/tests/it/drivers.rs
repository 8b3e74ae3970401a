//! Client libraries and programs as they are used: the `postgres` crate, psycopg 3, pgbench, pg_isready.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use integration::{Cluster, ClusterOptions, Server, Stop, on_each_server, process, say_skipped};
use postgres::error::SqlState;
use postgres::types::Type;
use postgres::{Client, NoTls};

fn cluster(server: Server) -> Cluster {
    let initdb = ["-E", "UTF8", "--locale=C.UTF-8"].map(str::to_owned).to_vec();
    let config = vec!["timezone = 'UTC'".to_owned()];
    let cluster = Cluster::with(ClusterOptions { server, initdb, config });
    cluster.start();
    cluster
}

#[test]
fn the_postgres_crate() {
    on_each_server("the postgres crate", |server| {
        let cluster = cluster(server);
        let mut client = cluster.connect();
        parameters_and_results(&mut client);
        prepared_statements(&mut client);
        portals(&mut client);
        transactions(&mut client);
        errors(&mut client);
        notices(&cluster);
        simple_queries(&mut client);
        tables(&mut client);
    });
}

/// Everything is binary there.
fn parameters_and_results(client: &mut Client) {
    let sql = "SELECT $1::int2, $2::int4, $3::int8, $4::float4, $5::float8, $6::bool, $7::text, $8::bytea";
    let row = client
        .query_one(
            sql,
            &[&1_i16, &-2_i32, &(1_i64 << 40), &1.5_f32, &-2.25_f64, &true, &"é 'x'", &&b"\0\xff"[..]],
        )
        .expect("a row");
    assert_eq!((row.get::<_, i16>(0), row.get::<_, i32>(1), row.get::<_, i64>(2)), (1, -2, 1 << 40));
    assert_eq!((row.get::<_, f32>(3), row.get::<_, f64>(4), row.get::<_, bool>(5)), (1.5, -2.25, true));
    assert_eq!((row.get::<_, &str>(6), row.get::<_, &[u8]>(7)), ("é 'x'", &b"\0\xff"[..]));
    let names: Vec<(&str, &Type)> = row.columns().iter().map(|c| (c.name(), c.type_())).collect();
    assert_eq!(names[..3], [("int2", &Type::INT2), ("int4", &Type::INT4), ("int8", &Type::INT8)]);

    let nothing: (Option<i32>, Option<&str>) = (None, None);
    let row = client.query_one("SELECT $1::int4, $2::text", &[&nothing.0, &nothing.1]).expect("a row");
    assert_eq!((row.get::<_, Option<i32>>(0), row.get::<_, Option<&str>>(1)), nothing);

    let moment = SystemTime::UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_000);
    let row = client.query_one("SELECT $1::timestamptz, $1::timestamptz::text", &[&moment]).expect("a row");
    assert_eq!(row.get::<_, SystemTime>(0), moment);
    assert_eq!(row.get::<_, &str>(1), "2020-09-13 12:26:40.123456+00");

    let (numbers, words) = (vec![Some(1), None, Some(-3)], vec!["a", "", "NULL", "{\"x\"}"]);
    let sql = "SELECT $1::int4[], $2::text[], $2::text[]::text";
    let row = client.query_one(sql, &[&numbers, &words]).expect("a row");
    assert_eq!(row.get::<_, Vec<Option<i32>>>(0), numbers);
    assert_eq!(row.get::<_, Vec<&str>>(1), words);
    assert_eq!(row.get::<_, &str>(2), "{a,\"\",\"NULL\",\"{\\\"x\\\"}\"}");

    // Types that nobody named are found out.
    let row = client.query_one("SELECT $1 || 'x', $2 + 1", &[&"y", &41]).expect("a row");
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i32>(1)), ("yx", 42));
    let rows = client.query("SELECT g FROM generate_series($1::int4, $2) g", &[&1, &1000]).expect("rows");
    assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).sum::<i32>(), 500_500);
}

/// A table in binary, and where columns come from.
fn tables(client: &mut Client) {
    client
        .batch_execute("CREATE TABLE t (a int NOT NULL, b text, c float8[], d timestamptz)")
        .expect("a table");
    let moment = SystemTime::UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_000);
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2, $3, $4)").expect("it parses");
    assert_eq!(insert.params(), [Type::INT4, Type::TEXT, Type::FLOAT8_ARRAY, Type::TIMESTAMPTZ]);
    for n in 0..100 {
        let floats = vec![Some(f64::from(n)), None];
        assert_eq!(client.execute(&insert, &[&n, &n.to_string(), &floats, &moment]).expect("a row"), 1);
    }
    let select =
        client.prepare("SELECT b, a + 1 AS n, c, d, ctid IS NULL FROM t WHERE a = $1").expect("it parses");
    let origins: Vec<_> = select.columns().iter().map(|c| (c.table_oid().is_some(), c.column_id())).collect();
    let computed = (false, None);
    assert_eq!(origins, [(true, Some(2)), computed, (true, Some(3)), (true, Some(4)), computed]);
    let row = client.query_one(&select, &[&42]).expect("a row");
    assert_eq!((row.get::<_, &str>(0), row.get::<_, i32>(1)), ("42", 43));
    assert_eq!(row.get::<_, Vec<Option<f64>>>(2), [Some(42.0), None]);
    assert_eq!(row.get::<_, SystemTime>(3), moment);
    let changed = client.execute("UPDATE t SET b = b || $1 WHERE a < $2", &[&"!", &10]).expect("changes");
    assert_eq!(changed, 10);
    let mut writer = client.copy_in("COPY t (a, b) FROM STDIN").expect("a copy");
    std::io::Write::write_all(&mut writer, b"1000\tcopied\n1001\t\\N\n").expect("sent");
    assert_eq!(writer.finish().expect("copied"), 2);
    let mut text = String::new();
    let mut reader = client.copy_out("COPY (SELECT a, b FROM t WHERE a >= 1000) TO STDOUT").expect("a copy");
    std::io::Read::read_to_string(&mut reader, &mut text).expect("read");
    drop(reader);
    assert_eq!(text, "1000\tcopied\n1001\t\\N\n");
    let failed = client.execute("INSERT INTO t VALUES (NULL)", &[]).expect_err("NOT NULL");
    let failed = failed.as_db_error().expect("the server's").clone();
    assert_eq!((failed.table(), failed.column()), (Some("t"), Some("a")));
    client.batch_execute("DROP TABLE t").expect("dropped");
}

fn prepared_statements(client: &mut Client) {
    let statement = client.prepare("SELECT $1::int4 + $2, 'constant'").expect("it parses");
    assert_eq!(statement.params(), [Type::INT4, Type::INT4]);
    assert_eq!(statement.columns().len(), 2);
    for n in 0..10 {
        let row = client.query_one(&statement, &[&n, &1]).expect("a row");
        assert_eq!(row.get::<_, i32>(0), n + 1);
    }
    let typed = client.prepare_typed("SELECT $1", &[Type::INT8]).expect("it parses");
    assert_eq!(client.query_one(&typed, &[&5_i64]).expect("a row").get::<_, i64>(0), 5);
    let count = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT $1%'";
    assert_eq!(client.query_one(count, &[]).expect("a row").get::<_, i64>(0), 2);
    // Dropping one closes it on the server, before the next message.
    drop((statement, typed));
    assert_eq!(client.query_one(count, &[]).expect("a row").get::<_, i64>(0), 0);
    let rows_affected = client.execute("SELECT generate_series(1, 7)", &[]).expect("a command");
    assert_eq!(rows_affected, 7);
}

fn portals(client: &mut Client) {
    let mut transaction = client.transaction().expect("none is open");
    let portal = transaction.bind("SELECT generate_series(1, $1::int4)", &[&5]).expect("a portal");
    let sizes: Vec<usize> =
        (0..4).map(|_| transaction.query_portal(&portal, 2).expect("rows").len()).collect();
    assert_eq!(sizes, [2, 2, 1, 0]);
    let other = transaction.bind("SELECT 'meanwhile'", &[]).expect("a portal");
    assert_eq!(transaction.query_portal(&other, 0).expect("a row").len(), 1);
    transaction.commit().expect("it commits");
}

fn transactions(client: &mut Client) {
    let isolation = |client: &mut postgres::Transaction<'_>| -> String {
        client.query_one("SHOW transaction_isolation", &[]).expect("a row").get(0)
    };
    let mut transaction = client
        .build_transaction()
        .isolation_level(postgres::IsolationLevel::Serializable)
        .read_only(true)
        .start()
        .expect("none is open");
    assert_eq!(isolation(&mut transaction), "serializable");
    transaction.rollback().expect("a block");

    let mut transaction = client.transaction().expect("none is open");
    transaction.batch_execute("SET LOCAL work_mem = '1MB'").expect("a setting");
    let mut inner = transaction.savepoint("within").expect("a block");
    inner.batch_execute("SET LOCAL work_mem = '2MB'").expect("a setting");
    let error = inner.query("SELECT 1 / $1::int4", &[&0]).expect_err("division by zero");
    assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO));
    inner.rollback().expect("a savepoint");
    let work_mem: String = transaction.query_one("SHOW work_mem", &[]).expect("a row").get(0);
    assert_eq!(work_mem, "1MB");
    transaction.commit().expect("it commits");
    let work_mem: String = client.query_one("SHOW work_mem", &[]).expect("a row").get(0);
    assert_eq!(work_mem, "4MB");
}

fn errors(client: &mut Client) {
    let error = client.query("SELECT nope", &[]).expect_err("no such column");
    let error = error.as_db_error().expect("the server says so");
    assert_eq!((error.severity(), error.code()), ("ERROR", &SqlState::UNDEFINED_COLUMN));
    assert_eq!(error.message(), "column \"nope\" does not exist");
    assert_eq!(error.position(), Some(&postgres::error::ErrorPosition::Original(8)));
    assert!(error.file().is_some() && error.line().is_some() && error.routine().is_some());
    let error = client.query("SELECT length($1::int4)", &[&1]).expect_err("no such function");
    let error = error.as_db_error().expect("the server says so");
    assert_eq!(
        error.hint(),
        Some(
            "No function matches the given name and argument types. You might need to add explicit type casts."
        )
    );
    let error = client.batch_execute("SELECT 1; SELECT nope; SELECT 2").expect_err("no such column");
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_COLUMN));
    assert_eq!(client.query_one("SELECT 1", &[]).expect("alive").get::<_, i32>(0), 1);
}

fn notices(cluster: &Cluster) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&heard);
    let mut config = cluster.client_config();
    config.notice_callback(move |notice| {
        listener.lock().expect("no panic").push(format!("{} {}", notice.severity(), notice.message()));
    });
    let mut client = config.connect(NoTls).expect("the server lets us in");
    client.batch_execute("COMMIT").expect("it only warns");
    client.batch_execute("SET client_min_messages = error; COMMIT").expect("it says nothing");
    assert_eq!(*heard.lock().expect("no panic"), ["WARNING there is no transaction in progress"]);
}

fn simple_queries(client: &mut Client) {
    use postgres::SimpleQueryMessage as M;
    let messages =
        client.simple_query("SELECT 1 AS a, NULL AS b; SET work_mem = '1MB'; SELECT 'x'").expect("answers");
    let shown: Vec<String> = messages
        .iter()
        .map(|message| match message {
            M::Row(row) => format!("{:?}", (0..row.len()).map(|i| row.get(i)).collect::<Vec<_>>()),
            M::CommandComplete(count) => format!("complete {count}"),
            M::RowDescription(columns) => format!("columns {}", columns.len()),
            _ => "other".to_owned(),
        })
        .collect();
    let expected = [
        "columns 2",
        "[Some(\"1\"), None]",
        "complete 1",
        "complete 0",
        "columns 1",
        "[Some(\"x\")]",
        "complete 1",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn psycopg() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("../target/python/bin/python");
    if !python.exists() {
        return say_skipped(module_path!(), "psycopg is not installed: cargo xtask setup");
    }
    on_each_server("psycopg", |server| {
        let cluster = cluster(server);
        let conninfo = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", cluster.port());
        let mut command = Command::new(&python);
        command
            .arg(root.join("tests/it/drivers/conversation.py"))
            .arg(conninfo)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let output = process::run(&mut command);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && output.stdout == b"all as expected\n", "{server:?}: {errors}");
    });
}

const SCRIPT: &str = "\
\\set n random(1, 1000)
SELECT :n + 1;
BEGIN;
SELECT abs(:n), length('text' || :n) AS size \\gset
SELECT :abs::int + :size;
END;
SELECT count(*) FROM generate_series(1, :n);
";

/// Everything between is sent before the first answer is read.
const PIPELINE: &str = "\
\\startpipeline
SELECT 1;
SELECT 2;
BEGIN;
SELECT 3;
END;
\\endpipeline
";

#[test]
fn pgbench() {
    on_each_server("pgbench", |server| {
        let cluster = cluster(server);
        std::fs::write(cluster.path("script"), SCRIPT).expect("room in /tmp");
        std::fs::write(cluster.path("pipeline"), PIPELINE).expect("room in /tmp");
        for (mode, script, more) in [
            ("simple", "script", None),
            ("extended", "script", None),
            ("prepared", "script", None),
            ("simple", "script", Some("-C")),
            ("extended", "pipeline", None),
            ("prepared", "pipeline", None),
        ] {
            let Some(mut command) = cluster.client("pgbench") else {
                return say_skipped(module_path!(), "pgbench is not installed");
            };
            command.args(["-n", "-c", "4", "-j", "2", "-t", "25", "-M", mode, "-f", script]).args(more);
            let output = process::run(&mut command);
            let (report, errors) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let what = format!("{server:?} {mode} {script} {more:?}: {report}{errors}");
            assert!(output.status.success(), "{what}");
            assert!(report.contains("transactions actually processed: 100/100"), "{what}");
            assert!(report.contains("number of failed transactions: 0 (0.000%)"), "{what}");
        }
    });
}

/// TPC-B on tables that pgbench makes itself, without primary keys; then the books must balance.
#[test]
fn pgbench_on_its_tables() {
    on_each_server("pgbench on its tables", |server| {
        let cluster = cluster(server);
        let run = |args: &[&str]| {
            let mut command = cluster.client("pgbench")?;
            let output = process::run(command.args(args));
            let (report, errors) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            Some((output.status.success(), format!("{server:?} {args:?}: {report}{errors}")))
        };
        let Some((made, what)) = run(&["-i", "-I", "dtg"]) else {
            return say_skipped(module_path!(), "pgbench is not installed");
        };
        assert!(made, "{what}");
        for mode in ["simple", "extended", "prepared"] {
            let (done, what) = run(&["-n", "-c", "2", "-t", "3", "-M", mode]).expect("it is installed");
            assert!(done && what.contains("actually processed: 6/6"), "{what}");
        }
        let mut client = cluster.connect();
        let sql = "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers), \
                   (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history), \
                   (SELECT count(*) FROM pgbench_history)";
        let row = client.query_one(sql, &[]).expect("sums");
        let sums: Vec<i64> = (0..4).map(|column| row.get(column)).collect();
        assert!(sums.iter().all(|sum| *sum == sums[0]) && row.get::<_, i64>(4) == 18, "{sums:?}");
        drop(client);
        if server == Server::Ours {
            let (made, what) = run(&["-i"]).expect("it is installed");
            assert!(!made && what.contains("ALTER TABLE is not supported yet"), "{what}");
        }
    });
}

#[test]
fn pg_isready() {
    on_each_server("pg_isready", |server| {
        let cluster = cluster(server);
        let ask = |host: &str| {
            let mut command = cluster.client("pg_isready")?;
            let output = process::run(command.args(["-h", host]));
            let text = cluster.normalised(&String::from_utf8_lossy(&output.stdout));
            Some((output.status.code(), text))
        };
        let local = cluster.socket_dir().display().to_string();
        let Some(answer) = ask(&local) else {
            return say_skipped(module_path!(), "pg_isready is not installed");
        };
        assert_eq!(answer, (Some(0), "SOCKETS:PORT - accepting connections\n".to_owned()));
        let tcp = ask("127.0.0.1").expect("it is installed");
        assert_eq!(tcp, (Some(0), "127.0.0.1:PORT - accepting connections\n".to_owned()));
        assert!(!cluster.log().contains("FATAL"), "it gives up after the first answer, which is no error");
        cluster.stop(Stop::Fast);
        let gone = ask(&local).expect("it is installed");
        assert_eq!(gone, (Some(2), "SOCKETS:PORT - no response\n".to_owned()));
    });
}
