//! Cassandra's own tools, and CQL, on a node.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::node::Node;
use super::process::{Finished, run, run_all};
use super::truth::Truth;

/// Longest run of one tool.
pub const TOOL_DEADLINE: Duration = Duration::from_mins(10);

/// How many tools run side by side: they sleep for most of their seconds.
pub const AT_ONCE: usize = 4;

impl Node {
    /// `nodetool <words>`.
    pub fn nodetool(&self, words: &[&str]) -> Finished {
        run(self.nodetool_command().args(words), TOOL_DEADLINE)
    }

    /// The command line of nodetool, up to its subcommand.
    pub fn nodetool_command(&self) -> Command {
        let mut command = self.configured(self.installation.nodetool());
        command.arg("org.apache.cassandra.tools.NodeTool");
        command.args(["-h", "127.0.0.1", "-p", &self.ports.jmx.to_string()]);
        command
    }

    /// A script in `directory` that is this node's nodetool, for programs that run it. `before` is
    /// shell code to run first: `$1` is the subcommand, and `real "$@"` does what it would do
    /// without.
    pub fn nodetool_script(&self, directory: &Path, before: &str) -> PathBuf {
        script(&directory.join("nodetool"), &self.nodetool_command(), before)
    }

    /// A script in `directory` that is an sstableloader with this node's ports; see
    /// [`Self::nodetool_script`].
    pub fn sstableloader_script(&self, directory: &Path, before: &str) -> PathBuf {
        let mut command = self.tool("org.apache.cassandra.tools.BulkLoader");
        command.args(["-p", &self.ports.native.to_string(), "-sp", &self.ports.storage.to_string()]);
        script(&directory.join("sstableloader"), &command, before)
    }

    /// `nodetool import <options> <keyspace> <table> <directories>`.
    pub fn import(&self, options: &[&str], table: &str, directories: &[PathBuf]) -> Finished {
        run(&mut self.import_command(options, table, directories), TOOL_DEADLINE)
    }

    /// The command line of [`Self::import`].
    pub fn import_command(&self, options: &[&str], table: &str, directories: &[PathBuf]) -> Command {
        let (keyspace, table) = table.split_once('.').expect("a qualified table name");
        let mut command = self.nodetool_command();
        command.arg("import").args(options).args([keyspace, table.trim_matches('"')]).args(directories);
        command
    }

    /// `sstableloader <options> <directory>` into this node, for each of `directories`, several at
    /// once.
    ///
    /// # Panics
    /// When one of them fails.
    #[track_caller]
    pub fn sstableload(&self, directories: &[PathBuf], options: &[&str]) {
        let loaders = directories.iter().map(|directory| self.sstableloader(directory, options));
        run_all(loaders, AT_ONCE, TOOL_DEADLINE);
    }

    /// The command line of one such loader.
    pub fn sstableloader(&self, directory: &Path, options: &[&str]) -> Command {
        let mut command = self.tool("org.apache.cassandra.tools.BulkLoader");
        command
            .args(["-d", &self.address.to_string(), "-p", &self.ports.native.to_string()])
            .args(["-sp", &self.ports.storage.to_string()])
            .args(options)
            .arg(directory);
        command
    }

    /// `sstablemetadata <files>`: one report after the other, in the order of `files`.
    pub fn sstablemetadata<P: AsRef<Path>>(&self, files: &[P]) -> Finished {
        let mut command = self.tool("org.apache.cassandra.tools.SSTableMetadataViewer");
        command.args(files.iter().map(AsRef::as_ref));
        run(&mut command, TOOL_DEADLINE)
    }

    /// A digest of what `sstabledump` prints for each of `data_files`, which `list` holds one a
    /// line; see SstableDumps.java.
    pub fn sstabledumps(&self, list: &Path) -> Finished {
        let source = crate::project().join("tests/testkit/src/cassandra/SstableDumps.java");
        run(self.java_source(&source, 256).arg(list), TOOL_DEADLINE)
    }

