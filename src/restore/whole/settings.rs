//! What a node's cassandra.yaml says that a restore of the whole node has to agree with.

use crate::restore::check::USUAL_CONFIGS;
use crate::{Error, Kind, Result};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use yaml_rust2::{Yaml, YamlLoader};

/// Longest file that is read, bytes; the one that Cassandra ships has some 100 KB.
const MOST: u64 = 4 << 20;

/// A node's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Settings {
    pub(super) path: PathBuf,
    pub(super) cluster_name: String,
    pub(super) partitioner: String,
    pub(super) num_tokens: Option<i64>,
    /// None where it is not set.
    pub(super) initial_token: Vec<String>,
    pub(super) disk_failure_policy: String,
    pub(super) snitch: String,
    pub(super) data_directories: Vec<PathBuf>,
    /// Of the system keyspaces alone, where they have one.
    pub(super) system_directory: Option<PathBuf>,
    /// Commit log, hints, saved caches, CDC.
    pub(super) other_directories: Vec<PathBuf>,
    pub(super) listen_address: String,
    pub(super) rpc_address: String,
    pub(super) storage_ports: [u16; 2],
    pub(super) native_port: u16,
    /// Each with its port, if it names one.
    pub(super) seeds: Vec<String>,
}

impl Settings {
    /// Reads the file that was named, or the first in a usual place.
    pub(super) fn find(named: Option<&Path>) -> Result<Self> {
        let candidates =
            named.map_or_else(|| USUAL_CONFIGS.map(PathBuf::from).to_vec(), |named| vec![named.to_owned()]);
        for path in candidates {
            match fs::File::open(&path) {
                Ok(file) => {
                    let mut text = String::new();
                    file.take(MOST)
                        .read_to_string(&mut text)
                        .map_err(|e| Error::io(format_args!("read {}", path.display()), e))?;
                    return Self::parse(&path, &text);
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && named.is_none() => {}
                Err(e) => return Err(Error::io(format_args!("read {}", path.display()), e)),
            }
        }
        Err(Error::not_found("no cassandra.yaml was found: name the one that this node starts with (--cassandra-yaml)"))
    }

    /// Directories that are empty before a first start, besides the first data directory.
    pub(super) fn others(&self) -> Vec<PathBuf> {
        self.data_directories[1..].iter().chain(&self.other_directories).cloned().collect()
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self> {
        let yaml = load(path, text)?;
        let word = |key: &str| scalar(&yaml[key]);
        let needed = |key: &str| {
            let why = format!("{} has no {key}: add it", path.display());
            word(key).ok_or_else(|| Error::new(Kind::Invalid, why))
        };
        let data_directories = match &yaml["data_file_directories"] {
            Yaml::Array(list) => list.iter().filter_map(scalar).map(PathBuf::from).collect(),
            one => scalar(one).map(PathBuf::from).into_iter().collect::<Vec<_>>(),
        };
        if data_directories.is_empty() || data_directories.iter().any(|directory| directory.is_relative()) {
            let why = format!("{} does not name data_file_directories by whole paths: add them", path.display());
            return Err(Error::new(Kind::Invalid, why));
        }
        let beside = data_directories[0].parent().unwrap_or(Path::new("/")).to_owned();
        let other = |(key, name): (&str, &str)| word(key).map_or_else(|| beside.join(name), PathBuf::from);
        let other_directories = [
            ("commitlog_directory", "commitlog"),
            ("hints_directory", "hints"),
            ("saved_caches_directory", "saved_caches"),
            ("cdc_raw_directory", "cdc_raw"),
        ];
        let port = |key: &str, default: u16| match word(key) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| Error::invalid(format!("{key} of {} is {text:?}", path.display()))),
        };
        let snitch = word("endpoint_snitch").unwrap_or_default();
        Ok(Self {
            path: path.to_owned(),
            cluster_name: needed("cluster_name")?,
            partitioner: last_of(&needed("partitioner")?).to_owned(),
            num_tokens: yaml["num_tokens"].as_i64(),
            initial_token: word("initial_token").map(|text| tokens(&text)).unwrap_or_default(),
            // Config.java: ignore, where the file does not say.
            disk_failure_policy: word("disk_failure_policy").unwrap_or_else(|| "ignore".to_owned()),
            snitch: last_of(&snitch).to_owned(),
            data_directories,
            system_directory: word("local_system_data_file_directory").map(PathBuf::from),
            other_directories: other_directories.map(other).to_vec(),
            listen_address: word("listen_address").unwrap_or_default(),
            rpc_address: word("rpc_address").unwrap_or_default(),
            storage_ports: [port("storage_port", 7000)?, port("ssl_storage_port", 7001)?],
            native_port: port("native_transport_port", 9042)?,
            seeds: seeds(&yaml["seed_provider"]),
        })
    }
}

