//! A user's jq program: compiled once, run for every request.
//!
//! Owns which filters a program may use: those that look at the clock, the environment or the terminal, or end the
//! process, are taken away, so that one log gives the same requests in every replay. Never bounds how long a program
//! runs: whoever runs it does.

use std::fmt::Write;

use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::native::{bome, run, v};
use jaq_core::{Compiler, Ctx, Error, Filter, Vars, compile};
use jaq_json::Val;

/// A compiled program.
pub(super) struct Program {
    /// What it is called in messages: a file's name or a flag.
    name: String,
    filter: Filter<JustLut<Val>>,
    /// It may look at the payload; if not, no body is ever decoded for it.
    pub reads_payload: bool,
    /// It names the payload; if not, an output without one leaves the body alone.
    pub names_payload: bool,
}

impl Program {
    /// Compiles `source`. The error names the place and what to do.
    pub(super) fn new(name: &str, source: &str) -> Result<Self, String> {
        let definitions = || {
            let own = load::parse(PRELUDE, |parser| parser.defs()).into_iter().flatten();
            jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).chain(own)
        };
        let arena = Arena::default();
        let file = File { code: source, path: () };
        let modules = Loader::new(definitions())
            .load(&arena, file)
            .map_err(|errors| load_error(name, source, errors))?;
        let allowed = |name: &str| !WITHHELD.contains(&name);
        let functions = jaq_core::funs()
            .chain(jaq_std::funs())
            .chain(jaq_json::funs())
            .filter(|(name, ..)| allowed(name));
        let withheld = WITHHELD.iter().map(|name| {
            let arguments = usize::from(*name == "halt");
            run((*name, v(arguments), |_| bome(Err(Error::str(NOT_HERE)))))
        });
        let filter = Compiler::default()
            .with_funs(functions.chain(withheld))
            .compile(modules)
            .map_err(|errors| compile_error(name, source, errors))?;
        Ok(Self {
            name: name.to_owned(),
            filter,
            reads_payload: may_read_payload(source),
            names_payload: source.contains(PAYLOAD),
        })
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The first output for `input`, `None` when there is none. The error says where and what.
    pub(super) fn run(&self, input: Val) -> Result<Option<Val>, String> {
        let context = Ctx::<JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        match self.filter.id.run((context, input)).next() {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(exception)) => {
                let why = match exception.get_err() {
                    Ok(error) => match error.into_val() {
                        Val::TStr(text) => shortened(&String::from_utf8_lossy(&text)),
                        other => shortened(&other.to_string()),
                    },
                    Err(_) => "it broke off".to_owned(),
                };
                Err(format!("{}: {why}", self.name))
            }
        }
    }
}

