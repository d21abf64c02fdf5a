//! The round trip on the real kernel: applied, seen by the kernel, brought back to the letter.

use std::process::Command;

use crate::rig::services::say;
use crate::rig::tapline::run;

/// Settings of the network are those of a namespace of their own, so that no other test meets them.
const ROUND_TRIP: &str = r#"
set -eu
mount -t tmpfs none /run
names="net.core.somaxconn net.ipv4.tcp_max_syn_backlog net.ipv4.tcp_migrate_req net.ipv4.ip_local_port_range \
  net.ipv4.tcp_keepalive_time net.ipv4.tcp_keepalive_intvl net.ipv4.tcp_keepalive_probes vm.swappiness fs.nr_open"
show() { for name in $names; do printf '%s=' $name; cat /proc/sys/$(echo $name | tr . /); done; }
show > /run/before
$TAPLINE tune --dry-run --only sysctl > /run/plan
show > /run/planned; cmp /run/before /run/planned
$TAPLINE tune --apply --only sysctl
show > /run/applied
grep -q '^net.ipv4.tcp_keepalive_time=60$' /run/applied
grep -q '^net.ipv4.tcp_migrate_req=1$' /run/applied
grep -q 'tcp_keepalive_time = 7200, wanted 60' /run/plan
test "$(stat -c %a /run/tapline-tune/former.json)" = 600
$TAPLINE tune --apply --only sysctl | grep -q 'nothing to change'
$TAPLINE tune --revert
show > /run/after; cmp /run/before /run/after
test ! -e /run/tapline-tune/former.json
$TAPLINE tune --revert | grep -q 'nothing to bring back'
echo came back as found
"#;

#[test]
fn apply_and_revert_leave_the_kernel_as_found() {
    let tapline = env!("CARGO_BIN_EXE_tapline");
    let shell = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-c", script]).env("TAPLINE", tapline);
        command.output()
    };
    let permitted = shell("mount -t tmpfs none /run && test -w /proc/sys/vm/swappiness");
    if !permitted.is_ok_and(|output| output.status.success()) {
        say(
            "left out: apply_and_revert_leave_the_kernel_as_found (namespaces or /proc/sys are not ours to use)",
        );
        return;
    }
    let output = shell(ROUND_TRIP).unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("came back as found"), "{out}\n{err}");
}

#[test]
fn what_is_there_is_listed_and_nothing_is_touched() {
    let host = tempfile::tempdir().unwrap();
    let root = host.path().to_string_lossy().into_owned();
    let sysctl = host.path().join("proc/sys/net/core");
    std::fs::create_dir_all(&sysctl).unwrap();
    std::fs::write(sysctl.join("somaxconn"), "128\n").unwrap();
    let list = run(&["tune", "list", "--root", &root]);
    assert_eq!(list.code, Some(0), "{}", list.stderr);
    for word in ["sysctl", "1 of 1 settings", "irq-affinity", "not here:", "nic-rings"] {
        assert!(list.stdout.contains(word), "{word:?} is not in {}", list.stdout);
    }
    let plan = run(&["tune", "--dry-run", "--json", "--root", &root]);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan[0]["settings"][0]["wanted"], "4096", "{plan:#}");
    assert_eq!(plan[0]["settings"][0]["now"], "128", "{plan:#}");
    assert_eq!(std::fs::read_to_string(sysctl.join("somaxconn")).unwrap(), "128\n");
    for (wrong, word) in [
        (vec!["tune"], "--dry-run"),
        (vec!["tune", "--apply", "--revert"], "--revert"),
        (vec!["tune", "list", "--only", "irqs"], "irq-affinity"),
    ] {
        let outcome = run(&wrong);
        assert_eq!(outcome.code, Some(64), "{wrong:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(word), "{wrong:?}: {}", outcome.stderr);
    }
}
