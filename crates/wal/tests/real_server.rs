//! The reader on WAL that PostgreSQL itself has written, compared with `pg_waldump` record by record.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod support;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use common::pg_control::ControlFileData;
use common::{Lsn, TimeLineId};
use page::Page;
use support::real_program;
use wal::{Reader, RmgrId};

const WORK: &str = "
create table t(id int primary key, v text);
insert into t select g, repeat(md5(g::text), 1 + g % 60) from generate_series(1, 3000) g;
checkpoint;
set wal_compression = pglz; update t set v = v || 'x' where id % 3 = 0; checkpoint;
set wal_compression = lz4; update t set v = v || 'y' where id % 5 = 0; checkpoint;
set wal_compression = zstd; update t set v = v || 'z' where id % 7 = 0; checkpoint;
set wal_compression = off; delete from t where id % 11 = 0; vacuum t;
begin; savepoint a; insert into t values (100000, 'sub'); savepoint b; insert into t values (100001, 'sub'); commit;
create index on t(v); select pg_switch_wal();
copy t to '/dev/null'; truncate t;
create sequence s; select nextval('s'); drop table t; select pg_create_restore_point('here');
";

fn run(program: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").env("PGTZ", "UTC").current_dir("/tmp");
    if common::user::is_root() {
        command.uid(65_534).gid(65_534).env("HOME", "/tmp");
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments:?}: {errors}", program.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn reads_what_postgresql_wrote() {
    let programs = ["initdb", "pg_ctl", "psql", "pg_waldump"].map(real_program);
    let [Some(initdb), Some(pg_ctl), Some(psql), Some(waldump)] = programs else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let data = dir.path().join("data");
    let (data_text, socket) = (data.to_str().unwrap(), dir.path().to_str().unwrap());
    run(&initdb, &["-D", data_text, "-N", "-A", "trust", "-U", "me", "--locale=C", "--wal-segsize=1"]);
    let options =
        format!("-k {socket} -c listen_addresses= -c fsync=off -c wal_level=logical -c wal_keep_size=1GB");
    let log = dir.path().join("log");
    run(&pg_ctl, &["-D", data_text, "-w", "-o", &options, "-l", log.to_str().unwrap(), "start"]);
    let work = Command::new(&psql)
        .args(["-h", socket, "-U", "me", "-v", "ON_ERROR_STOP=1", "-q", "-c"])
        .arg("select 1")
        .args(WORK.lines().flat_map(|line| line.split_inclusive(';')).flat_map(|sql| ["-c", sql]))
        .arg("postgres")
        .output()
        .unwrap();
    run(&pg_ctl, &["-D", data_text, "-w", "-m", "fast", "stop"]);
    assert!(work.status.success(), "{}", String::from_utf8_lossy(&work.stderr));
    compare(&data, &waldump);
}

fn compare(data: &Path, waldump: &Path) {
    let control = ControlFileData::read(data).unwrap();
    let pg_wal = data.join("pg_wal");
    let oldest = std::fs::read_dir(&pg_wal)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| wal::segment::is_segment_name(name))
        .min()
        .unwrap();
    let geometry = wal::Geometry::new(control.xlog_seg_size);
    let (_, first) = wal::segment::parse_name(&oldest, geometry).unwrap();
    let mut reader = Reader::new(&pg_wal, control.xlog_seg_size, TimeLineId(1));
    reader.set_system_identifier(control.system_identifier);
    let start = reader.find_next_record(geometry.lsn(first, 0)).unwrap().unwrap();
    let arguments = ["-p", pg_wal.to_str().unwrap(), "-s", &start.to_string(), "-e", &end_of(&control)];
    let text = run(waldump, &arguments);
    let (mut records, mut images, mut last) = (0, 0, Lsn(0));
    for line in text.lines() {
        let record = reader.next().unwrap().unwrap();
        let name = RmgrId::from_u8(record.rmgr).unwrap().name();
        let expected = format!("rmgr: {name:<11} ");
        assert!(line.starts_with(&expected), "{line}");
        let expected = format!(
            "/{:6}, tx: {:10}, lsn: {}, prev {}, desc:",
            record.total_len,
            record.xid.0,
            padded(record.lsn),
            padded(record.prev)
        );
        assert!(line.contains(&expected), "{expected} in {line}");
        assert_eq!(line.matches("blkref #").count(), record.blocks().count(), "{line}");
        for block in record.blocks().filter(|block| block.has_image()) {
            let mut page = Page::zeroed();
            block.restore_image(record.lsn, &mut page).unwrap();
            assert!(page.is_valid_header(), "{line}");
            images += 1;
        }
        if record.rmgr == 0 {
            wal::redo::parse(&record).unwrap();
        }
        records += 1;
        last = record.lsn;
    }
    assert_eq!(last, control.checkpoint);
    assert!(records > 3000 && images > 50, "{records} records, {images} images");
    let end = reader.next().unwrap_err();
    assert!(end.message.starts_with("invalid record length at"), "{end}");
}

/// Behind the shutdown checkpoint's record.
fn end_of(control: &ControlFileData) -> String {
    (control.checkpoint + 120).to_string()
}

/// As pg_waldump pads the lower half.
fn padded(lsn: Lsn) -> String {
    format!("{:X}/{:08X}", lsn.0 >> 32, lsn.0 as u32)
}
