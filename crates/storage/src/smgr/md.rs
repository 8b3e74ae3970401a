//! Blocks in files.
//!
//! C counterpart: md.c.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use common::{BLCKSZ, BlockNumber, ForkNumber, INVALID_BLOCK, RELSEG_SIZE, RelFileNode, SqlState};
use elog::{PgError, Result, Severity, ereport, errno_text, error, sqlstate_for_file_access};
use file::{File, OpenFlags};
use page::Page;
use shmem::wait_event::WaitEvent;

use super::segments;
use crate::sync::{self, Request, SyncTag};

thread_local! {
    static IN_REDO: Cell<bool> = const { Cell::new(false) };
}

/// Tells this process that it replays WAL: files that are missing or too short are then made, since later WAL
/// will drop or truncate them again. C: `InRecovery`.
pub fn set_in_redo(on: bool) {
    IN_REDO.set(on);
}

/// See [`set_in_redo`].
pub fn in_redo() -> bool {
    IN_REDO.get()
}

/// Path of a segment: `base/5/16384.1`. C: `_mdfd_segpath`.
pub(crate) fn segment_path(node: RelFileNode, fork: ForkNumber, segment: u32) -> PathBuf {
    let path = node.path(fork);
    if segment == 0 { path.into() } else { format!("{path}.{segment}").into() }
}

const READ_WRITE: OpenFlags = OpenFlags::READ.union(OpenFlags::WRITE);

/// What to do about a segment that is not there. C: `EXTENSION_*`.
#[derive(Clone, Copy, PartialEq)]
enum Missing {
    Fail,
    /// The caller knows what that means.
    ReturnNone,
    /// Make it, and all before it.
    Create,
}

fn open_failed(path: &Path, e: &io::Error) -> PgError {
    error!(sqlstate_for_file_access(e), "could not open file \"{}\": {}", path.display(), errno_text(e))
}

/// Whether the fork has a file. C: `mdexists`.
///
/// # Errors
/// `could not open file` for any reason but its absence.
pub fn exists(node: RelFileNode, fork: ForkNumber) -> Result<bool> {
    // What we have open may be unlinked meanwhile.
    segments::close_from(node, fork, 0);
    segments::note_blocks(node, fork, None);
    Ok(open_first(node, fork, Missing::ReturnNone)?.is_some())
}

/// As [`exists`], content with what this process has open: for callers to whom a fork that was just removed does no
/// harm.
pub(crate) fn exists_cached(node: RelFileNode, fork: ForkNumber) -> Result<bool> {
    Ok(open_first(node, fork, Missing::ReturnNone)?.is_some())
}

/// Makes an empty fork. With `is_redo` it may be there already. C: `mdcreate`.
///
/// # Errors
/// `could not create file`.
pub fn create(node: RelFileNode, fork: ForkNumber, is_redo: bool) -> Result<()> {
    if is_redo && segments::open_count(node, fork) > 0 {
        return Ok(());
    }
    let path = segment_path(node, fork, 0);
    crate::tablespace::create_database_directory(node, is_redo)?;
    let made = match file::open(&path, READ_WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE) {
        Err(e) if is_redo => file::open(&path, READ_WRITE).map_err(|_| e),
        other => other,
    };
    let file = made.map_err(|e| {
        error!(
            sqlstate_for_file_access(&e),
            "could not create file \"{}\": {}",
            path.display(),
            errno_text(&e)
        )
    })?;
    segments::close_from(node, fork, 0);
    segments::push(node, fork, file);
    Ok(())
}

/// C: `mdopenfork`.
fn open_first(node: RelFileNode, fork: ForkNumber, missing: Missing) -> Result<Option<Rc<File>>> {
    if let Some(file) = segments::get(node, fork, 0) {
        return Ok(Some(file));
    }
    let path = segment_path(node, fork, 0);
    match file::open(&path, READ_WRITE) {
        Ok(file) => Ok(Some(segments::push(node, fork, file))),
        Err(e) if missing == Missing::ReturnNone && e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(open_failed(&path, &e)),
    }
}

