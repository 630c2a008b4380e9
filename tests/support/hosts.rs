//! Several hosts of one cluster on this machine: each its own runtime directory and its own address of loopback.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::cluster::{Host, eventually};

/// Where brokers listen, each at an address of its own.
const PORT: u16 = 7420;

/// A cluster.
pub(crate) struct Cluster {
    pub(crate) hosts: Vec<Host>,
    pub(crate) layout: PathBuf,
    #[expect(dead_code, reason = "removed when this is dropped")]
    dir: TempDir,
}

/// Addresses of loopback that no other test has.
pub(crate) fn addresses(names: &[&str]) -> Vec<String> {
    static CLUSTERS: AtomicU32 = AtomicU32::new(0);
    let (pid, cluster) = (std::process::id(), CLUSTERS.fetch_add(1, Ordering::Relaxed));
    let own = |at: usize| {
        let last = cluster as usize * 8 + at + 1;
        format!("127.{}.{}.{last}:{PORT}", 1 + pid / 250 % 250, 1 + pid % 250)
    };
    (0..names.len()).map(own).collect()
}

/// Each slot may have a port of its own for clients of other hosts.
pub(crate) fn layout(names: &[&str], addresses: &[String]) -> String {
    let hosts = names.iter().zip(addresses);
    let hosts: Vec<String> = hosts
        .map(|(name, address)| format!("  {name}: {{address: \"{address}\", direct_ports: 7430-7449}}\n"))
        .collect();
    let hosts = hosts.concat();
    format!("cluster: default\nhosts:\n{hosts}timing: {{interval: 100ms, patience: 1s}}\n")
}

/// What a host's broker that was elected has said.
pub(crate) fn log(host: &Host) -> String {
    fs::read_to_string(host.runtime_dir().join("broker.log")).unwrap_or_default()
}

impl Cluster {
    /// Hosts of these names, where nothing runs.
    pub(crate) fn new(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("layout.yaml");
        fs::write(&path, layout(names, &addresses(names))).expect("a layout");
        let hosts = names.iter().map(|name| Host::of_cluster(name, &path, None));
        Self {
            hosts: hosts.collect(),
            layout: path,
            dir,
        }
    }

    pub(crate) fn wait_for_all_to_meet(&self) {
        let count = self.hosts.len();
        for host in &self.hosts {
            eventually("all hosts to meet", || {
                (log(host).matches(" is there (term ").count() >= count - 1).then_some(())
            });
        }
    }

    pub(crate) fn stop(self) {
        self.hosts.into_iter().for_each(Host::stop);
    }
}
