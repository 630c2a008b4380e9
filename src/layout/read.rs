//! From text to a layout.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::LayoutError;
use super::hosts::Hosts;
use super::pools::Pools;
use super::scalars::{Count, Interval, Name, Span, SpanOrZero, Text, Ttl};
use super::{ClientDefaults, Layout, TimingDefaults};

/// A document as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "keys, the first of them cluster: NAME")]
struct Written {
    cluster: Text<Name>,
    #[serde(default)]
    hosts: Hosts,
    #[serde(default)]
    pools: Pools,
    #[serde(default)]
    timing: Timing,
    #[serde(default)]
    client: Client,
    #[serde(default)]
    insecure: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Timing {
    interval: Option<Text<Interval>>,
    liveness: Option<Count<1, 1000>>,
    patience: Option<Text<Span>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Client {
    pool: Option<Text<Name>>,
    wait: Option<Text<SpanOrZero>>,
    timeout: Option<Text<Span>>,
    ttl: Option<Text<Ttl>>,
}

impl From<Written> for Layout {
    fn from(written: Written) -> Self {
        let (timing, client) = (written.timing, written.client);
        Self {
            cluster: written.cluster.0,
            hosts: written.hosts.0,
            pools: written.pools.0,
            timing: TimingDefaults {
                interval: timing.interval.map(|interval| interval.0),
                liveness: timing.liveness.map(|liveness| liveness.0),
                patience: timing.patience.map(|patience| patience.0),
            },
            client: ClientDefaults {
                pool: client.pool.map(|pool| pool.0),
                wait: client.wait.map(|wait| wait.0),
                timeout: client.timeout.map(|timeout| timeout.0),
                ttl: client.ttl.map(|ttl| ttl.0),
            },
            insecure: written.insecure,
        }
    }
}

/// Reads a file's text, and gives the document of this cluster, or the only one. `file` is what messages call it.
///
/// # Errors
/// [`LayoutError`].
pub fn parse(file: &str, text: &str, cluster: Option<&str>) -> Result<Layout, LayoutError> {
    let mut layouts = parse_all(file, text)?;
    let all = layouts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let what = match cluster {
        Some(cluster) => match layouts.remove(cluster) {
            Some(layout) => return Ok(layout),
            None => format!("it has no cluster {cluster}; there are: {all}"),
        },
        None if layouts.len() > 1 => format!("it has several clusters: {all}; choose one with --cluster"),
        None => match layouts.into_values().next() {
            Some(layout) => return Ok(layout),
            None => "there is nothing in it; the least is cluster: NAME".to_owned(),
        },
    };
    Err(whole(file, what))
}

/// Reads all documents of a file's text, by cluster.
///
/// # Errors
/// [`LayoutError`].
pub(super) fn parse_all(file: &str, text: &str) -> Result<BTreeMap<String, Layout>, LayoutError> {
    let mut layouts = BTreeMap::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let layout: Layout = Written::deserialize(document)
            .map_err(|error| LayoutError::of(file, &error))?
            .into();
        check(file, text, &layout)?;
        let cluster = layout.cluster.clone();
        if layouts.insert(cluster.clone(), layout).is_some() {
            let what = format!("the cluster {cluster} is there twice: keep one document of it");
            return Err(whole(file, what));
        }
    }
    Ok(layouts)
}

fn whole(file: &str, what: String) -> LayoutError {
    LayoutError::Whole {
        file: file.to_owned(),
        what,
    }
}

/// What one key means for another.
fn check(file: &str, text: &str, layout: &Layout) -> Result<(), LayoutError> {
    let at = |needle: &str, what: String| {
        let (line, column) = place_of(text, needle);
        LayoutError::Text {
            file: file.to_owned(),
            line,
            column,
            what,
        }
    };
    if let Some(pool) = &layout.client.pool
        && !layout.pools.is_empty()
        && !layout.pools.contains_key(pool)
    {
        let all: Vec<&str> = layout.pools.keys().map(String::as_str).collect();
        return Err(at(
            pool,
            format!(
                "there is no pool {pool} for clients to ask; there are: {}",
                all.join(", ")
            ),
        ));
    }
    if let (Some(interval), Some(patience)) = (layout.timing.interval, layout.timing.patience)
        && patience < interval
    {
        let what =
            "the patience is shorter than the interval: nobody can be heard that often; give at least the interval";
        return Err(at("patience", what.to_owned()));
    }
    let open = layout.hosts.iter().find_map(|(name, host)| {
        let address = host.address.filter(|address| !address.ip().is_loopback())?;
        Some((name, address))
    });
    match open {
        Some((name, address)) if !layout.insecure => Err(at(
            &address.to_string(),
            format!(
                "host {name} would listen on {address} without encryption: write insecure: true if everybody on that network \
                 may be trusted"
            ),
        )),
        _ => Ok(()),
    }
}

/// Line and column, from 1, of the first place where this stands.
fn place_of(text: &str, needle: &str) -> (usize, usize) {
    let before = text.find(needle).map_or("", |at| &text[..at]);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}