/// The segment with this block. C: `_mdfd_getseg`.
#[inline]
fn segment_of(node: RelFileNode, fork: ForkNumber, block: BlockNumber, missing: Missing) -> Result<Rc<File>> {
    let segment = block / RELSEG_SIZE;
    if let Some(file) = segments::get(node, fork, segment) {
        return Ok(file);
    }
    open_up_to(node, fork, segment, block, missing)
}

#[cold]
fn open_up_to(
    node: RelFileNode,
    fork: ForkNumber,
    segment: u32,
    block: BlockNumber,
    missing: Missing,
) -> Result<Rc<File>> {
    let Some(mut file) = open_first(node, fork, Missing::Fail)? else {
        return Err(error!(SqlState::INTERNAL_ERROR, "relation without a first segment"));
    };
    for next in 1..=segment {
        if let Some(open) = segments::get(node, fork, next) {
            file = open;
            continue;
        }
        let path = segment_path(node, fork, next);
        let blocks = segment_blocks(&file)?;
        if blocks > RELSEG_SIZE {
            return Err(error!(SqlState::INTERNAL_ERROR, "segment too big"));
        }
        let create = missing == Missing::Create || in_redo();
        if blocks < RELSEG_SIZE {
            if !create {
                return Err(error!(
                    SqlState::UNDEFINED_FILE,
                    "could not open file \"{}\" (target block {block}): previous segment is only {blocks} blocks",
                    path.display()
                ));
            }
            // The segment before must be whole (SM1); replay will fill it.
            extend(node, fork, next * RELSEG_SIZE - 1, &Page::zeroed(), false)?;
        }
        let flags = if create { READ_WRITE | OpenFlags::CREATE } else { READ_WRITE };
        let opened = file::open(&path, flags).map_err(|e| {
            error!(
                sqlstate_for_file_access(&e),
                "could not open file \"{}\" (target block {block}): {}",
                path.display(),
                errno_text(&e)
            )
        })?;
        file = segments::push(node, fork, opened);
    }
    Ok(file)
}

/// Blocks in a segment; a last half block does not count. C: `_mdnblocks`.
fn segment_blocks(file: &File) -> Result<BlockNumber> {
    let size = file.size().map_err(|e| {
        let path = file.path().display();
        error!(sqlstate_for_file_access(&e), "could not seek to end of file \"{path}\": {}", errno_text(&e))
    })?;
    Ok((size / BLCKSZ as u64) as BlockNumber)
}

#[inline]
fn offset_of(block: BlockNumber) -> u64 {
    u64::from(block % RELSEG_SIZE) * BLCKSZ as u64
}

/// Number of blocks in the fork. C: `mdnblocks`.
///
/// # Errors
/// `could not open file`, `could not seek to end of file`.
pub fn nblocks(node: RelFileNode, fork: ForkNumber) -> Result<BlockNumber> {
    if !in_redo() {
        return ask_nblocks(node, fork);
    }
    match segments::noted_blocks(node, fork) {
        Some(blocks) => Ok(blocks),
        None => {
            let blocks = ask_nblocks(node, fork)?;
            segments::note_blocks(node, fork, Some(blocks));
            Ok(blocks)
        }
    }
}

fn ask_nblocks(node: RelFileNode, fork: ForkNumber) -> Result<BlockNumber> {
    let mut segment = segments::open_count(node, fork).saturating_sub(1);
    let mut file = match segments::get(node, fork, segment) {
        Some(file) => file,
        None => match open_first(node, fork, Missing::Fail)? {
            Some(file) => file,
            None => return Ok(0),
        },
    };
    loop {
        let blocks = segment_blocks(&file)?;
        if blocks > RELSEG_SIZE {
            return Err(error!(SqlState::INTERNAL_ERROR, "segment too big"));
        }
        if blocks < RELSEG_SIZE {
            return Ok(segment * RELSEG_SIZE + blocks);
        }
        segment += 1;
        let path = segment_path(node, fork, segment);
        match file::open(&path, READ_WRITE) {
            Ok(next) => file = segments::push(node, fork, next),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(segment * RELSEG_SIZE),
            Err(e) => return Err(open_failed(&path, &e)),
        }
    }
}

