//! Are the pages that are sent what was written? Data checksums, page by page.
//!
//! Pages are read while others write them, so a checksum may be wrong without anything being wrong. Two kinds are let through:
//!
//! 1. Pages changed since the backup began (their LSN is not before its start): replay puts a full image in their place.
//! 2. Pages that are right when they are read again: we had met a write half-way.
//!
//! C counterpart: the middle of `sendFile` in replication/basebackup.c.

use std::path::Path;

use common::{BlockNumber, Lsn, RELSEG_SIZE, SqlState};
use elog::{Result, ereport, error};
use page::Page;

/// So many failures of one file are reported one by one.
const REPORTED_MAX: u64 = 5;

/// One file's check.
pub(crate) struct Verifier<'a> {
    path: &'a Path,
    /// Block number of the file's first page in its relation.
    first_block: BlockNumber,
    /// The next page, counted within the file.
    next: BlockNumber,
    start_lsn: Lsn,
    failures: u64,
    /// See [`Verifier::give_up`].
    given_up: bool,
}

impl<'a> Verifier<'a> {
    /// For a file whose name ends with its segment's number, if that is not 0.
    ///
    /// # Errors
    /// XX000 if what stands there is no such number.
    pub(crate) fn new(path: &'a Path, start_lsn: Lsn) -> Result<Verifier<'a>> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let segment = match name.split_once('.') {
            None => 0,
            Some((_, digits)) => match leading_number(digits) {
                0 => {
                    let text = format!("invalid segment number 0 in file \"{name}\"");
                    return Err(error!(SqlState::INTERNAL_ERROR, "{text}"));
                }
                number => number,
            },
        };
        let first_block = segment.wrapping_mul(RELSEG_SIZE);
        Ok(Verifier { path, first_block, next: 0, start_lsn, failures: 0, given_up: false })
    }

    /// Checks the next pages of the file. `read_again` reads one of them anew; false if the file ends before it by now. Returns how
    /// many pages there still are.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn check(
        &mut self,
        pages: &mut [Page],
        mut read_again: impl FnMut(usize, &mut Page) -> Result<bool>,
    ) -> Result<usize> {
        for (index, page) in pages.iter_mut().enumerate() {
            if self.wrong_checksum(page).is_some() {
                if !read_again(index, page)? {
                    return Ok(index);
                }
                if let Some(computed) = self.wrong_checksum(page) {
                    self.report(computed, page.checksum());
                }
            }
            self.next += 1;
        }
        Ok(pages.len())
    }

    /// What it should be, if that is not what the page says.
    fn wrong_checksum(&self, page: &Page) -> Option<u16> {
        if page.is_new() || page.lsn() >= self.start_lsn {
            return None;
        }
        let computed = page.compute_checksum(self.first_block.wrapping_add(self.next));
        (computed != page.checksum()).then_some(computed)
    }

    fn report(&mut self, computed: u16, stored: u16) {
        self.failures += 1;
        let path = self.path.display();
        if self.failures <= REPORTED_MAX {
            ereport!(
                Warning,
                "checksum verification failed in file \"{path}\", block {}: calculated {computed:X} but expected \
                 {stored:X}",
                self.next
            );
        }
        if self.failures == REPORTED_MAX {
            ereport!(
                Warning,
                "further checksum verification failures in file \"{path}\" will not be reported"
            );
        }
    }

    /// It cannot be checked to its end: a page is not whole. What was found until then counts.
    pub(crate) fn give_up(&mut self, bytes_read: usize) {
        self.given_up = true;
        ereport!(
            Warning,
            "could not verify checksum in file \"{}\", block {}: read buffer size {bytes_read} and page size {} differ",
            self.path.display(),
            self.next,
            common::BLCKSZ
        );
    }

    /// Are the pages that come next looked at?
    pub(crate) fn goes_on(&self) -> bool {
        !self.given_up
    }

    /// How many were wrong, summed up in a WARNING.
    pub(crate) fn finish(&self) -> u64 {
        if self.failures > 0 {
            let (path, count) = (self.path.display(), self.failures);
            let s = if count == 1 { "" } else { "s" };
            ereport!(Warning, "file \"{path}\" has a total of {count} checksum verification failure{s}");
        }
        self.failures
    }
}

/// C: `atoi`.
fn leading_number(text: &str) -> u32 {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Lsn = Lsn(0x2000);

    fn page(lsn: u64, block: BlockNumber) -> Page {
        let mut page = (*Page::zeroed()).clone();
        page.init(0);
        page.set_lsn(Lsn(lsn));
        page.set_checksum(block);
        page
    }

    /// Checks pages of `path`; a page that is read again becomes `again`, or the file has ended.
    #[track_caller]
    fn check(path: &str, pages: &mut [Page], again: Option<&Page>, expected: (usize, u64)) {
        let mut verifier = Verifier::new(path.as_ref(), START).unwrap();
        let left = verifier.check(pages, |_, page| {
            if let Some(again) = again {
                *page = again.clone();
            }
            Ok(again.is_some())
        });
        assert_eq!((left.unwrap(), verifier.finish()), expected);
    }

    #[test]
    fn right_pages() {
        let new = (*Page::zeroed()).clone();
        check("./base/5/1", &mut [page(1, 0), new, page(1, 2)], None, (3, 0));
        check("./base/5/1.2", &mut [page(1, 2 * RELSEG_SIZE)], None, (1, 0));
    }

    #[test]
    fn a_changed_page_is_skipped_whatever_it_says() {
        check("./base/5/1", &mut [page(START.0, 99)], None, (1, 0));
    }

    #[test]
    fn a_torn_page_is_right_the_second_time() {
        check("./base/5/1", &mut [page(1, 99)], Some(&page(1, 0)), (1, 0));
        check("./base/5/1", &mut [page(1, 99)], Some(&page(START.0, 99)), (1, 0));
    }

    #[test]
    fn wrong_pages_are_counted() {
        let wrong = page(1, 99);
        check("./base/5/1", &mut vec![wrong.clone(); 7], Some(&wrong), (7, 7));
    }

    /// Pages before the one that is not whole have been looked at.
    #[test]
    fn what_was_wrong_before_giving_up_counts() {
        let wrong = page(1, 99);
        let mut verifier = Verifier::new("./base/5/1".as_ref(), START).unwrap();
        let read_again = |_, page: &mut Page| {
            *page = wrong.clone();
            Ok(true)
        };
        verifier.check(&mut [wrong.clone()], read_again).unwrap();
        assert!(verifier.goes_on());
        verifier.give_up(100);
        assert!(!verifier.goes_on());
        assert_eq!(verifier.finish(), 1);
    }

    #[test]
    fn the_file_ends_while_we_look() {
        check("./base/5/1", &mut [page(1, 0), page(1, 99), page(1, 2)], None, (1, 0));
    }

    #[test]
    fn segment_numbers() {
        let error = Verifier::new("./base/5/1.x".as_ref(), START).err().unwrap();
        assert_eq!(error.message, "invalid segment number 0 in file \"1.x\"");
    }
}
