//! Start-up check: can this process have the rings it needs, and if not, why and what to do.

use std::{fs, io};

use io_uring::IoUring;

use super::{Options, Uring, uring};

/// Why no ring can be had, with the mend.
#[derive(Debug)]
pub struct Unavailable {
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

/// Creates a ring of the size that a worker will use and drops it again.
pub fn check(options: Options) -> Result<(), Unavailable> {
    let plain = IoUring::new(8).map_err(|error| explain(&error))?;
    match uring::missing_operations(&plain) {
        Ok(missing) if missing.is_empty() => {}
        Ok(missing) => {
            return Err(Unavailable {
                what: format!("this kernel's io_uring lacks: {}", missing.join(", ")),
                fix: format!("use Linux 6.1 or newer (this is {})", kernel()),
            });
        }
        Err(error) => return Err(explain(&error)),
    }
    Uring::new(options).map(drop).map_err(|error| explain(&error))
}

fn explain(error: &io::Error) -> Unavailable {
    let setting = |name: &str| {
        fs::read_to_string(format!("/proc/sys/kernel/{name}")).map(|text| text.trim().to_owned())
    };
    match (error.raw_os_error(), setting("io_uring_disabled").as_deref()) {
        (_, Ok("2")) => Unavailable {
            what: "io_uring is switched off on this host (kernel.io_uring_disabled = 2)".into(),
            fix: "run: sysctl -w kernel.io_uring_disabled=0".into(),
        },
        (Some(libc::EPERM), Ok("1")) => Unavailable {
            what: "io_uring is limited to one group on this host (kernel.io_uring_disabled = 1)".into(),
            fix: format!(
                "add the user that runs tapline to group id {} (kernel.io_uring_group), or run: \
                 sysctl -w kernel.io_uring_disabled=0",
                setting("io_uring_group").unwrap_or_else(|_| "?".into())
            ),
        },
        (Some(libc::EPERM | libc::EACCES), _) => Unavailable {
            what: "io_uring is denied to this process, most likely by a seccomp filter".into(),
            fix: "in a container, run with a seccomp profile that allows io_uring_setup, \
                  io_uring_enter and io_uring_register; under systemd, with SystemCallFilter=@aio"
                .into(),
        },
        (Some(libc::ENOSYS), _) => Unavailable {
            what: format!("this kernel has no io_uring ({})", kernel()),
            fix: "use Linux 6.1 or newer with CONFIG_IO_URING".into(),
        },
        (Some(libc::ENOMEM), _) => Unavailable {
            what: "not enough lockable memory for the rings (RLIMIT_MEMLOCK)".into(),
            fix: "raise the limit to at least 8 MiB: ulimit -l 8192 (in KiB), or LimitMEMLOCK=infinity in the unit"
                .into(),
        },
        (Some(libc::EINVAL), _) => Unavailable {
            what: format!("this kernel's io_uring is too old ({})", kernel()),
            fix: "use Linux 6.1 or newer".into(),
        },
        _ => Unavailable {
            what: format!("io_uring cannot be set up: {error}"),
            fix: "run tapline under strace -f -e io_uring_setup,io_uring_register to see which call fails".into(),
        },
    }
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}