/// Reads a block. During replay a block beyond the end is all zeros. C: `mdread`.
///
/// # Errors
/// `could not read block`; XX001 if the file ends within or before it.
#[inline]
pub fn read(node: RelFileNode, fork: ForkNumber, block: BlockNumber, into: &mut Page) -> Result<()> {
    let file = segment_of(node, fork, block, Missing::Fail)?;
    match file.read_at(into.bytes_mut(), offset_of(block), WaitEvent::DATA_FILE_READ) {
        Ok(BLCKSZ) => Ok(()),
        other => read_short(&file, block, into, other),
    }
}

#[cold]
fn read_short(file: &File, block: BlockNumber, into: &mut Page, got: io::Result<usize>) -> Result<()> {
    let path = file.path().display();
    match got {
        Err(e) => Err(error!(
            sqlstate_for_file_access(&e),
            "could not read block {block} in file \"{path}\": {}",
            errno_text(&e)
        )),
        Ok(_) if guc::vars::ZERO_DAMAGED_PAGES.get() || in_redo() => {
            into.bytes_mut().fill(0);
            Ok(())
        }
        Ok(read) => Err(error!(
            SqlState::DATA_CORRUPTED,
            "could not read block {block} in file \"{path}\": read only {read} of {BLCKSZ} bytes"
        )),
    }
}

/// Writes a block that exists. With `skip_fsync` the caller sees to it that it reaches the disk. C: `mdwrite`.
///
/// # Errors
/// `could not write block`.
#[inline]
pub fn write(
    node: RelFileNode,
    fork: ForkNumber,
    block: BlockNumber,
    page: &Page,
    skip_fsync: bool,
) -> Result<()> {
    let file = segment_of(node, fork, block, Missing::Fail)?;
    file.write_at(page.bytes(), offset_of(block), WaitEvent::DATA_FILE_WRITE).map_err(|e| {
        let path = file.path().display();
        error!(
            sqlstate_for_file_access(&e),
            "could not write block {block} in file \"{path}\": {}",
            errno_text(&e)
        )
    })?;
    if skip_fsync { Ok(()) } else { register_dirty(node, fork, block / RELSEG_SIZE, &file) }
}

/// Adds a block at the end, or, with a gap of zeros, beyond it. C: `mdextend`.
///
/// # Errors
/// `could not extend file`.
pub fn extend(
    node: RelFileNode,
    fork: ForkNumber,
    block: BlockNumber,
    page: &Page,
    skip_fsync: bool,
) -> Result<()> {
    check_size(node, fork, block)?;
    let file = segment_of(node, fork, block, Missing::Create)?;
    file.write_at(page.bytes(), offset_of(block), WaitEvent::DATA_FILE_EXTEND)
        .map_err(|e| extend_failed(&file, &e))?;
    note_extended(node, fork, block, 1);
    if skip_fsync { Ok(()) } else { register_dirty(node, fork, block / RELSEG_SIZE, &file) }
}

/// Keeps the noted length right if it was the end that grew.
#[inline]
fn note_extended(node: RelFileNode, fork: ForkNumber, block: BlockNumber, count: u32) {
    if in_redo() {
        let at_end = segments::noted_blocks(node, fork) == Some(block);
        segments::note_blocks(node, fork, at_end.then_some(block + count));
    }
}

fn check_size(node: RelFileNode, fork: ForkNumber, block: BlockNumber) -> Result<()> {
    if block == INVALID_BLOCK {
        let path = node.path(fork);
        return Err(error!(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "cannot extend file \"{path}\" beyond {INVALID_BLOCK} blocks"
        ));
    }
    Ok(())
}

fn extend_failed(file: &File, e: &io::Error) -> PgError {
    let path = file.path().display();
    error!(sqlstate_for_file_access(e), "could not extend file \"{path}\": {}", errno_text(e))
        .hint("Check free disk space.")
}

