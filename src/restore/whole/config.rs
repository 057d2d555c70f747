//! What a node's configuration needs until the node has joined: as lines to be added by hand, or
//! written beside a copy of the file as it was.

use super::journal::{ConfigChange, ConfigNeed, Manner, NodeJournal};
use super::settings::{self, Settings};
use crate::restore::journal::sync_directory;
use crate::restore::look;
use crate::{Error, Kind, Result};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

/// How the lines begin and end that were written.
const BEGIN: &str = "# BEGIN cassmount restore node";
const END: &str = "# END cassmount restore node";
/// How names of files begin that are being written.
const UNFINISHED: &str = ".cassmount-restore-node-";
/// In front of a line that was there before.
const WAS: &str = "# before cassmount: ";
/// Files with options of the JVM, beside cassandra.yaml: of 4.0 and later, and as some packagers
/// call it.
const JVM_OPTIONS: [&str; 2] = ["jvm-server.options", "jvm.options"];

/// What each file needs.
pub(super) fn needs(settings: &Settings, manner: Manner, tokens: &[String]) -> Result<Vec<ConfigNeed>> {
    let mut yaml = vec!["auto_bootstrap: false".to_owned()];
    match manner {
        Manner::ColdStart => {
            if settings.num_tokens.is_none() {
                yaml.insert(0, format!("num_tokens: {}", tokens.len()));
            }
            yaml.insert(0, format!("initial_token: '{}'", tokens.join(",")));
            Ok(vec![ConfigNeed { file: settings.path.clone(), lines: yaml }])
        }
        Manner::Replace(address) => {
            let mut options = settings.path.with_file_name(JVM_OPTIONS[0]);
            for name in JVM_OPTIONS.iter().rev() {
                let file = settings.path.with_file_name(name);
                if look::exists(&file)? {
                    options = file;
                }
            }
            let jvm = vec![
                format!("-Dcassandra.replace_address_first_boot={address}"),
                "-Dcassandra.allow_unsafe_replace=true".to_owned(),
            ];
            Ok(vec![ConfigNeed { file: settings.path.clone(), lines: yaml }, ConfigNeed { file: options, lines: jvm }])
        }
    }
}

/// Writes what is needed into each file. May be killed, and done again.
pub(super) fn write(journal: &mut NodeJournal) -> Result<()> {
    for need in journal.state.work.needs.clone() {
        let read =
            |path: &Path| fs::read_to_string(path).map_err(|e| Error::io(format_args!("read {}", path.display()), e));
        let now = read(&need.file)?;
        let known = journal.state.config.iter().find(|change| change.file == need.file);
        if known.is_some_and(|change| change.written == hash(&now)) {
            continue;
        }
        let text = edited(&need, &now)?;
        let kept = PathBuf::from(format!("{}.before-cassmount", need.file.display()));
        let is_kept = look::exists(&kept)?;
        if is_kept && read(&kept)? != now {
            let message = format!("{} is there and is another file: move it away", kept.display());
            return Err(Error::new(Kind::Exists, message));
        }
        journal.config(ConfigChange { file: need.file.clone(), kept: kept.clone(), written: hash(&text) })?;
        if !is_kept {
            put(&kept, &now, &need.file)?;
        }
        put(&need.file, &text, &need.file)?;
    }
    Ok(())
}

/// Gives each file back as it was.
///
/// # Errors
/// Where somebody has changed it since.
pub(super) fn undo(changes: &[ConfigChange]) -> Result<()> {
    for change in changes {
        let failed = |e| Error::io(format_args!("give {} back", change.file.display()), e);
        let directory = change.file.parent().unwrap_or(Path::new("/"));
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        if !look::exists(&change.kept)? {
            // An earlier run was killed behind this.
            continue;
        }
        let now = fs::read_to_string(&change.file).map_err(failed)?;
        let before = fs::read_to_string(&change.kept).map_err(failed)?;
        if now == before {
            fs::remove_file(&change.kept).map_err(failed)?;
        } else if hash(&now) == change.written {
            fs::rename(&change.kept, &change.file).map_err(failed)?;
        } else {
            let message = format!(
                "{} was changed since: take out what lies between {BEGIN:?} and {END:?}, remove {}, and run this again",
                change.file.display(),
                change.kept.display()
            );
            return Err(Error::new(Kind::Busy, message));
        }
        sync_directory(directory)?;
    }
    Ok(())
}

/// What is still in the files of what was needed, and has to go once the node has joined.
pub(super) fn left(needs: &[ConfigNeed]) -> Result<Vec<(PathBuf, String)>> {
    let mut left = Vec::new();
    for need in needs {
        let text = text_of(&need.file)?;
        let is_there = |line: &&String| has(&text, line);
        let lines = need.lines.iter().filter(|line| is_temporary(line));
        left.extend(lines.filter(is_there).map(|line| (need.file.clone(), line.clone())));
    }
    Ok(left)
}

/// What is not in the files yet.
pub(super) fn missing(needs: &[ConfigNeed]) -> Result<Vec<ConfigNeed>> {
    let mut missing = Vec::new();
    for need in needs {
        let text = text_of(&need.file)?;
        let lines: Vec<String> = need.lines.iter().filter(|line| !has(&text, line)).cloned().collect();
        if !lines.is_empty() {
            missing.push(ConfigNeed { file: need.file.clone(), lines });
        }
    }
    Ok(missing)
}

