//! A made-up host of plain files: what would be changed, and the way there and back.

use super::{Options, Outcome, Tuner, apply, plan, revert};
use crate::sys::tree::Tree;
use tempfile::TempDir;

const CLOCK: &str = "sys/devices/system/clocksource/clocksource0";

/// Eight processors, a card of eight queues, one of a single queue, irqbalance.
fn a_host() -> (TempDir, Tree) {
    let dir = TempDir::new().expect("temp dir");
    let tree = Tree::below(dir.path());
    let put = |file: &str, text: &str| tree.put(file, &format!("{text}\n"), 0o644).expect("made");
    put("proc/sys/net/core/somaxconn", "128");
    put("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999");
    put("proc/sys/fs/nr_open", "1048576");
    put("sys/devices/system/cpu/online", "0-7");
    put(&format!("{CLOCK}/current_clocksource"), "xen");
    put(&format!("{CLOCK}/available_clocksource"), "xen tsc hpet");
    for cpu in 0..8 {
        let dir = format!("sys/devices/system/cpu/cpu{cpu}/cpufreq");
        put(&format!("{dir}/scaling_governor"), "powersave");
        put(&format!("{dir}/scaling_available_governors"), "performance powersave");
    }
    let mut interrupts = String::from("           CPU0       CPU1\n");
    let mut irq = |number: u32, card: &str, name: &str, at: &str| {
        use std::fmt::Write as _;
        put(&format!("sys/class/net/{card}/device/msi_irqs/{number}"), "msix");
        put(&format!("proc/irq/{number}/smp_affinity_list"), at);
        writeln!(interrupts, " {number}:   1   0  PCI-MSI 5-edge   {name}").expect("text");
    };
    irq(30, "eth0", "ena-mgmnt@pci:0000:00:05.0", "0-7");
    for queue in 0..8 {
        irq(31 + queue, "eth0", &format!("eth0-Tx-Rx-{queue}"), "0-7");
    }
    irq(50, "eth1", "virtio1-input.0", "0-7");
    put("proc/interrupts", &interrupts);
    for queue in 0..8 {
        put(&format!("sys/class/net/eth0/queues/rx-{queue}/rps_cpus"), "00");
        put(
            &format!("sys/class/net/eth0/queues/tx-{queue}/xps_cpus"),
            &format!("{:02x}", 1 << queue),
        );
    }
    put("sys/class/net/eth1/queues/rx-0/rps_cpus", "00");
    put("sys/class/net/lo/queues/rx-0/rps_cpus", "00");
    put("usr/lib/systemd/system/irqbalance.service", "[Service]");
    (dir, tree)
}

fn tuner<'a>(all: &'a [Tuner], name: &str) -> &'a Tuner {
    all.iter().find(|tuner| tuner.name == name).expect("known")
}

#[test]
fn each_tuner_wants_what_fits_the_host() {
    let (_dir, tree) = a_host();
    let all = plan(&tree, &Options::default()).expect("planned");
    let names: Vec<_> = all.iter().map(|tuner| tuner.name).collect();
    assert_eq!(names, super::NAMES);
    let wanted = |name: &str| -> Vec<(String, String)> {
        let pending = tuner(&all, name).pending();
        pending.map(|setting| (setting.name.clone(), setting.wanted.clone())).collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        wanted("sysctl"),
        [pair("net.core.somaxconn", "4096"), pair("net.ipv4.ip_local_port_range", "10000 65000")]
    );
    let irqs = wanted("irq-affinity");
    assert_eq!(irqs.len(), 9, "the management vector stays where it is: {irqs:?}");
    assert_eq!(irqs[3], pair("eth0 interrupt 34", "3"));
    assert_eq!(irqs[8], pair("eth1 interrupt 50", "7"), "away from workers");
    assert_eq!(
        wanted("rps"),
        [pair("/sys/class/net/eth1/queues/rx-0/rps_cpus", "0000007f")],
        "one queue only, and not the loopback"
    );
    assert_eq!(wanted("xps"), [], "a queue per processor is set already");
    assert_eq!(wanted("cpu-governor").len(), 8);
    assert_eq!(wanted("clocksource")[0].1, "tsc");
    let ban = &wanted("irqbalance")[0].1;
    assert!(ban.contains("--banirq=31 ") && ban.contains("--banirq=50\""), "{ban}");
    assert!(!ban.contains("=30"), "{ban}");
    assert_eq!(tuner(&all, "nic-rings").advice.len(), 4);
}