/// Adds `count` blocks of zeros from `block` on, which is the end. C: `mdzeroextend` of later versions.
///
/// # Errors
/// `could not extend file`.
pub fn zero_extend(node: RelFileNode, fork: ForkNumber, block: BlockNumber, count: u32) -> Result<()> {
    const ZEROS: [u8; BLCKSZ] = [0; BLCKSZ];
    let (mut block, mut left) = (block, count);
    while left > 0 {
        check_size(node, fork, block.saturating_add(left - 1))?;
        let here = left.min(RELSEG_SIZE - block % RELSEG_SIZE);
        let file = segment_of(node, fork, block, Missing::Create)?;
        let parts = vec![io::IoSlice::new(&ZEROS); here.min(128) as usize];
        let mut done = 0;
        while done < here {
            let now = (here - done).min(128);
            file.writev_at(&parts[..now as usize], offset_of(block + done), WaitEvent::DATA_FILE_EXTEND)
                .map_err(|e| extend_failed(&file, &e))?;
            done += now;
        }
        note_extended(node, fork, block, here);
        register_dirty(node, fork, block / RELSEG_SIZE, &file)?;
        block += here;
        left -= here;
    }
    Ok(())
}

/// Tells the kernel that a block will be read soon. False if there is no such block. C: `mdprefetch`.
///
/// # Errors
/// `could not open file`.
pub fn prefetch(node: RelFileNode, fork: ForkNumber, block: BlockNumber) -> Result<bool> {
    if in_redo() && !exists(node, fork)? {
        return Ok(false);
    }
    let file = segment_of(node, fork, block, Missing::Fail)?;
    // Advice: a refusal changes nothing.
    let _ = file.prefetch(offset_of(block), BLCKSZ as u64, WaitEvent::DATA_FILE_PREFETCH);
    Ok(true)
}

/// Makes the kernel begin to write these blocks to disk. C: `mdwriteback`.
pub fn writeback(node: RelFileNode, fork: ForkNumber, block: BlockNumber, count: u32) {
    let (mut block, mut left) = (block, count);
    while left > 0 {
        let here = left.min(RELSEG_SIZE - block % RELSEG_SIZE);
        // The relation may be dropped or shorter by now.
        let file = match segments::get(node, fork, block / RELSEG_SIZE) {
            Some(file) => file,
            None => match file_if_there(node, fork, block / RELSEG_SIZE) {
                Some(file) => Rc::new(file),
                None => return,
            },
        };
        crate::writeback::start(&file, offset_of(block), u64::from(here) * BLCKSZ as u64);
        block += here;
        left -= here;
    }
}

fn file_if_there(node: RelFileNode, fork: ForkNumber, segment: u32) -> Option<File> {
    file::open(&segment_path(node, fork, segment), READ_WRITE).ok()
}

/// Cuts a fork to `blocks`. The segments after the new last one become empty files: others may have them open,
/// and only a checkpoint later can their names go. C: `mdtruncate`.
///
/// # Errors
/// `could not truncate file`.
pub fn truncate_fork(node: RelFileNode, fork: ForkNumber, blocks: BlockNumber) -> Result<()> {
    segments::note_blocks(node, fork, None);
    let now = ask_nblocks(node, fork)?;
    if blocks > now {
        if in_redo() {
            return Ok(());
        }
        return Err(error!(
            SqlState::INTERNAL_ERROR,
            "could not truncate file \"{}\" to {blocks} blocks: it's only {now} blocks now",
            node.path(fork)
        ));
    }
    if blocks == now {
        return Ok(());
    }
    // From the last to the first, so that a failure leaves no gap (SM1).
    let last = (now.max(1) - 1) / RELSEG_SIZE;
    let first = blocks / RELSEG_SIZE;
    for segment in (first..=last).rev() {
        let file = segment_of(node, fork, segment * RELSEG_SIZE, Missing::Fail)?;
        let start = segment * RELSEG_SIZE;
        let keep = blocks.saturating_sub(start);
        let path = file.path().display();
        if start >= blocks && segment > 0 {
            file.truncate(0, WaitEvent::DATA_FILE_TRUNCATE).map_err(|e| {
                error!(sqlstate_for_file_access(&e), "could not truncate file \"{path}\": {}", errno_text(&e))
            })?;
        } else if keep < RELSEG_SIZE {
            file.truncate(u64::from(keep) * BLCKSZ as u64, WaitEvent::DATA_FILE_TRUNCATE).map_err(|e| {
                error!(
                    sqlstate_for_file_access(&e),
                    "could not truncate file \"{path}\" to {blocks} blocks: {}",
                    errno_text(&e)
                )
            })?;
        }
        register_dirty(node, fork, segment, &file)?;
    }
    segments::close_from(node, fork, blocks.div_ceil(RELSEG_SIZE).max(1));
    Ok(())
}

