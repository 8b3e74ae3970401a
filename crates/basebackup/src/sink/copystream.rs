//! The last sink: everything as protocol messages.
//!
//! ```text
//!   T D C       where the backup starts: LSN and timeline
//!   T D.. C     the tablespaces, the data directory last, with sizes in kB if they were counted
//!   H           COPY OUT begins
//!   d 'n' name NUL path NUL     an archive begins; the path is that of the tablespace
//!   d 'd' bytes                 its contents, or the manifest's
//!   d 'p' int64                 bytes done, every second and after each archive
//!   d 'm'                       the manifest begins
//!   c           COPY is done
//!   T D C       where it ends
//! ```
//!
//! If the backup goes somewhere else, only the contents are left out.
//!
//! C counterpart: replication/basebackup_copy.c.

use std::time::{Duration, Instant};

use common::{Lsn, TimeLineId};
use elog::Result;
use libpq::message::reply::{self, Copy, DataRow, Field};
use libpq::{Port, WaitPolicy};
use types::oid;

use super::{Part, Progress, Sink};

/// The clock is looked at after so many bytes. C: `PROGRESS_REPORT_BYTE_INTERVAL`.
const BYTES_BETWEEN_LOOKS: u64 = 65_536;
/// C: `PROGRESS_REPORT_MILLISECOND_THRESHOLD`.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// C: `bbsink_copystream`.
pub(crate) struct CopyStream<'a> {
    port: &'a mut Port,
    policy: &'a mut dyn WaitPolicy,
    /// False if the client only looks on.
    send_contents: bool,
    last_report: Instant,
    bytes_at_last_look: u64,
}

impl<'a> CopyStream<'a> {
    /// C: `bbsink_copystream_new`.
    pub(crate) fn new(
        port: &'a mut Port,
        policy: &'a mut dyn WaitPolicy,
        send_contents: bool,
    ) -> CopyStream<'a> {
        CopyStream { port, policy, send_contents, last_report: Instant::now(), bytes_at_last_look: 0 }
    }

    /// A message of the stream: what kind, then its body.
    fn message(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
        self.policy.take_reports(self.port.out());
        reply::message(self.port.out(), b'd', |out| {
            out.push(kind);
            body(out);
        });
    }

    fn contents(&mut self, piece: &[u8]) -> Result<()> {
        if self.send_contents {
            self.message(b'd', |out| out.extend_from_slice(piece));
            self.port.flush_if_large(self.policy)?;
        }
        Ok(())
    }

    /// C: the `p` of `bbsink_copystream_archive_contents` and `bbsink_copystream_end_archive`.
    fn report(&mut self, bytes_done: u64) -> Result<()> {
        self.last_report = Instant::now();
        self.message(b'p', |out| out.extend_from_slice(&bytes_done.to_be_bytes()));
        self.port.flush_if_writable()
    }

    /// C: `SendXlogRecPtrResult`.
    fn send_position(&mut self, lsn: Lsn, timeline: TimeLineId) {
        let out = self.port.out();
        reply::row_description(
            out,
            [field("recptr", oid::TEXT, -1), field("tli", oid::INT8, -1)].into_iter(),
        );
        let mut row = DataRow::begin(out, 2);
        row.text(&lsn.to_string());
        row.text(&timeline.0.to_string());
        row.finish();
        reply::command_complete(out, "SELECT");
    }

    /// C: `SendTablespaceList`.
    fn send_parts(&mut self, parts: &[Part]) {
        let out = self.port.out();
        let fields =
            [field("spcoid", oid::OID, 4), field("spclocation", oid::TEXT, -1), field("size", oid::INT8, 8)];
        reply::row_description(out, fields.into_iter());
        for part in parts {
            let mut row = DataRow::begin(out, 3);
            let size_bytes = match part {
                Part::Tablespace(tablespace) => {
                    row.text(&tablespace.oid);
                    row.text(&tablespace.path);
                    tablespace.size_bytes
                }
                Part::Main { size_bytes } => {
                    row.null();
                    row.null();
                    *size_bytes
                }
            };
            match size_bytes {
                Some(bytes) => row.text(&(bytes / 1024).to_string()),
                None => row.null(),
            }
            row.finish();
        }
        reply::command_complete(out, "SELECT");
    }
}

fn field(name: &str, type_oid: common::Oid, type_len: i16) -> Field<'_> {
    Field { name, table: common::Oid(0), column: 0, type_oid, type_len, typmod: 0, format: 0 }
}

impl Sink for CopyStream<'_> {
    fn next(&mut self) -> Option<&mut dyn Sink> {
        None
    }

    fn begin_backup(&mut self, progress: &Progress) -> Result<()> {
        self.policy.take_reports(self.port.out());
        self.send_position(progress.start_lsn, progress.start_timeline);
        self.send_parts(&progress.parts);
        reply::copy_response(self.port.out(), Copy::Out, false, 0);
        self.port.flush_if_writable()
    }

    fn begin_archive(&mut self, progress: &Progress, name: &str) -> Result<()> {
        let path = match progress.parts.get(progress.parts_done.get()) {
            Some(Part::Tablespace(tablespace)) => tablespace.path.as_str(),
            _ => "",
        };
        self.message(b'n', |out| {
            reply::string(out, name);
            reply::string(out, path);
        });
        Ok(())
    }

    fn archive_contents(&mut self, progress: &Progress, piece: &[u8]) -> Result<()> {
        self.contents(piece)?;
        let bytes_done = progress.bytes_done.get();
        if bytes_done >= self.bytes_at_last_look + BYTES_BETWEEN_LOOKS {
            self.bytes_at_last_look = bytes_done;
            if self.last_report.elapsed() >= REPORT_INTERVAL {
                self.report(bytes_done)?;
            }
        }
        Ok(())
    }

    fn end_archive(&mut self, progress: &Progress) -> Result<()> {
        self.bytes_at_last_look = progress.bytes_done.get();
        self.report(progress.bytes_done.get())
    }

    fn begin_manifest(&mut self) -> Result<()> {
        self.message(b'm', |_| {});
        Ok(())
    }

    fn manifest_contents(&mut self, piece: &[u8]) -> Result<()> {
        self.contents(piece)
    }

    fn end_manifest(&mut self) -> Result<()> {
        Ok(())
    }

    fn send_reports(&mut self) -> Result<()> {
        self.policy.take_reports(self.port.out());
        self.port.flush_if_writable()
    }

    fn end_backup(&mut self, end: Lsn, timeline: TimeLineId) -> Result<()> {
        self.policy.take_reports(self.port.out());
        reply::copy_done(self.port.out());
        self.send_position(end, timeline);
        Ok(())
    }
}
