//! A machine whose power can go: what no sync has made durable is kept, lost or torn, as the seed has it.
//!
//! The directory tree of a test is what the kernel would show; beside it stands what the disk holds. A sync of a file
//! takes over its bytes, a sync of a directory its names, and the kernel's own writing back some sectors at any time.
//! At the crash each sector and each name is the old or the new one; a rename is one change.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::log::disk::{Disk, Kernel, power};

/// What a disk writes as a whole.
const SECTOR: usize = 512;
const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// A machine; a disk of the writer too. Dropping it gives syncs back to the kernel.
#[derive(Clone)]
pub(super) struct Machine(Arc<Mutex<State>>);

struct State {
    /// The directory that stands for the whole disk.
    base: PathBuf,
    random: Random,
    inodes: HashMap<u64, Inode>,
    /// The power goes at the sync that finds this at 0.
    syncs_left: Option<u32>,
    /// Where the disk's content is laid out when the power goes.
    after: PathBuf,
    off: bool,
    preallocates: bool,
    /// Whether the next write finds no space, where that is known.
    full: Option<bool>,
}

/// Held open, so that its number is not given away again.
struct Inode {
    handle: File,
    durable: Durable,
}

enum Durable {
    Names(BTreeMap<OsString, u64>),
    Bytes(Vec<u8>),
}

impl Machine {
    /// Switches on, with everything that lies in `base` on the disk; the power goes at a sync, or at [`Self::cut`].
    pub(super) fn start(base: &Path, after: &Path, seed: u64, syncs: Option<u32>) -> Self {
        let mut random = Random(seed);
        let preallocates = random.below(4) > 0;
        let mut state = State {
            base: base.to_path_buf(),
            random,
            inodes: HashMap::new(),
            syncs_left: syncs,
            after: after.to_path_buf(),
            off: false,
            preallocates,
            full: None,
        };
        state.settle_all(base);
        let machine = Self(Arc::new(Mutex::new(state)));
        let hooked = machine.clone();
        power::take_over(Some(Box::new(move |file| hooked.state().sync(file))));
        machine
    }

    /// Every other time the power goes at one of the next syncs.
    pub(super) fn be_near_the_end(&self) {
        let mut state = self.state();
        if state.random.below(2) == 0 {
            state.syncs_left = Some(state.random.below(4) as u32);
        }
    }

    /// Whether the power has gone.
    pub(super) fn is_off(&self) -> bool {
        self.state().off
    }

