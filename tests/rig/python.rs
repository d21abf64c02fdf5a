//! Python programs with the official clients, in a virtual environment made once.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ground, process, services};

/// Runs a program of `tests/clients` with arguments; what it prints.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(program);
    let output = Command::new(environment()?.join("bin/python"))
        .args(["-W", "ignore"])
        .arg(file)
        .args(arguments)
        .env_remove("PYTHONPATH")
        .output()
        .map_err(|error| format!("python: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} failed: {}", process::tail(&errors)))
}

/// What the scanner sslyze finds out about TLS on a port of 127.0.0.1.
pub(crate) fn scan(port: u16) -> Result<serde_json::Value, String> {
    let home = with_packages("sslyze", &["sslyze==6.3.1"])?;
    let output = Command::new(home.join("bin/python"))
        .args(["-m", "sslyze", "--json_out=-", &format!("127.0.0.1:{port}")])
        .env_remove("PYTHONPATH")
        .output()
        .map_err(|error| format!("sslyze: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    // Its verdict by a profile stands behind the JSON.
    let json = printed.find('{').map_or("", |start| &printed[start..]);
    let mut values = serde_json::Deserializer::from_str(json).into_iter();
    let errors = String::from_utf8_lossy(&output.stderr);
    values
        .next()
        .and_then(Result::ok)
        .ok_or_else(|| format!("sslyze printed no JSON: {}", process::tail(&errors)))
}

fn environment() -> Result<PathBuf, String> {
    with_packages("venv", &PACKAGES)
}

fn with_packages(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let home = ground::home().join(name);
    ground::once(&home, |home| {
        let python = services::program("python3", "apt-get install python3-venv")?;
        step(Command::new(python).args(["-m", "venv"]).arg(home), "apt-get install python3-venv")?;
        step(
            Command::new(home.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .args(packages),
            "pip could not install the clients",
        )
    })?;
    Ok(home)
}

fn step(command: &mut Command, hint: &str) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("python3: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("python3: {hint}: {}", process::tail(&errors)))
}

const PACKAGES: [&str; 4] =
    ["opensearch-py==3.2.0", "elasticsearch==7.10.1", "urllib3<3", "h11==0.16.0"];