    /// The command line that runs a Java program from its source, with Cassandra's classes at hand
    /// and so much heap.
    pub fn java_source(&self, source: &Path, heap_mib: u32) -> Command {
        let mut command = self.configured(self.installation.tool());
        command
            // Beans are registered with the right of their class, and a class launched from source
            // has none.
            .arg("-Dorg.apache.cassandra.disable_mbean_registration=true")
            .arg("-Djava.security.manager=allow")
            .arg(format!("-Xmx{heap_mib}M"))
            .arg(source);
        command
    }

    /// `sstabledump <data file>`.
    pub fn sstabledump(&self, data_file: &Path) -> Finished {
        run(self.tool("org.apache.cassandra.tools.SSTableExport").arg(data_file), TOOL_DEADLINE)
    }

    /// The command line of a tool, up to and with its main class.
    fn tool(&self, main_class: &str) -> Command {
        let mut command = self.configured(self.installation.tool());
        command.arg(main_class);
        command
    }

    /// `command` with this node's configuration.
    fn configured(&self, mut command: Command) -> Command {
        let conf = self.conf_directory();
        command
            .arg(format!("-Dcassandra.config=file://{}/cassandra.yaml", conf.display()))
            .arg(format!("-Dcassandra-rackdc.properties=file://{}/cassandra-rackdc.properties", conf.display()))
            .arg(format!("-Dlogback.configurationFile={}/logback-tools.xml", conf.display()));
        command
    }

    /// Runs a CQL statement.
    ///
    /// # Panics
    /// With the server's message, when it refuses.
    #[track_caller]
    pub fn cql(&self, statement: &str) {
        if let Err(error) = self.try_cql(statement) {
            panic!("{statement}: {error}");
        }
    }

    /// Runs a CQL statement, or gives the server's message.
    pub fn try_cql(&self, statement: &str) -> Result<(), String> {
        self.ask(statement).map(drop).map_err(|error| error.to_string())
    }

    /// The rows of `SELECT JSON <selection>`, as text; `selection` is what follows `SELECT JSON`.
    #[track_caller]
    pub fn json_rows(&self, selection: &str) -> Vec<String> {
        let statement = format!("SELECT JSON {selection}");
        let rows = self.ask(&statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        let cells = rows.into_iter().flatten().flatten();
        cells.map(|cell| String::from_utf8(cell).expect("JSON is UTF-8")).collect()
    }

    /// The statement that creates `table`, a qualified name as CQL writes it, again; `None` where
    /// there is none.
    pub fn try_describe(&self, table: &str) -> Option<String> {
        let rows = self.ask(&format!("DESCRIBE TABLE {table}")).ok()?;
        // Keyspace, type, name, statement.
        let statement = rows.into_iter().next()?.into_iter().nth(3)??;
        String::from_utf8(statement).ok()
    }

    /// Everything that `table`, a qualified name as CQL writes it, holds.
    pub fn truth(&self, table: &str) -> Truth {
        Truth::of(&self.json_rows(&format!("* FROM {table}")))
    }

    /// The directory in which the node keeps `table` now.
    pub fn live_directory(&self, table: &str) -> PathBuf {
        let (keyspace, table) = table.split_once('.').expect("a qualified table name");
        let table = table.trim_matches('"');
        let selection =
            format!("id FROM system_schema.tables WHERE keyspace_name = '{keyspace}' AND table_name = '{table}'");
        let rows = self.json_rows(&selection);
        let row: Value = serde_json::from_str(rows.first().expect("the table exists")).expect("JSON");
        let id = row["id"].as_str().expect("a table id").replace('-', "");
        self.data_directory().join(keyspace).join(format!("{table}-{id}"))
    }
}

/// A program at `path` that runs `command` with its own arguments behind, after `before`.
fn script(path: &Path, command: &Command, before: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().expect("UTF-8").replace('\'', r"'\''"));
    let words: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let unset = "unset JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS";
    let text = format!("#!/bin/sh\n{unset}\nreal() {{ {} \"$@\"; }}\n{before}\nreal \"$@\"\n", words.join(" "));
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}
