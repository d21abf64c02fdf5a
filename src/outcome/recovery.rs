//! Tuple files of runs that were killed: cut behind the last whole gzip member and given their closed names.
//!
//! Never touches a file whose writer lives (its lock says so) and never reads a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::error::OutcomeError;
use super::files::{self, SetupLock};
use super::tuple_file::GROWING;

/// What was found of dead runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Files that got their closed names.
    pub files: u64,
    /// Files without a whole member, removed.
    pub empty: u64,
    /// Bytes cut off: members that were being written.
    pub cut_bytes: u64,
}

/// Takes over what dead runs left in `dir`.
pub(super) fn recover(dir: &Path) -> Result<Recovered, OutcomeError> {
    let _setup = SetupLock::take(dir)?;
    let mut recovered = Recovered::default();
    let leftover = |name: &str| name.starts_with("tuples-") && name.ends_with(".log.gz.tmp");
    for path in files::list(dir, leftover)? {
        let failed = |doing| {
            let path = path.clone();
            move |error| OutcomeError::io(&path, doing, error)
        };
        let file = match files::open_to_mend(&path) {
            Ok(file) => file,
            // Its writer closed it after it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed("opening the file of an earlier run")(error)),
        };
        if !files::try_lock(&file).map_err(failed("locking"))? {
            continue;
        }
        let bytes = file.metadata().map_err(failed("stat"))?.len();
        let good = whole_members(&file).map_err(failed("reading the file of an earlier run"))?;
        recovered.cut_bytes += bytes - good;
        if good == 0 {
            std::fs::remove_file(&path).map_err(failed("removing an empty file"))?;
            recovered.empty += 1;
            continue;
        }
        if good < bytes {
            file.set_len(good).map_err(failed("cutting the file of an earlier run"))?;
        }
        file.sync_all().map_err(failed("fsync"))?;
        let name = path.to_str().and_then(|path| path.strip_suffix(GROWING));
        let closed = name.expect("invariant: listed by its ending, as text");
        std::fs::rename(&path, closed).map_err(failed("renaming the file of an earlier run"))?;
        recovered.files += 1;
    }
    if recovered != Recovered::default() {
        files::sync_directory(dir)?;
    }
    Ok(recovered)
}

/// Length of the row of whole gzip members that the file begins with, in bytes.
fn whole_members(file: &File) -> io::Result<u64> {
    let mut input = Counting { from: BufReader::with_capacity(READ_BYTES, file), taken: 0 };
    let mut good = 0;
    let mut scratch = vec![0; READ_BYTES];
    while !input.fill_buf()?.is_empty() {
        let mut member = GzDecoder::new(&mut input);
        loop {
            match member.read(&mut scratch) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.raw_os_error().is_some() => return Err(error),
                Err(_) => return Ok(good),
            }
        }
        good = input.taken;
    }
    Ok(good)
}

/// Counts what is consumed.
struct Counting<R> {
    from: R,
    taken: u64,
}

impl<R: BufRead> Read for Counting<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.taken += read as u64;
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counting<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        self.from.consume(bytes);
    }
}

const READ_BYTES: usize = 64 << 10;