/// The document, if the text is one that maps names to values.
pub(super) fn load(path: &Path, text: &str) -> Result<Yaml> {
    let failed =
        |why: String| Error::new(Kind::Invalid, format!("{} is no YAML of names and values{why}", path.display()));
    let mut documents = YamlLoader::load_from_str(text).map_err(|e| failed(format!(": {e}")))?;
    match documents.pop() {
        Some(yaml @ Yaml::Hash(_)) if documents.is_empty() => Ok(yaml),
        _ => Err(failed(String::new())),
    }
}

/// A word, whatever YAML takes it for; `None` of an empty one, a list or a map.
pub(super) fn scalar(yaml: &Yaml) -> Option<String> {
    let text = match yaml {
        Yaml::String(text) | Yaml::Real(text) => text.clone(),
        Yaml::Integer(number) => number.to_string(),
        Yaml::Boolean(is) => is.to_string(),
        _ => return None,
    };
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

pub(super) fn tokens(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|token| !token.is_empty()).map(str::to_owned).collect()
}

fn seeds(provider: &Yaml) -> Vec<String> {
    let providers: &[Yaml] = provider.as_vec().map_or(std::slice::from_ref(provider), Vec::as_slice);
    let parameters = providers.iter().flat_map(|of| match &of["parameters"] {
        Yaml::Array(list) => list.clone(),
        one => vec![one.clone()],
    });
    parameters.filter_map(|of| scalar(&of["seeds"])).flat_map(|text| tokens(&text)).collect()
}

/// `Murmur3Partitioner` of `org.apache.cassandra.dht.Murmur3Partitioner`.
fn last_of(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = "cluster_name: 'Test Cluster'
num_tokens: 16
# initial_token:
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
# data_file_directories:
data_file_directories:
    - /var/lib/cassandra/data
commitlog_directory: /var/lib/cassandra/commitlog
disk_failure_policy: stop
seed_provider:
  # Addresses of hosts
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: \"127.0.0.1:7000, 10.0.0.2\"
storage_port: 7010
listen_address: localhost
";

    #[test]
    fn the_shipped_file_is_understood() {
        let settings = Settings::parse(Path::new("/c.yaml"), SHIPPED).unwrap();
        assert_eq!(settings.cluster_name, "Test Cluster");
        assert_eq!((&*settings.partitioner, settings.num_tokens), ("Murmur3Partitioner", Some(16)));
        assert_eq!(settings.data_directories, [Path::new("/var/lib/cassandra/data")]);
        assert_eq!(settings.other_directories[1], Path::new("/var/lib/cassandra/hints"));
        assert_eq!(settings.seeds, ["127.0.0.1:7000", "10.0.0.2"]);
        assert_eq!((settings.storage_ports, settings.native_port), ([7010, 7001], 9042));
        assert!(settings.initial_token.is_empty());
        let one = format!("{SHIPPED}initial_token: -12\n");
        assert_eq!(Settings::parse(Path::new("/c.yaml"), &one).unwrap().initial_token, ["-12"]);
        let several = format!("{SHIPPED}initial_token: -12, 7\n");
        assert_eq!(Settings::parse(Path::new("/c.yaml"), &several).unwrap().initial_token, ["-12", "7"]);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for text in ["- a\n", "a: [\n", "cluster_name: a\npartitioner: b\n", ""] {
            let error = Settings::parse(Path::new("/c.yaml"), text).unwrap_err();
            assert!(error.to_string().contains("/c.yaml"), "{error}");
        }
        let error = Settings::find(Some(Path::new("/nonexistent/c.yaml"))).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/c.yaml"), "{error}");
    }
}