/// Makes a whole fork durable at once. C: `mdimmedsync`.
///
/// # Errors
/// `could not fsync file`; PANIC unless `data_sync_retry`.
pub fn immediate_sync(node: RelFileNode, fork: ForkNumber) -> Result<()> {
    let blocks = nblocks(node, fork)?;
    // Segments emptied by a truncation must be synced too.
    let mut segment = blocks / RELSEG_SIZE;
    while let Some(file) = file_if_there(node, fork, segment + 1) {
        drop(file);
        segment += 1;
    }
    for segment in (0..=segment).rev() {
        let Some(file) =
            segments::get(node, fork, segment).or_else(|| file_if_there(node, fork, segment).map(Rc::new))
        else {
            continue;
        };
        file.sync(WaitEvent::DATA_FILE_IMMEDIATE_SYNC).map_err(|e| sync_failed(file.path(), &e))?;
    }
    Ok(())
}

fn sync_failed(path: &Path, e: &io::Error) -> PgError {
    error!(sqlstate_for_file_access(e), "could not fsync file \"{}\": {}", path.display(), errno_text(e))
        .with_severity(file::data_sync_severity(Severity::Error))
}

/// Sees to it that the segment reaches the disk by the next checkpoint. C: `register_dirty_segment`.
fn register_dirty(node: RelFileNode, fork: ForkNumber, segment: u32, file: &File) -> Result<()> {
    if sync::register(Request::Sync, SyncTag::relation(node, fork, segment), false) {
        return Ok(());
    }
    ereport!(Debug1, "could not forward fsync request because request queue is full");
    file.sync(WaitEvent::DATA_FILE_SYNC).map_err(|e| sync_failed(file.path(), &e))
}

/// Syncs a segment on behalf of whoever registered it. C: `mdsyncfiletag`.
pub(crate) fn sync_segment(node: RelFileNode, fork: ForkNumber, segment: u32) -> io::Result<()> {
    match segments::get(node, fork, segment) {
        Some(file) => file.sync(WaitEvent::DATA_FILE_SYNC),
        None => file::open(&segment_path(node, fork, segment), READ_WRITE)?.sync(WaitEvent::DATA_FILE_SYNC),
    }
}

/// Removes the files of dropped relations. C: `mdunlink`.
pub(super) fn unlink_files(nodes: &[RelFileNode], is_redo: bool) {
    for node in nodes {
        release(*node);
        for fork in ForkNumber::ALL {
            unlink_fork(*node, fork, is_redo);
        }
    }
}

/// C: `mdunlinkfork`.
fn unlink_fork(node: RelFileNode, fork: ForkNumber, is_redo: bool) {
    let path = segment_path(node, fork, 0);
    let there = empty(&path);
    if is_redo || fork != ForkNumber::Main {
        sync::register(Request::Forget, SyncTag::relation(node, fork, 0), true);
        if there {
            remove(&path);
        }
    } else if there {
        sync::register(Request::Unlink, SyncTag::relation(node, fork, 0), true); // SM3
    }
    if !there {
        return;
    }
    for segment in 1.. {
        let path = segment_path(node, fork, segment);
        if !empty(&path) {
            break;
        }
        sync::register(Request::Forget, SyncTag::relation(node, fork, segment), true);
        remove(&path);
    }
}

/// Gives the disk space back even while others have the file open. False if there is no such file.
/// C: `do_truncate`.
fn empty(path: &Path) -> bool {
    let cut = file::open(path, READ_WRITE).and_then(|file| file.truncate(0, WaitEvent::DATA_FILE_TRUNCATE));
    match cut {
        Ok(()) => true,
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        Err(e) => {
            ereport!(Warning, "could not truncate file \"{}\": {}", path.display(), errno_text(&e));
            true
        }
    }
}

fn remove(path: &Path) {
    match file::unlink(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            ereport!(Warning, "could not remove file \"{}\": {}", path.display(), errno_text(&e));
        }
        _ => {}
    }
}

/// Closes this process's files of a relation; they open again when used. C: `smgrclose`.
pub fn release(node: RelFileNode) {
    segments::close(node);
}

/// Closes all of this process's relation files. C: `smgrcloseall`.
pub fn close_all() {
    segments::close_all();
}