/// May a program see whether there is a payload? Only where every word of it is known not to look at the request as a
/// whole is the answer no.
fn may_read_payload(source: &str) -> bool {
    let bytes = source.as_bytes();
    let mut at = 0;
    let mut in_string = false;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => in_string = !in_string,
            // What `\( )` puts into a string is code.
            b'\\' if in_string && bytes.get(at) == Some(&b'(') => return true,
            b'\\' => at += 1,
            b'#' if !in_string => {
                at = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |length| at + length);
            }
            // `..`, and names made up: `."pay\u006coad"`.
            b'.' if !in_string && matches!(bytes.get(at), Some(b'.' | b'"' | b'[')) => {
                let behind_field = at > 1 && is_word(bytes[at - 2]);
                if !behind_field || bytes[at] == b'.' {
                    return true;
                }
            }
            b'[' if !in_string && takes_from_whole(&bytes[..at - 1]) => return true,
            b'@' if !in_string => return true,
            _ if is_word(byte) => {
                let start = at - 1;
                at += bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
                let word = &source[start..at];
                let is_name = start > 0 && matches!(bytes[start - 1], b'.' | b'$');
                let is_number = byte.is_ascii_digit();
                let harmless = in_string || is_name || is_number || HARMLESS.contains(&word);
                if word == PAYLOAD || !harmless {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// Does a bracket behind `before` index something that may be the whole request: `. […]`, `$request[…]`, `(.)[…]`?
fn takes_from_whole(before: &[u8]) -> bool {
    let before = before.trim_ascii_end();
    let word = before.iter().rev().take_while(|byte| is_word(**byte)).count();
    match before.last() {
        Some(b'.' | b')' | b'}') => true,
        _ => word > 0 && before[..before.len() - word].last() == Some(&b'$'),
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn load_error(name: &str, source: &str, errors: load::Errors<&str, ()>) -> String {
    let mut text = String::new();
    for (_, error) in errors {
        match error {
            load::Error::Io(files) => {
                for (path, _) in files {
                    let _ =
                        write!(text, "; module {path:?} cannot be loaded, put it into the file");
                }
            }
            load::Error::Lex(places) => {
                for (expected, at) in places {
                    let place = place(source, at);
                    let _ = match expected {
                        load::lex::Expect::Delim(open) => {
                            write!(text, "; {place}: end of {open:?} expected")
                        }
                        other => write!(text, "; {place}: {other:?} expected"),
                    };
                }
            }
            load::Error::Parse(places) => {
                for (expected, at) in places {
                    let place = place(source, at);
                    let _ = write!(text, "; {place}: {} expected", expected.as_str());
                }
            }
        }
    }
    program_error(name, &text)
}

fn compile_error(name: &str, source: &str, errors: compile::Errors<&str, ()>) -> String {
    let mut text = String::new();
    for (at, undefined) in errors.into_iter().flat_map(|(_, errors)| errors) {
        let place = place(source, at);
        let _ = write!(text, "; {place}: there is no {} {at:?}", undefined.as_str());
    }
    program_error(name, &text)
}

fn program_error(name: &str, text: &str) -> String {
    format!("{name} is no jq program{text}; mend it and try it with jq or jaq on a request object")
}

/// Where `part` stands in `source`, of which it is a slice.
fn place(source: &str, part: &str) -> String {
    let offset = (part.as_ptr() as usize).wrapping_sub(source.as_ptr() as usize);
    let before = source.get(..offset).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {line} column {column}")
}

/// An error may hold the whole request; this much of it tells enough.
fn shortened(error: &str) -> String {
    if error.len() <= ERROR_BYTES_MAX {
        return error.to_owned();
    }
    let ends = [
        error.floor_char_boundary(ERROR_BYTES_MAX / 2),
        error.ceil_char_boundary(error.len() - ERROR_BYTES_MAX / 2),
    ];
    format!("{} … {}", &error[..ends[0]], &error[ends[1]..])
}

/// Filters beyond those of jq, for names of header fields are the same in any case.
const PRELUDE: &str = r"
def header($name): ($name | ascii_downcase) as $name
  | [(.headers // {}) | to_entries[] | select((.key | ascii_downcase) == $name) | .value[]] | .[0];
def del_header($name): ($name | ascii_downcase) as $name
  | .headers |= with_entries(select((.key | ascii_downcase) != $name));
def set_header($name; $value): .headers |= . + {($name): [$value]};
";

const WITHHELD: [&str; 6] = ["now", "env", "halt", "debug_empty", "stderr_empty", "localtime"];
const NOT_HERE: &str = "now, env, localtime, halt, debug and stderr are not available: a replay \
                        makes the same requests each time";

/// Words in whose presence a program still sees no more than the fields it names.
const HARMLESS: [&str; 40] = [
    "del",
    "if",
    "then",
    "elif",
    "else",
    "end",
    "and",
    "or",
    "not",
    "as",
    "empty",
    "error",
    "select",
    "test",
    "match",
    "sub",
    "gsub",
    "startswith",
    "endswith",
    "ltrimstr",
    "rtrimstr",
    "ascii_downcase",
    "ascii_upcase",
    "split",
    "join",
    "tonumber",
    "try",
    "catch",
    "null",
    "true",
    "false",
    "any",
    "all",
    "index",
    "first",
    "header",
    "del_header",
    "set_header",
    "capture",
    "trim",
];

const PAYLOAD: &str = "payload";
const ERROR_BYTES_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    fn first(source: &str, input: &str) -> Result<Option<String>, String> {
        let input = jaq_json::read::parse_single(input.as_bytes()).expect("JSON");
        let output = Program::new("t.jq", source)?.run(input)?;
        Ok(output.map(|value| value.to_string()))
    }

    #[test]
    fn the_first_output_counts() {
        assert_eq!(first(".a, .b", r#"{"a":1,"b":2}"#), Ok(Some("1".to_owned())));
        assert_eq!(first("empty", "1"), Ok(None));
        assert!(first("error(\"no\")", "1").is_err_and(|why| why.contains("t.jq: no")));
        let numbers =
            "[1.10,1e3,123456789012345678901234567890,9007199254740993,0.1000000000000000055]";
        assert_eq!(first(".", numbers), Ok(Some(numbers.to_owned())));
    }

    #[test]
    fn the_prelude_takes_names_in_any_case() {
        let input = r#"{"headers":{"X-A":["1","2"],"B":["3"]}}"#;
        assert_eq!(first("header(\"x-a\")", input), Ok(Some("\"1\"".to_owned())));
        assert_eq!(first("header(\"c\")", input), Ok(Some("null".to_owned())));
        let rest = r#"{"headers":{"B":["3"]}}"#.to_owned();
        assert_eq!(first("del_header(\"x-A\")", input), Ok(Some(rest)));
        let set = r#"{"headers":{"X-A":["1","2"],"B":["4"]}}"#.to_owned();
        assert_eq!(first("set_header(\"B\"; \"4\")", input), Ok(Some(set)));
    }

    #[test]
    fn nothing_from_outside_gets_in() {
        for source in
            ["now", "env", "halt", "halt(3)", "debug", "stderr", "localtime", "halt_error"]
        {
            let why = first(source, "1").expect_err(source);
            assert!(why.contains("not available"), "{source}: {why}");
        }
        assert!(first("$ENV.HOME", "1").is_err());
        assert!(first("input", "1").is_err());
        assert!(first("import \"a\" as a; 1", "1").is_err());
    }

    #[test]
    fn an_error_names_its_place() {
        for (source, expected) in [
            (".a |\n nope", "line 2 column 2: there is no filter \"nope\""),
            (".a | if", "line 1"),
            ("{", "line 1 column 2: end of \"{\" expected"),
            ("$x", "there is no variable"),
        ] {
            let why = Program::new("t.jq", source).err().expect(source);
            assert!(why.starts_with("t.jq is no jq program") && why.contains(expected), "{why}");
        }
        let long = first("error(\"x\" * 5000)", "1").expect_err("an error");
        assert!(long.len() < 500, "{long}");
    }

    #[test]
    fn what_may_see_the_payload() {
        let lazy = [
            ".URI |= sub(\"^/old\"; \"/new\")",
            ".headers[\"X-A\"] = [\"1\"]",
            "del(.headers.\"X-A\")",
            "if .method == \"GET\" and (.URI | startswith(\"/a\")) then empty else . end",
            "set_header(\"A\"; \"b\") | del_header(\"c\")",
            "# payload or not\n.URI = \"/payloads\"",
            ".method as $m | select($m != \"DELETE\")",
        ];
        for source in lazy {
            assert!(!may_read_payload(source), "{source}");
        }
        let eager = [
            ".payload.inlinedJsonBody.a = 1",
            ".[\"pay\" + \"load\"]",
            ".\"pay\\u006coad\"",
            "..",
            "tojson",
            "map_values(.)",
            ". as $r | $r[\"x\"]",
            "to_entries",
            "def f: .payload; f",
            ".URI |= \"\\(now)\"",
            "getpath([\"a\"])",
            "length",
            "(.)[\"x\"]",
            ". [\"x\"]",
            "# comment\n.payload",
        ];
        for source in eager {
            assert!(may_read_payload(source), "{source}");
        }
    }

    #[test]
    fn a_program_may_move_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Program>();
    }
}
