use std::io::Write;

use super::*;
use crate::cli;

/// The command line that clap gets for `tapline capture` (or replay).
fn assembled(line: &[&str], environment: &[(&str, &str)]) -> Result<Assembled, String> {
    let command = cli::command();
    let (subcommand, rest) = line.split_first().unwrap();
    let subcommand = command.find_subcommand(subcommand).unwrap();
    let get = |name: &str| {
        environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    let given = rest.iter().map(OsString::from).collect();
    assemble(subcommand, &cli::others(&command, subcommand), given, &get)
        .map_err(|failure| failure.to_string())
}

fn tokens(assembled: &Assembled) -> Vec<&str> {
    assembled.tokens.iter().map(|token| token.to_str().unwrap()).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn our_own_flags_stay_as_they_are() {
    let line = ["capture", "--source", "http://a", "--listen=127.0.0.1:1", "--no-capture"];
    let assembled = assembled(&line, &[]).unwrap();
    assert_eq!(tokens(&assembled), &line[1..]);
    assert!(assembled.origins.is_empty() && assembled.notes.is_empty());
}

#[test]
fn a_command_line_of_the_reference_is_one_of_ours_in_plaintext() {
    let line = [
        "capture",
        "--destinationUri",
        "http://es:9200",
        "--listenPort",
        "9200",
        "--numThreads",
        "0",
        "--kafkaConnection",
        "k:9092",
        "--suppressCaptureForMethod",
        "",
    ];
    let assembled = assembled(&line, &[]).unwrap();
    assert_eq!(
        tokens(&assembled),
        ["--tls=off", "--source=http://es:9200", "--listen=0.0.0.0:9200", "--kafka-brokers=k:9092"]
    );
    assert!(assembled.notes.iter().any(|(event, _)| *event == "config.plaintext"));
}

#[test]
fn what_the_reference_does_and_we_do_not_is_refused_by_name() {
    for (line, words) in [
        (&["capture", "--kafkaPassword", "p"][..], ["--kafkaPassword", "--kafka-password-file"]),
        (&["replay", "--transformer-config", "{}"], ["--transformer-config", "--transform FILE"]),
        (&["replay", "--mode", "dump-http"], ["--mode", "tapline log dump"]),
        (&["capture", "--listenPort", "http"], ["--listenPort", "'http'"]),
        (&["capture", "--setHeader", "Host"], ["--setHeader", "needs 2 values"]),
    ] {
        let error = assembled(line, &[]).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    let error = assembled(&["capture"], &[("CAPTURE_PROXY_KAFKA_PASSWORD", "p")]).unwrap_err();
    assert!(error.contains("CAPTURE_PROXY_KAFKA_PASSWORD") && !error.contains("'p'"), "{error}");
}

#[test]
fn flags_win_over_variables_and_these_over_the_file() {
    let file =
        file("source = \"http://file\"\nflush-age = \"1s\"\nworkers = 3\ndrain_timeout = \"9s\"\n");
    let path = file.path().to_str().unwrap();
    let line = ["capture", "--config", path, "--workers", "1"];
    let environment = [
        ("CAPTURE_PROXY_DESTINATION_URI", "http://reference"),
        ("TAPLINE_CAPTURE_FLUSH_AGE", "2s"),
    ];
    let assembled = assembled(&line, &environment).unwrap();
    let mut expected = vec!["--source=http://reference", "--drain-timeout=9s", "--tls=off"];
    expected.extend(&line[1..]);
    assert_eq!(tokens(&assembled), expected);
    let from = |name: &str| assembled.origins[name].to_string();
    assert_eq!(from("source"), "environment CAPTURE_PROXY_DESTINATION_URI");
    assert_eq!(from("drain-timeout"), format!("{path}:4"));
}

#[test]
fn variables_of_a_kubernetes_service_are_no_settings() {
    let environment =
        [("CAPTURE_PROXY_SERVICE_HOST", "10.0.0.1"), ("CAPTURE_PROXY_PORT", "tcp://10.0.0.1:9200")];
    assert!(assembled(&["capture"], &environment).unwrap().tokens.is_empty());
    // Without a name of the reference, a password in the environment is none of ours either.
    assert!(assembled(&["replay"], &[("KAFKA_PASSWORD", "p")]).is_ok());
    let line = ["replay", "--targetUri", "http://t"];
    assert!(
        assembled(&line, &[("KAFKA_PASSWORD", "p")])
            .is_err_and(|e| e.starts_with("KAFKA_PASSWORD"))
    );
    let named = assembled(&line, &[("TARGET_USERNAME", "u")]).unwrap();
    assert_eq!(tokens(&named), ["--auth-user=u", "--target=http://t"]);
}

#[test]
fn json_and_argument_files_are_command_lines_too() {
    let json = r#"{"targetUri": "http://t", "speedupFactor": 2.0, "insecure": true}"#;
    let inline = assembled(&["replay", "---INLINE-JSON", json], &[]).unwrap();
    let mut found = tokens(&inline);
    found.sort_unstable();
    assert_eq!(found, ["--speedup=2.0", "--target-insecure", "--target=http://t"]);
    let file = file("--targetUri\nhttp://t\n");
    let at = format!("@{}", file.path().display());
    assert_eq!(tokens(&assembled(&["replay", &at], &[]).unwrap()), ["--target=http://t"]);
}

#[test]
fn the_names_of_the_workflow_have_their_meaning() {
    let capture = file("listenPort = 443\ntls = \"plaintext\"\nsource = \"http://s\"\n");
    let capture =
        assembled(&["capture", "--config", capture.path().to_str().unwrap()], &[]).unwrap();
    assert_eq!(tokens(&capture)[..3], ["--source=http://s", "--listen=0.0.0.0:443", "--tls=off"]);
    let replay = file(
        "target = \"http://t\"\n[replay]\nspeedupFactor = 1.1\n\
         nonRetryableDocExceptionTypes = [\"a\", \"b\"]\n\
         authConfig = { sigv4 = { region = \"us-east-1\" } }\n\
         dependsOnSnapshotMigrations = [{ source = \"s\", repository = \"r\", snapshot = \"n\" }]\n[capture]\nx = 1\n",
    );
    let replay = assembled(&["replay", "--config", replay.path().to_str().unwrap()], &[]).unwrap();
    assert_eq!(
        tokens(&replay)[..5],
        [
            "--target=http://t",
            "--speedup=1.1",
            "--non-retryable-doc-exception-types=a,b",
            "--sigv4=es,us-east-1",
            "--start-after=snapshot:r/n",
        ]
    );
    for (subcommand, text, words) in [
        ("capture", "podReplicas = 2\n", [":1: podReplicas", "orchestrator"]),
        ("capture", "\ninternetFacing = true\n", [":2: internetFacing", "load balancer"]),
        (
            "replay",
            "removeAuthHeader = true\nauthConfig = { sigv4 = { region = \"r\" } }\n",
            [":2:", "two ways"],
        ),
        (
            "replay",
            "dependsOnSnapshotMigrations = [{ source = \"s\", snapshot = \"n\" }]\n",
            [":1:", "repository"],
        ),
    ] {
        let file = file(text);
        let error =
            assembled(&[subcommand, "--config", file.path().to_str().unwrap()], &[]).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn unknown_keys_name_their_line_and_the_nearest_known_one() {
    for (text, words) in [
        ("source = \"http://a\"\nflsh_age = \"1s\"\n", [":2:", "did you mean 'flush-age'"]),
        ("listen_port = 1\n", [":1:", "did you mean 'listenPort'"]),
        ("completely-different-thing = 1\n", [":1:", "--help"]),
        ("workers = [1, 2]\n", [":1:", "one value"]),
        ("no-capture = \"yes\"\n", [":1:", "true or false"]),
        ("config = \"x\"\n", [":1:", "belongs on the command line"]),
        ("workers = \n", [":1:", "value"]),
    ] {
        let file = file(text);
        let error =
            assembled(&["capture", "--config", file.path().to_str().unwrap()], &[]).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
    }
    let error = assembled(&["capture", "--config", "/no/such.toml"], &[]).unwrap_err();
    assert!(error.contains("/no/such.toml"), "{error}");
}

#[test]
fn every_flag_that_stands_for_one_of_the_reference_is_known_or_said_to_be_missing() {
    let command = cli::command();
    for name in ["capture", "replay"] {
        let subcommand = command.find_subcommand(name).unwrap();
        for entry in reference::names(name).unwrap().entries {
            let (reference::Fate::Same(flag) | reference::Fate::As(flag, ..)) = entry.fate else {
                continue;
            };
            let arg = subcommand.get_arguments().find(|arg| arg.get_long() == Some(flag));
            let Some(arg) = arg else {
                assert!(MISSING.contains(&(name, flag)), "{name} --{flag} is not there");
                continue;
            };
            let switch = !arg.get_action().takes_values();
            let same = matches!(entry.fate, reference::Fate::Same(_));
            assert!(
                !same || switch == (entry.arity == 0),
                "--{flag} takes other values than {:?}",
                entry.names
            );
        }
    }
}

/// Flags that are yet to come.
const MISSING: &[(&str, &str)] = &[
    ("capture", "kafka-auth"),
    ("capture", "kafka-user"),
    ("capture", "set-header"),
    ("capture", "suppress-header"),
    ("capture", "suppress-method"),
    ("capture", "suppress-path"),
    ("capture", "suppress-method-and-path"),
    ("replay", "kafka-auth"),
    ("replay", "kafka-user"),
];
