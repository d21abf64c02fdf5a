//! The four file operations whose failure the writer must survive, behind a trait so that tests
//! can make them fail.
//!
//! Owns the loop that turns short and interrupted writes into whole ones. Never decides what an
//! error means.

use std::fs::File;
use std::io::{self, IoSlice};

use rustix::fs::{FallocateFlags, fallocate};

/// The operations on the segment being written.
pub(super) trait Disk: Send {
    /// One gathering write at an offset; returns how many bytes it took.
    fn write(&mut self, file: &File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// fdatasync.
    fn sync(&mut self, file: &File) -> io::Result<()>;
    /// Cuts the file.
    fn truncate(&mut self, file: &File, bytes: u64) -> io::Result<()>;
    /// Reserves space and extends the file; `Ok(false)` where the file system cannot.
    fn allocate(&mut self, file: &File, bytes: u64) -> io::Result<bool>;
}

/// The kernel.
#[derive(Debug)]
pub(super) struct Kernel;

impl Disk for Kernel {
    fn write(&mut self, file: &File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(file, parts, offset)?)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        sync_data(file)
    }

    fn truncate(&mut self, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)
    }

    fn allocate(&mut self, file: &File, bytes: u64) -> io::Result<bool> {
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// fdatasync. Each one of this room goes through here or [`sync_all`], where tests can lose the power.
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(test)]
    if let Some(outcome) = power::sync(file) {
        return outcome;
    }
    file.sync_data()
}

/// fsync, of directories too.
pub(super) fn sync_all(file: &File) -> io::Result<()> {
    #[cfg(test)]
    if let Some(outcome) = power::sync(file) {
        return outcome;
    }
    file.sync_all()
}

/// Writes all parts from `offset` on.
pub(super) fn write_all(
    disk: &mut dyn Disk,
    file: &File,
    mut parts: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        let chunk = &parts[..parts.len().min(PARTS_PER_WRITE_MAX)];
        match disk.write(file, chunk, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => {
                offset += taken as u64;
                IoSlice::advance_slices(&mut parts, taken);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `IOV_MAX` on Linux.
const PARTS_PER_WRITE_MAX: usize = 1024;

#[cfg(test)]
pub(super) mod power {
    //! The place where a test takes over what is made durable by its thread.

    use super::{File, io};
    use std::cell::RefCell;

    type Hook = Box<dyn FnMut(&File) -> io::Result<()>>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// Gives every sync of this thread to the hook instead of to the kernel.
    pub(in crate::log) fn take_over(hook: Option<Hook>) {
        HOOK.set(hook);
    }

    pub(super) fn sync(file: &File) -> Option<io::Result<()>> {
        HOOK.with_borrow_mut(|hook| hook.as_mut().map(|hook| hook(file)))
    }
}

#[cfg(test)]
pub(super) mod faults {
    //! A disk that fails on demand.

    use super::{Disk, File, IoSlice, Kernel, io};
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    /// What the next write or sync does.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in crate::log) enum Fault {
        Short(usize),
        Interrupted,
        WriteFails(i32),
        SyncFails(i32),
        TruncateFails(i32),
        AllocateFails(i32),
    }

    /// The kernel, with a queue of faults; each is used by the first operation it concerns.
    #[derive(Debug, Clone, Default)]
    pub(in crate::log) struct Faulty {
        pub(in crate::log) queue: Arc<Mutex<VecDeque<Fault>>>,
    }

    impl Faulty {
        pub(in crate::log) fn push(&self, fault: Fault) {
            self.queue.lock().unwrap().push_back(fault);
        }

        pub(in crate::log) fn pending(&self) -> usize {
            self.queue.lock().unwrap().len()
        }

        fn take(&self, concerns: impl Fn(Fault) -> bool) -> Option<Fault> {
            let mut queue = self.queue.lock().unwrap();
            if queue.front().is_some_and(|fault| concerns(*fault)) {
                queue.pop_front()
            } else {
                None
            }
        }
    }

    impl Disk for Faulty {
        fn write(&mut self, file: &File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
            let concerns = |fault| {
                matches!(fault, Fault::Short(_) | Fault::Interrupted | Fault::WriteFails(_))
            };
            match self.take(concerns) {
                Some(Fault::Short(bytes)) => {
                    let first = parts.iter().find(|part| !part.is_empty()).expect("a part");
                    let cut = &first[..bytes.clamp(1, first.len())];
                    Kernel.write(file, &[IoSlice::new(cut)], offset)
                }
                Some(Fault::Interrupted) => Err(io::ErrorKind::Interrupted.into()),
                Some(Fault::WriteFails(code)) => Err(io::Error::from_raw_os_error(code)),
                _ => Kernel.write(file, parts, offset),
            }
        }

        fn sync(&mut self, file: &File) -> io::Result<()> {
            match self.take(|fault| matches!(fault, Fault::SyncFails(_))) {
                Some(Fault::SyncFails(code)) => Err(io::Error::from_raw_os_error(code)),
                _ => Kernel.sync(file),
            }
        }

        fn truncate(&mut self, file: &File, bytes: u64) -> io::Result<()> {
            match self.take(|fault| matches!(fault, Fault::TruncateFails(_))) {
                Some(Fault::TruncateFails(code)) => Err(io::Error::from_raw_os_error(code)),
                _ => Kernel.truncate(file, bytes),
            }
        }

        fn allocate(&mut self, file: &File, bytes: u64) -> io::Result<bool> {
            match self.take(|fault| matches!(fault, Fault::AllocateFails(_))) {
                Some(Fault::AllocateFails(code)) => Err(io::Error::from_raw_os_error(code)),
                _ => Kernel.allocate(file, bytes),
            }
        }
    }
}
