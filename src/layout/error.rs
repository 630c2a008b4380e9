//! What is wrong with a layout: what, where, what to try.

use std::fmt::Write as _;
use std::path::PathBuf;

/// Why there is no layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The file cannot be read.
    #[error("cannot read the layout {}: {source}; check --layout, or $ZHIT_LAYOUT", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{file}:{line}:{column}: {what}")]
    Text {
        /// The file.
        file: String,
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
        /// What, and what to try.
        what: String,
    },
    /// It is wrong as a whole.
    #[error("{file}: {what}")]
    Whole {
        /// The file.
        file: String,
        /// What, and what to try.
        what: String,
    },
}

impl LayoutError {
    /// What the reader of YAML says, in our words.
    pub(super) fn of(file: &str, error: &serde_yaml::Error) -> Self {
        let place = error.location();
        let said = error.to_string();
        // It ends with where, which stands before ours.
        let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
        let what = in_our_words(said);
        match place {
            Some(place) => Self::Text {
                file: file.to_owned(),
                line: place.line(),
                column: place.column(),
                what,
            },
            None => Self::Whole {
                file: file.to_owned(),
                what,
            },
        }
    }
}

/// Says better what serde says of keys that it does not know, of those that are missing, and of YAML itself.
fn in_our_words(said: &str) -> String {
    // `pools.render: unknown field `slot`, expected one of `handler`, `slots``
    let (path, what) = match said.split_once(": ") {
        Some((path, what)) if !path.contains([' ', '`']) => (path, what),
        _ => ("", said),
    };
    let inside = if path.is_empty() {
        String::new()
    } else {
        format!(" in {path}")
    };
    let quoted: Vec<&str> = what.split('`').skip(1).step_by(2).collect();
    if what.starts_with("unknown field")
        && let Some((unknown, known)) = quoted.split_first()
    {
        return unknown_key(unknown, known, &inside);
    }
    if what.starts_with("missing field")
        && let Some(missing) = quoted.first()
    {
        let example = if *missing == "cluster" {
            ", as cluster: NAME"
        } else {
            ""
        };
        return format!("the key \"{missing}\" is missing{inside}; add it{example}");
    }
    if what.starts_with("duplicate field")
        && let Some(twice) = quoted.first()
    {
        return format!("the key \"{twice}\" is there twice{inside}; keep one");
    }
    if what.contains("repetition limit exceeded") {
        return "its aliases stand for far more than is written here; write out what is meant".to_owned();
    }
    if what.contains("recursion limit exceeded") {
        return "it is nested too deeply; no layout needs that".to_owned();
    }
    let what = match what
        .strip_prefix("invalid type: ")
        .and_then(|what| what.split_once(", expected "))
    {
        Some((found, expected)) => format!("here is {}, where there should be {expected}", plainly(found)),
        None => of_yaml(what),
    };
    if path.is_empty() {
        what
    } else {
        format!("{path}: {what}")
    }
}

/// What serde has found, as people call it.
fn plainly(found: &str) -> String {
    match found {
        "sequence" => "a list".to_owned(),
        "map" => "a mapping".to_owned(),
        "unit value" => "nothing".to_owned(),
        other => match other.split_once(' ') {
            Some(("string", text)) => format!("the text {text}"),
            Some(("integer", number)) => format!("the number {}", number.trim_matches('`')),
            Some(("floating", rest)) => format!("the number {}", rest.trim_start_matches("point ").trim_matches('`')),
            Some(("boolean", value)) => value.trim_matches('`').to_owned(),
            _ => other.to_owned(),
        },
    }
}

/// What YAML's own grammar does not take.
fn of_yaml(what: &str) -> String {
    // `did not find expected key at line 5 column 4, while parsing a block mapping`
    let (found, context) = match what.split_once(" at line ") {
        Some((found, rest)) => (found, rest.split_once(", ").map_or("", |(_, context)| context)),
        None => (what, ""),
    };
    if found.contains("cannot start any token") {
        return format!("{found}: indent by spaces and not by tabs, and quote what begins with a special character");
    }
    if found.starts_with("did not find expected") {
        return format!("{found} {context}: check the indentation, and that each bracket and quote is closed");
    }
    what.to_owned()
}

/// How many changes a misspelt key is away from the one that was meant, at most.
const TYPOS_MAX: usize = 3;

fn unknown_key(unknown: &str, known: &[&str], inside: &str) -> String {
    let mut text = format!("unknown key \"{unknown}\"{inside}");
    let distance = |key: &&&str| strsim::damerau_levenshtein(unknown, key);
    let nearest = known.iter().min_by_key(distance);
    match nearest.filter(|key| distance(key) <= TYPOS_MAX) {
        Some(nearest) => {
            let _ = write!(text, "; did you mean \"{nearest}\"?");
        }
        None => {
            let _ = write!(text, "; there are: {}", known.join(", "));
        }
    }
    text
}
