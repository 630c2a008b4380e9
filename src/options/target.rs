//! Whom a broadcast is for. Pure.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::protocol::WorkerId;

/// Whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// The pool; `None`: every pool.
    pub pool: Option<String>,
    /// Only those that one of these names; none: all.
    pub globs: Vec<Glob>,
    /// Only workers of these pools and hosts, that have the tag that was asked for; `None`: no tag was.
    pub tagged: Option<Tagged>,
}

/// What has a tag in the layout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tagged {
    /// Hosts that have it.
    pub hosts: BTreeSet<String>,
    /// Pools that have it.
    pub pools: BTreeSet<String>,
}

impl Targets {
    /// Whether workers of this host may be meant.
    pub fn reach(&self, host: &str) -> bool {
        let named = self.globs.is_empty() || self.globs.iter().any(|glob| glob.reaches(host));
        let by_host = |tagged: &Tagged| tagged.hosts.contains(host) || !tagged.pools.is_empty();
        named && self.tagged.as_ref().is_none_or(by_host)
    }

    /// Whether this worker is meant.
    pub fn take(&self, host: &str, worker: WorkerId, pool: &str) -> bool {
        let name = format!("{host}/{worker}");
        let named = self.globs.is_empty() || self.globs.iter().any(|glob| glob.matches(&name));
        let tagged = self
            .tagged
            .as_ref()
            .is_none_or(|tagged| tagged.hosts.contains(host) || tagged.pools.contains(pool));
        named && tagged && self.pool.as_deref().is_none_or(|wanted| wanted == pool)
    }
}

/// A pattern of names: `*` stands for any number of characters but `/`, `?` for one, `[1-8,12]` for a number, as reports
/// fold them. One without a slash is a host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Some,
    One,
    Number(Vec<RangeInclusive<u64>>),
    Just(char),
}

impl Glob {
    /// The patterns of a list, as `alpha/w[1-8],beta/*`.
    ///
    /// # Errors
    /// Why that is none.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        let mut inside = false;
        let parts = text.split(|c| {
            inside = (inside || c == '[') && c != ']';
            c == ',' && !inside
        });
        parts.map(Self::new).collect()
    }

    fn new(text: &str) -> Result<Self, String> {
        let whole = if text.contains('/') {
            text.to_owned()
        } else {
            format!("{text}/*")
        };
        let bad = || format!("{text:?} is no pattern of names: write it as alpha/*, */w1 or alpha/w[1-8,12]");
        if text.is_empty() {
            return Err(bad());
        }
        let mut chars = whole.chars();
        let mut parts = Vec::new();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Some,
                '?' => Part::One,
                '[' => {
                    let (set, rest) = chars.as_str().split_once(']').ok_or_else(bad)?;
                    chars = rest.chars();
                    let ranges = set.split(',').map(|range| {
                        let (first, last) = range.split_once('-').unwrap_or((range, range));
                        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                        (first <= last).then_some(first..=last)
                    });
                    Part::Number(ranges.collect::<Option<_>>().ok_or_else(bad)?)
                }
                other => Part::Just(other),
            });
        }
        Ok(Self(parts))
    }

    /// Whether it stands for this name. Takes no longer than the pattern times the name.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        // reach[i]: the pattern so far may have taken the first i characters.
        let mut reach = vec![false; name.len() + 1];
        reach[0] = true;
        for part in &self.0 {
            let mut next = vec![false; name.len() + 1];
            for at in (0..=name.len()).filter(|at| reach[*at]) {
                let rest = name.get(at..).unwrap_or_default();
                match part {
                    Part::Some => {
                        let many = rest.iter().take_while(|c| **c != '/').count();
                        next[at..=at + many].fill(true);
                    }
                    Part::One => next[(at + 1).min(name.len())] |= rest.first().is_some_and(|c| *c != '/'),
                    Part::Just(c) => next[(at + 1).min(name.len())] |= rest.first() == Some(c),
                    Part::Number(ranges) => {
                        let digits: String = rest.iter().take_while(|c| c.is_ascii_digit()).collect();
                        let fits = |number: u64| ranges.iter().any(|range| range.contains(&number));
                        next[at + digits.len()] |= digits.parse().is_ok_and(fits);
                    }
                }
            }
            reach = next;
        }
        reach.last().copied().unwrap_or(false)
    }

    /// Whether it may stand for workers of this host.
    fn reaches(&self, host: &str) -> bool {
        let slash = |part: &&Part| **part != Part::Just('/');
        let part = self.0.iter().take_while(slash).cloned();
        let part = part.chain([Part::Just('/'), Part::Some]).collect();
        Self(part).matches(&format!("{host}/w1"))
    }

    /// The host that it names, if it names just one.
    pub fn host(&self) -> Option<String> {
        let before = self.0.iter().take_while(|part| **part != Part::Just('/'));
        before
            .map(|part| match part {
                Part::Just(c) => Some(*c),
                _ => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, name: &str) -> bool {
        Glob::list(glob).unwrap().iter().any(|glob| glob.matches(name))
    }

    #[test]
    fn globs_stand_for_names() {
        for (glob, name) in [
            ("alpha", "alpha/w1"),
            ("alpha/*", "alpha/w12"),
            ("alpha/w?", "alpha/w3"),
            ("*/w1", "beta/w1"),
            ("a*a/*1", "alpha/w11"),
            ("*", "x/w1"),
            ("alpha/w[1-3,12]", "alpha/w12"),
            ("beta,alpha/w[1-3,12]", "alpha/w2"),
            ("h[1-9]", "h4/w1"),
        ] {
            assert!(matches(glob, name), "{glob} {name}");
        }
        for (glob, name) in [
            ("alpha", "alpha2/w1"),
            ("alpha/w?", "alpha/w33"),
            ("*/w1", "beta/w11"),
            ("a?/w1", "a//w1"),
            ("alpha/w[1-3,12]", "alpha/w4"),
            ("alpha/w[1-3]", "alpha/w12"),
            ("alpha/w[1-3]", "alpha/wx"),
        ] {
            assert!(!matches(glob, name), "{glob} {name}");
        }
        let long = format!("{}b/*", "*a".repeat(500));
        assert!(!matches(&long, &format!("{}/w1", "a".repeat(500))), "and soon");
        let host = |glob| Glob::new(glob).unwrap().host();
        assert_eq!(host("alpha/w*"), Some("alpha".to_owned()));
        assert_eq!(host("al*"), None);
        for bad in [
            "alpha/w[1",
            "alpha/w[]",
            "alpha/w[a-b]",
            "a/w[1-]",
            "w[1,,2]",
            "",
            "a,",
            "a/w[8-1]",
        ] {
            assert!(Glob::list(bad).unwrap_err().contains("[1-8,12]"), "{bad}");
        }
    }

    #[test]
    fn pool_names_and_tags_all_have_to_fit() {
        let tagged = Tagged {
            hosts: ["alpha".to_owned()].into(),
            pools: ["cad".to_owned()].into(),
        };
        let targets = Targets {
            pool: None,
            globs: Glob::list("*/w1").unwrap(),
            tagged: Some(tagged),
        };
        assert!(targets.take("alpha", WorkerId(1), "web"));
        assert!(targets.take("beta", WorkerId(1), "cad"));
        assert!(!targets.take("beta", WorkerId(1), "web"));
        assert!(!targets.take("alpha", WorkerId(2), "cad"));
        let one_pool = Targets {
            pool: Some("cad".to_owned()),
            ..Targets::default()
        };
        assert!(one_pool.take("x", WorkerId(9), "cad") && !one_pool.take("x", WorkerId(9), "web"));
    }
}
