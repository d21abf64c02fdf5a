//! `tuning/faults.md` names the tests that show what happens under each fault: they must be there.

use std::fs;
use std::path::Path;

/// Every `file::test` that a text names.
fn named(text: &str) -> Vec<(&str, &str)> {
    text.split('`')
        .filter_map(|word| word.split_once(".rs::").map(|_| word))
        .filter_map(|word| {
            let (file, test) = word.split_once("::")?;
            (!test.contains(' ')).then_some((file, test))
        })
        .collect()
}

/// Rows of the tables that name neither a test nor that there is none.
fn silent(text: &str) -> Vec<&str> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault"));
    rows.filter(|row| named(row).is_empty() && !row.contains("not shown yet")).collect()
}

#[test]
fn every_test_that_the_table_of_faults_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("tuning/faults.md")).expect("the page is there");
    let all = named(&text);
    assert!(all.len() > 40, "only {} tests are found in the page", all.len());
    let missing: Vec<_> = all
        .iter()
        .filter(|(file, test)| {
            let source = fs::read_to_string(root.join(file)).unwrap_or_default();
            !source.contains(&format!("fn {test}("))
        })
        .collect();
    assert!(missing.is_empty(), "not there: {missing:?}");
    assert_eq!(silent(&text), Vec::<&str>::new(), "rows that say nothing");
}

#[test]
fn the_check_of_the_table_finds_what_it_is_for() {
    let text = "| a | `tests/a.rs::one`, `src/b.rs::two` | 3 |\n| b | not shown yet | |\n| c | |";
    assert_eq!(named(text), [("tests/a.rs", "one"), ("src/b.rs", "two")]);
    assert_eq!(silent(text), ["| c | |"]);
}