#[test]
fn small_and_bare_hosts_have_nothing_to_turn() {
    let dir = TempDir::new().expect("temp dir");
    let all = plan(&Tree::below(dir.path()), &Options::default()).expect("planned");
    assert!(all.iter().all(|tuner| tuner.unsupported.is_some() && tuner.settings.is_empty()));
    let (_dir, tree) = a_host();
    tree.put("sys/devices/system/cpu/online", "0-1", 0o644).expect("made");
    let all = plan(&tree, &Options::default()).expect("planned");
    for name in ["irq-affinity", "rps", "irqbalance"] {
        assert!(tuner(&all, name).unsupported.as_ref().is_some_and(|why| why.contains("three")));
    }
    let workers = Some("0-7".parse().expect("a list"));
    let (_dir, tree) = a_host();
    let all = plan(&tree, &Options { workers, ..Options::default() }).expect("planned");
    assert!(
        tuner(&all, "irq-affinity").unsupported.as_ref().is_some_and(|why| why.contains("--cpus"))
    );
}

#[test]
fn apply_and_revert_leave_the_host_as_found() {
    let (dir, tree) = a_host();
    let before = picture(dir.path());
    let all = plan(&tree, &Options::default()).expect("planned");
    let changes = apply(&tree, &all).expect("applied");
    assert!(changes.iter().all(|change| change.outcome == Outcome::Done), "{changes:#?}");
    assert_eq!(tree.read("proc/sys/net/core/somaxconn").as_deref(), Some("4096"));
    assert_eq!(tree.read("proc/irq/34/smp_affinity_list").as_deref(), Some("3"));
    assert!(tree.has("run/systemd/system/irqbalance.service.d/90-tapline.conf"));
    let left = plan(&tree, &Options::default()).expect("planned");
    assert!(left.iter().all(|tuner| tuner.pending().count() == 0), "{left:#?}");
    assert_eq!(apply(&tree, &left), Ok(Vec::new()), "a second time there is nothing to do");

    let back = revert(&tree, &[]).expect("reverted");
    assert_eq!(back.len(), changes.len());
    assert!(back.iter().all(|change| change.outcome == Outcome::Done && !change.changed_meanwhile));
    assert_eq!(picture(dir.path()), before);
    assert_eq!(revert(&tree, &[]), Ok(Vec::new()));
}

#[test]
fn the_first_values_are_remembered_and_parts_can_be_taken_back() {
    let (_dir, tree) = a_host();
    let only = |name: &str| Options { only: vec![name.into()], ..Options::default() };
    let sysctl = plan(&tree, &only("sysctl")).expect("planned");
    apply(&tree, &sysctl).expect("applied");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(tree.path(super::former::FILE)).expect("there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    // Somebody undoes a part; applying again must not take that for what was there first.
    tree.set("proc/sys/net/core/somaxconn", "256").expect("set");
    apply(&tree, &plan(&tree, &only("sysctl")).expect("planned")).expect("applied");
    apply(&tree, &plan(&tree, &only("clocksource")).expect("planned")).expect("applied");
    let back = revert(&tree, &["sysctl".into()]).expect("reverted");
    assert_eq!(back.len(), 2, "{back:?}");
    assert_eq!(tree.read("proc/sys/net/core/somaxconn").as_deref(), Some("128"));
    assert_eq!(tree.read(&format!("{CLOCK}/current_clocksource")).as_deref(), Some("tsc"));
    tree.set(&format!("{CLOCK}/current_clocksource"), "hpet").expect("set");
    let back = revert(&tree, &[]).expect("reverted");
    assert!(back[0].changed_meanwhile, "{back:?}");
    assert_eq!(tree.read(&format!("{CLOCK}/current_clocksource")).as_deref(), Some("xen"));
    assert!(!tree.has(super::former::FILE));
}

#[test]
fn what_cannot_be_set_is_said_and_the_rest_is_done() {
    let (_dir, tree) = a_host();
    // A directory cannot be written to, whoever tries.
    let file = "proc/sys/net/core/somaxconn";
    let all = plan(&tree, &Options { only: vec!["sysctl".into()], ..Options::default() })
        .expect("planned");
    std::fs::remove_file(tree.path(file)).expect("removed");
    std::fs::create_dir(tree.path(file)).expect("made");
    let changes = apply(&tree, &all).expect("begun");
    assert!(matches!(&changes[0].outcome, Outcome::Failed(_)), "{changes:?}");
    assert_eq!(changes[1].outcome, Outcome::Done);
    assert!(
        plan(&tree, &Options { only: vec!["rsp".into()], ..Options::default() })
            .is_err_and(|why| why.contains("rsp") && why.contains("irq-affinity"))
    );
}

/// Every file with its text.
fn picture(root: &std::path::Path) -> Vec<(std::path::PathBuf, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let text = std::fs::read_to_string(&path).expect("text");
                found.push((path, text.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
        }
    }
    found.sort();
    found
}
