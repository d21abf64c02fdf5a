//! `tapline tune`: its flags, and what it prints.

use std::{
    io::{Write as _, stdout},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::{
    observe::{ExitCode, Failure},
    sys::{cpu::CpuList, tree::Tree},
    tune::{self, Change, Options, Outcome, Setting, Tuner},
};

/// Set this host right for tapline: kernel settings, interrupts, processors.
///
/// All of it lasts until the next start of the host, and --revert brings back exactly what was there before; the unit
/// tapline-tune.service applies it at every start. Exit codes: 0 done, 1 some settings could not be made, 78 not root.
#[derive(Debug, Args)]
// One of three of them, as the group says.
#[allow(clippy::struct_excessive_bools)]
#[command(group(clap::ArgGroup::new("action").required(true).args(["what", "dry_run", "apply", "revert"])))]
pub(super) struct Arguments {
    /// `list` says what each tuner does and whether it can do it here
    #[arg(value_enum, value_name = "list")]
    what: Option<What>,

    /// Show what --apply would change, with the commands that do the same by hand
    #[arg(long)]
    dry_run: bool,

    /// Change it, and remember what was there
    #[arg(long)]
    apply: bool,

    /// Bring back what was there before the first --apply
    #[arg(long)]
    revert: bool,

    /// Only these tuners, as sysctl,irq-affinity
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,

    /// Processors of the workers, as capture's --cpus [default: all but the last]
    #[arg(long, env = "TAPLINE_CAPTURE_CPUS", value_name = "LIST")]
    cpus: Option<CpuList>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// The host is what lies below this directory
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    List,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let tree = Tree::below(&arguments.root);
    let options = Options { workers: arguments.cpus.clone(), only: arguments.only.clone() };
    let tuners = tune::plan(&tree, &options).map_err(|why| Failure::new(ExitCode::Usage, why))?;
    if arguments.revert {
        let changes = tune::revert(&tree, &arguments.only).map_err(Failure::configuration)?;
        return report(
            &changes,
            arguments.json,
            "nothing to bring back: nothing was applied since the host was started",
        );
    }
    if arguments.apply {
        let changes = tune::apply(&tree, &tuners).map_err(Failure::configuration)?;
        return report(&changes, arguments.json, "nothing to change: the host is as wanted");
    }
    // A reader that has gone away is no failure.
    let _ = match (arguments.json, arguments.dry_run) {
        (true, _) => print_json(&tuners),
        (_, true) => print_plan(&tuners),
        _ => print_list(&tuners),
    };
    Ok(())
}

fn print_list(tuners: &[Tuner]) -> std::io::Result<()> {
    let mut out = stdout().lock();
    for tuner in tuners {
        let state = match (&tuner.unsupported, tuner.pending().count()) {
            (Some(why), _) => format!("not here: {why}"),
            (None, _) if !tuner.advice.is_empty() => "see --dry-run".into(),
            (None, 0) => "as wanted".into(),
            (None, pending) => format!("{pending} of {} settings to change", tuner.settings.len()),
        };
        writeln!(out, "{:13}  {}\n{:13}  {state}", tuner.name, tuner.purpose, "")?;
    }
    Ok(())
}

fn print_plan(tuners: &[Tuner]) -> std::io::Result<()> {
    let mut out = stdout().lock();
    let mut pending = 0;
    for tuner in tuners {
        if let Some(why) = &tuner.unsupported {
            writeln!(out, "# {}: not here: {why}", tuner.name)?;
            continue;
        }
        writeln!(out, "# {}: {}", tuner.name, tuner.purpose)?;
        for setting in &tuner.settings {
            let Setting { name, now, wanted, reason, .. } = setting;
            let now = now.as_deref().unwrap_or("(not there)");
            if setting.fits {
                writeln!(out, "#   {name} = {now}: as wanted")?;
                continue;
            }
            pending += 1;
            writeln!(out, "#   {name} = {now}, wanted {}: {reason}", one_line(wanted))?;
            writeln!(out, "{}", by_hand(setting))?;
        }
        tuner.advice.iter().try_for_each(|advice| writeln!(out, "#   {advice}"))?;
    }
    match pending {
        0 => writeln!(out, "# nothing to change"),
        _ => writeln!(out, "# {pending} settings to change: sudo tapline tune --apply"),
    }
}

/// The command that does the same.
fn by_hand(setting: &Setting) -> String {
    let Setting { name, file, wanted, .. } = setting;
    if file.starts_with("proc/sys/") {
        return format!("sysctl -w {name}='{wanted}'");
    }
    if setting.ours {
        return format!("install -D -m 0644 /dev/stdin /{file} <<'EOF'\n{wanted}\nEOF");
    }
    format!("echo {wanted} > /{file}")
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ")
}

fn print_json(tuners: &[Tuner]) -> std::io::Result<()> {
    let setting = |setting: &Setting| {
        json!({
            "name": setting.name, "file": format!("/{}", setting.file), "now": setting.now,
            "wanted": setting.wanted, "fits": setting.fits, "reason": setting.reason,
        })
    };
    let tuner = |tuner: &Tuner| {
        json!({
            "tuner": tuner.name, "purpose": tuner.purpose, "supported": tuner.unsupported.is_none(),
            "reason": tuner.unsupported, "advice": tuner.advice,
            "settings": tuner.settings.iter().map(setting).collect::<Vec<_>>(),
        })
    };
    print(&tuners.iter().map(tuner).collect())
}

fn print(value: &Value) -> std::io::Result<()> {
    let mut out = stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

fn report(changes: &[Change], as_json: bool, none: &str) -> Result<(), Failure> {
    let _ =
        if as_json { print(&changes.iter().map(to_json).collect()) } else { tell(changes, none) };
    let failed = changes.iter().filter(|change| matches!(change.outcome, Outcome::Failed(_)));
    match failed.count() {
        0 => Ok(()),
        failed => Err(Failure::new(
            ExitCode::Failed,
            format!("{failed} of {} settings could not be made, as said above", changes.len()),
        )),
    }
}

fn tell(changes: &[Change], none: &str) -> std::io::Result<()> {
    let mut out = stdout().lock();
    for change in changes {
        let text = |value: &Option<String>| one_line(value.as_deref().unwrap_or("(not there)"));
        let end = match &change.outcome {
            Outcome::Done => String::new(),
            Outcome::Kept => ": not taken, the kernel places it itself".into(),
            Outcome::Failed(why) => format!(": FAILED, {why}"),
        };
        let meanwhile =
            if change.changed_meanwhile { " (changed by somebody meanwhile)" } else { "" };
        let (before, after) = (text(&change.before), text(&change.after));
        writeln!(out, "{}  {}: {before} -> {after}{meanwhile}{end}", change.tuner, change.name)?;
    }
    if changes.is_empty() { writeln!(out, "{none}") } else { Ok(()) }
}

fn to_json(change: &Change) -> Value {
    let (done, why) = match &change.outcome {
        Outcome::Done => (true, None),
        Outcome::Kept => (false, Some("the kernel places it itself")),
        Outcome::Failed(why) => (false, Some(why.as_str())),
    };
    json!({
        "tuner": change.tuner, "name": change.name, "before": change.before, "after": change.after,
        "done": done, "reason": why, "changed_meanwhile": change.changed_meanwhile,
    })
}
