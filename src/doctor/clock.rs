//! The wall clock, which dates every record and decides when a captured request is replayed.

use super::Finding;
use crate::sys::clock;

pub(super) fn look() -> Option<bool> {
    clock::is_synchronised()
}

pub(super) fn judge(synchronised: Option<bool>) -> Vec<Finding> {
    let check = "clock.sync";
    vec![match synchronised {
        Some(true) => Finding::ok(check, "the kernel's clock is kept right"),
        Some(false) => Finding::warn(
            check,
            "nothing keeps the clock right: records of several nodes will not fit together",
            "apt install chrony (or: systemctl enable --now systemd-timesyncd); then: chronyc tracking",
        ),
        None => Finding::warn(
            check,
            "the kernel does not say whether the clock is kept right (a seccomp filter?)",
            "see on the host: timedatectl, or: chronyc tracking",
        ),
    }]
}