/// What has to go once the node has joined, with its file.
pub(super) fn temporary(needs: &[ConfigNeed]) -> Vec<String> {
    let lines = needs.iter().flat_map(|need| need.lines.iter().map(move |line| (need, line)));
    let temporary = lines.filter(|(_, line)| is_temporary(line));
    temporary.map(|(need, line)| format!("{line} ({})", need.file.display())).collect()
}

/// Tokens stay: a node that has joined knows them, and does not look there again.
fn is_temporary(line: &str) -> bool {
    !line.starts_with("initial_token") && !line.starts_with("num_tokens")
}

fn text_of(file: &Path) -> Result<String> {
    match fs::read_to_string(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        text => text.map_err(|e| Error::io(format_args!("read {}", file.display()), e)),
    }
}

/// Whether a line is there, whatever quotes its value has.
fn has(text: &str, line: &str) -> bool {
    let bare = |line: &str| line.trim_end().replace(['\'', '"'], "");
    text.lines().any(|of| bare(of) == bare(line))
}

/// The text with the lines, those that said otherwise commented out.
fn edited(need: &ConfigNeed, now: &str) -> Result<String> {
    let is_yaml = need.file.extension().is_some_and(|extension| extension == "yaml");
    let name = |line: &str| line.split([':', '=']).next().unwrap_or(line).trim_end().to_owned();
    let names: Vec<String> = need.lines.iter().map(|line| name(line)).collect();
    let mut text = String::new();
    for line in now.lines() {
        if names.contains(&name(line)) {
            text += WAS;
        }
        text += line;
        text.push('\n');
    }
    text.extend([BEGIN, ": to be taken out as `cassmount restore status` says\n"]);
    for line in &need.lines {
        text += line;
        text.push('\n');
    }
    text.extend([END, "\n"]);
    if is_yaml {
        let by_hand = format!("add to {} by hand: {}", need.file.display(), need.lines.join(", "));
        let yaml = settings::load(&need.file, &text)
            .map_err(|error| Error::new(error.kind(), format!("{error}; {by_hand}")))?;
        for line in &need.lines {
            let (key, value) = line.split_once(": ").unwrap_or((line, ""));
            if settings::scalar(&yaml[key]).as_deref() != Some(value.trim_matches('\'')) {
                return Err(Error::new(Kind::Unsupported, by_hand));
            }
        }
    }
    Ok(text)
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Writes a file whole, with the owner and the permissions of another.
fn put(path: &Path, text: &str, like: &Path) -> Result<()> {
    let failed = |e| Error::io(format_args!("write {}", path.display()), e);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let metadata = fs::metadata(like).map_err(failed)?;
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(directory).map_err(failed)?;
    fchown(file.as_file(), Some(metadata.uid()), Some(metadata.gid())).map_err(failed)?;
    file.as_file().set_permissions(metadata.permissions()).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::super::journal::tests::work;
    use super::super::made::Made;
    use super::*;

    #[test]
    fn files_are_written_once_and_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cassandra.yaml");
        let before = "cluster_name: c\nauto_bootstrap: true\n# end";
        fs::write(&file, before).unwrap();
        let lines = vec!["initial_token: '-1,7'".to_owned(), "auto_bootstrap: false".to_owned()];
        let mut work = work(directory.path());
        work.needs = vec![ConfigNeed { file: file.clone(), lines }];
        let mut journal = NodeJournal::begin(directory.path(), work.clone(), Made::default()).unwrap();
        for _ in 0..2 {
            write(&mut journal).unwrap();
            let text = fs::read_to_string(&file).unwrap();
            assert!(
                text.starts_with("cluster_name: c\n# before cassmount: auto_bootstrap: true\n# end\n# BEGIN"),
                "{text}"
            );
            assert_eq!(text.matches("\ninitial_token: '-1,7'\nauto_bootstrap: false\n# END").count(), 1, "{text}");
        }
        assert_eq!(left(&work.needs).unwrap(), [(file.clone(), "auto_bootstrap: false".to_owned())]);
        // Somebody's own change is not thrown away.
        let written = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{written}more: 1\n")).unwrap();
        assert_eq!(undo(&journal.state.config).unwrap_err().kind(), Kind::Busy);
        fs::write(&file, written).unwrap();
        for _ in 0..2 {
            undo(&journal.state.config).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), before);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_was_killed_while_it_was_written_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let state = tempfile::tempdir().unwrap();
        let file = directory.path().join("cassandra.yaml");
        fs::write(&file, "cluster_name: c\n").unwrap();
        let kept = directory.path().join("cassandra.yaml.before-cassmount");
        for has_copy in [false, true] {
            let mut journal = NodeJournal::begin(state.path(), work(directory.path()), Made::default()).unwrap();
            journal.config(ConfigChange { file: file.clone(), kept: kept.clone(), written: hash("x") }).unwrap();
            if has_copy {
                fs::write(&kept, "cluster_name: c\n").unwrap();
            }
            fs::write(directory.path().join(format!("{UNFINISHED}abc")), "clust").unwrap();
            undo(&journal.state.config).unwrap();
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
            journal.remove().unwrap();
        }
    }

    #[test]
    fn what_cannot_be_edited_is_left_to_a_person() {
        let need = ConfigNeed { file: "/c.yaml".into(), lines: vec!["auto_bootstrap: false".to_owned()] };
        assert!(edited(&need, "{cluster_name: c}\n").unwrap_err().to_string().contains("by hand"));
        assert!(edited(&need, "cluster_name: c\n").is_ok());
    }
}