    /// The power goes now, if it has not yet. From then on no sync is of use, and what the disk holds is in `after`.
    pub(super) fn cut(&self) {
        self.state().cut();
        power::take_over(None);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Disk for Machine {
    fn write(&mut self, file: &File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut state = self.state();
        let known = state.full.take();
        if known.unwrap_or_else(|| state.random.below(40) == 0) {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        let short = state.random.below(10) == 0;
        if short {
            // Mostly since the disk is full, which the next write is told.
            state.full = Some(state.random.below(3) > 0);
        }
        drop(state);
        let taken = if short {
            // Up to the end of a sector, as where space runs out within a write.
            let first = parts.iter().find(|part| !part.is_empty()).expect("a part");
            let sectors = 1 + self.state().random.below(1 + (first.len() / SECTOR) as u64);
            let bytes = sectors as usize * SECTOR - offset as usize % SECTOR;
            Kernel.write(file, &[IoSlice::new(&first[..bytes.min(first.len())])], offset)?
        } else {
            Kernel.write(file, parts, offset)?
        };
        self.state().write_back(file)?;
        Ok(taken)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        Kernel.sync(file)
    }

    fn truncate(&mut self, file: &File, bytes: u64) -> io::Result<()> {
        Kernel.truncate(file, bytes)
    }

    fn allocate(&mut self, file: &File, bytes: u64) -> io::Result<bool> {
        if self.state().preallocates { Kernel.allocate(file, bytes) } else { Ok(false) }
    }
}

impl State {
    fn sync(&mut self, file: &File) -> io::Result<()> {
        if self.syncs_left == Some(0) {
            self.cut();
        }
        if self.off {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.syncs_left = self.syncs_left.map(|left| left - 1);
        let number = self.know(file)?;
        let durable = current(file)?;
        if let Durable::Names(names) = &durable {
            // Before they are removed again.
            self.know_all(file, names)?;
        }
        self.inodes.get_mut(&number).expect("it is known").durable = durable;
        Ok(())
    }

    /// The kernel writes some of a file back of its own accord.
    fn write_back(&mut self, file: &File) -> io::Result<()> {
        if self.random.below(6) == 0 {
            let number = self.know(file)?;
            let bytes = self.torn(number)?;
            self.inodes.get_mut(&number).expect("it is known").durable = Durable::Bytes(bytes);
        }
        Ok(())
    }

    /// Everything below a directory is on the disk.
    fn settle_all(&mut self, path: &Path) {
        let file = File::open(path).unwrap();
        let durable = current(&file).unwrap();
        if let Durable::Names(names) = &durable {
            for name in names.keys() {
                self.settle_all(&path.join(name));
            }
        }
        let number = file.metadata().unwrap().ino();
        self.inodes.insert(number, Inode { handle: file, durable });
    }

    fn know(&mut self, file: &File) -> io::Result<u64> {
        let data = file.metadata()?;
        if let Entry::Vacant(entry) = self.inodes.entry(data.ino()) {
            let durable = if data.is_dir() {
                Durable::Names(BTreeMap::new())
            } else {
                Durable::Bytes(Vec::new())
            };
            // Not a duplicate: the test's locks go with its own handles.
            let handle = File::open(below(file))?;
            entry.insert(Inode { handle, durable });
        }
        Ok(data.ino())
    }

    fn know_all(&mut self, directory: &File, names: &BTreeMap<OsString, u64>) -> io::Result<()> {
        for (name, number) in names {
            if !self.inodes.contains_key(number) {
                self.know(&File::open(below(directory).join(name))?)?;
            }
        }
        Ok(())
    }

    fn cut(&mut self) {
        if !std::mem::replace(&mut self.off, true) {
            let base = File::open(&self.base).unwrap();
            let number = self.know(&base).unwrap();
            let after = self.after.clone();
            self.lay_out(number, &after);
        }
    }

    /// Makes at `path` what the disk holds of this inode.
    fn lay_out(&mut self, number: u64, path: &Path) {
        let is_dir = matches!(self.inodes[&number].durable, Durable::Names(_));
        if !is_dir {
            let bytes = self.torn(number).unwrap();
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
            return file.write_all(&bytes).unwrap();
        }
        DirBuilder::new().mode(0o700).create(path).unwrap();
        for (name, child) in self.names(number) {
            self.lay_out(child, &path.join(name));
        }
    }

    /// The names of a directory after the crash.
    fn names(&mut self, number: u64) -> BTreeMap<OsString, u64> {
        let handle = self.inodes[&number].handle.try_clone().unwrap();
        let (Durable::Names(now), Durable::Names(before)) =
            (current(&handle).unwrap(), &self.inodes[&number].durable)
        else {
            panic!("it is a directory");
        };
        let before = before.clone();
        self.know_all(&handle, &now).unwrap();
        let changed = |name: &&OsString| before.get(*name) != now.get(*name);
        let mut open: BTreeSet<&OsString> =
            before.keys().chain(now.keys()).filter(changed).collect();
        let mut names = before.clone();
        while let Some(name) = open.pop_first() {
            // What had this name and has another one now, or the reverse, was renamed.
            let other = |names: &BTreeMap<OsString, u64>, inode: Option<&u64>| {
                open.iter().copied().find(|other| inode.is_some() && names.get(*other) == inode)
            };
            let other = other(&now, before.get(name)).or_else(|| other(&before, now.get(name)));
            other.map(|other| open.remove(other));
            if self.random.below(2) == 0 {
                continue;
            }
            for name in std::iter::once(name).chain(other) {
                match now.get(name) {
                    Some(inode) => names.insert(name.clone(), *inode),
                    None => names.remove(name),
                };
            }
        }
        names
    }

    /// The bytes of a file after the crash.
    fn torn(&mut self, number: u64) -> io::Result<Vec<u8>> {
        let inode = &self.inodes[&number];
        let (Durable::Bytes(now), Durable::Bytes(before)) =
            (current(&inode.handle)?, &inode.durable)
        else {
            panic!("no file of bytes");
        };
        let mut bytes = before.clone();
        let random = &mut self.random;
        let length = match random.below(3) {
            0 => before.len(),
            1 => now.len(),
            _ if now.len() > before.len() => {
                before.len() + random.below((now.len() - before.len()) as u64) as usize
            }
            _ => now.len(),
        };
        bytes.resize(length, 0);
        // Now and then everything, or nothing; in runs, for a page is eight of them.
        let odds = [0, 1, 8, 15, 16][random.below(5) as usize];
        let run = if random.below(2) == 0 { SECTOR } else { 8 * SECTOR };
        for start in (0..length.min(now.len())).step_by(run) {
            let end = (start + run).min(length).min(now.len());
            if random.below(16) < odds {
                bytes[start..end].copy_from_slice(&now[start..end]);
            }
        }
        Ok(bytes)
    }
}

/// What the kernel shows.
fn current(file: &File) -> io::Result<Durable> {
    let data = file.metadata()?;
    if !data.is_dir() {
        let mut bytes = vec![0; data.len() as usize];
        file.read_exact_at(&mut bytes, 0)?;
        return Ok(Durable::Bytes(bytes));
    }
    let mut names = BTreeMap::new();
    for entry in fs::read_dir(below(file))? {
        let entry = entry?;
        names.insert(entry.file_name(), entry.metadata()?.ino());
    }
    Ok(Durable::Names(names))
}

fn below(directory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

/// `SplitMix64`.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
