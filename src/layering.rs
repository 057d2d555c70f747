//! Whether dependencies point as `docs/architecture.md` says: the table of parts there is read, and
//! so are the imports of every file.
//!
//! An arrow leads from a file to each file that it names something of, as the compiler resolves the
//! name: through re-exports, to where the name is defined. A folder's `mod.rs` belongs to all files
//! below it, so arrows from these to it are none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

type Arrows = BTreeMap<String, BTreeMap<String, String>>;

/// A record is of a whole state where a journal is begun anew, and a state is made of records.
const EXCEPTION: (&str, &str) = ("scratch/record.rs", "scratch/state.rs");

#[test]
fn parts_use_only_what_the_architecture_lets_them() {
    let (allowed, leaves) = architecture(include_str!("../docs/architecture.md"));
    let wrong = forbidden(arrows(), &allowed, &leaves);
    assert!(wrong.is_empty(), "docs/architecture.md has no such arrow:\n{}", wrong.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut arrows = arrows().clone();
    let exception = arrows.get_mut(EXCEPTION.0).and_then(|to| to.remove(EXCEPTION.1));
    assert!(exception.is_some(), "the exception is not needed any more");
    let circle = circle(&arrows);
    assert!(circle.is_none(), "a circle of imports:\n{}", circle.unwrap_or_default().join("\n"));
}

const NODE: (&str, &str) = ("tree/node.rs", "use crate::{Error, store::{self, Object as O}};\npub struct Node(O);");

#[test]
fn a_wrong_import_is_found() {
    let house = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        House { files: files.collect() }.arrows()
    };
    let (allowed, leaves) = architecture(
        "Dependencies point one way. `error` and `task` are leaves that every part may use.\n\
         | part | what it is | uses | what it must not do |\n|---|---|---|---|\n\
         | `tree` | names | `store` | do I/O |\n| `store` | objects | | write |\n",
    );
    let lib = ("lib.rs", "pub mod error; pub mod store; pub mod tree;\npub use error::Error;");
    let error = ("error.rs", "pub struct Error;");
    let store =
        |text| house(&[lib, error, ("store/mod.rs", text), ("tree/mod.rs", "mod node;\npub use node::Node;"), NODE]);

    let fine = store("use crate::Error; // use crate::tree::Node;\nconst NO: &str = \"use crate::tree::Node;\";");
    assert_eq!(forbidden(&fine, &allowed, &leaves), [""; 0]);
    assert!(fine["tree/node.rs"].contains_key("store/mod.rs") && fine["store/mod.rs"].contains_key("error.rs"));
    let in_tests = store("#[cfg(test)]\nmod tests {\n    fn f() { let _ = crate::tree::Node; }\n}\n");
    assert_eq!(forbidden(&in_tests, &allowed, &leaves), [""; 0]);
    let wrong = store("use crate::tree::{Node};");
    assert_eq!(circle(&wrong).unwrap().len(), 2);
    for wrong in ["use crate::tree::{Node};", "use super::tree;", "fn f() { crate::tree::Node::new('\\'') }"] {
        assert_eq!(forbidden(&store(wrong), &allowed, &leaves).len(), 1, "{wrong}");
    }
    // A leaf stands on leaves only.
    let leaf = house(&[lib, ("error.rs", "use crate::store::Object;"), ("store/mod.rs", "")]);
    assert_eq!(forbidden(&leaf, &allowed, &leaves).len(), 1);

    let child = [("a/mod.rs", "mod b;\nmod c;\nuse b::B;\npub struct A;"), ("a/c.rs", "pub struct C;")];
    let tied = house(&[child[0], child[1], ("a/b.rs", "use super::A;\nuse super::c::C;\npub struct B;")]);
    assert!(circle(&tied).is_none(), "a folder's opener is of its files");
}

/// What each part may use, and what every one may.
fn architecture(text: &str) -> (BTreeMap<String, BTreeSet<String>>, BTreeSet<String>) {
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let mut allowed = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        if let [_, parts, _, uses, _, _] = row.split('|').collect::<Vec<_>>()[..] {
            allowed.extend(quoted(parts).into_iter().map(|part| (part, quoted(uses))));
        }
    }
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (before, _) = flat.split_once(" are leaves that every part may use").expect("a sentence names the leaves");
    let leaves = before.rsplit(". ").next().unwrap_or(before);
    (allowed, quoted(leaves))
}

fn forbidden(arrows: &Arrows, allowed: &BTreeMap<String, BTreeSet<String>>, leaves: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (from, to, path) in arrows.iter().flat_map(|(from, all)| all.iter().map(move |(to, path)| (from, to, path))) {
        let (part, other) = (part(from), part(to));
        let may = allowed.get(part).is_some_and(|uses| uses.contains(other)) || leaves.contains(other);
        if part != other && !may && !["lib", "main"].contains(&part) {
            wrong.push(format!("{from} -> {to} ({path})"));
        }
    }
    wrong
}

fn part(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// The arrows of one circle, if there is any.
fn circle(arrows: &Arrows) -> Option<Vec<String>> {
    fn walk<'a>(
        at: &'a str,
        arrows: &'a Arrows,
        done: &mut BTreeSet<&'a str>,
        way: &mut Vec<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|file| *file == at) {
            way.push(at);
            let pairs = way[start..].windows(2);
            return Some(
                pairs.map(|pair| format!("{} -> {} ({})", pair[0], pair[1], arrows[pair[0]][pair[1]])).collect(),
            );
        }
        if !done.insert(at) {
            return None;
        }
        way.push(at);
        let found = arrows.get(at).and_then(|to| to.keys().find_map(|to| walk(to, arrows, done, way)));
        if found.is_none() {
            way.pop();
        }
        found
    }
    let mut done = BTreeSet::new();
    arrows.keys().find_map(|file| {
        // Each walk either ends in a circle or has gone back all of its way.
        walk(file, arrows, &mut done, &mut Vec::new())
    })
}

/// The arrows of this crate.
fn arrows() -> &'static Arrows {
    static ARROWS: OnceLock<Arrows> = OnceLock::new();
    ARROWS.get_or_init(|| House::read().arrows())
}

/// All source files, by their path below `src`.
struct House {
    files: BTreeMap<String, String>,
}

/// What a file names.
#[derive(Default)]
struct Names {
    uses: Vec<Vec<String>>,
    /// `pub use`.
    exports: Vec<Vec<String>>,
    test_modules: BTreeSet<String>,
}

impl House {
    fn read() -> Self {
        fn add(directory: &Path, root: &Path, files: &mut BTreeMap<String, String>) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    add(&path, root, files);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                    files.insert(name, std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = BTreeMap::new();
        add(&root, &root, &mut files);
        Self { files }
    }

    fn arrows(&self) -> Arrows {
        let modules: BTreeMap<Vec<String>, &str> = self.files.keys().map(|file| (module(file), &**file)).collect();
        let names: BTreeMap<&[String], Names> =
            modules.iter().map(|(module, file)| (&**module, names(&self.files[*file], module, &modules))).collect();
        let is_test = |module: &[String]| {
            (1..=module.len()).any(|len| {
                let (parent, name) = (&module[..len - 1], &module[len - 1]);
                names.get(parent).is_some_and(|names| names.test_modules.contains(name))
            })
        };
        let mut arrows = Arrows::new();
        for (module, own) in names.iter().filter(|(module, _)| !is_test(module)) {
            let from = modules[*module];
            for path in &own.uses {
                let to = modules[&defined_in(path, &names, 0)];
                let is_opener = to.strip_suffix("mod.rs").is_some_and(|folder| from.starts_with(folder));
                if to != from && !is_opener {
                    arrows.entry(from.to_owned()).or_default().entry(to.to_owned()).or_insert_with(|| path.join("::"));
                }
            }
        }
        arrows
    }
}

/// The module that a file is.
fn module(file: &str) -> Vec<String> {
    let mut module: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    module
}

/// The module that defines what a path from the crate's root names.
fn defined_in(path: &[String], names: &BTreeMap<&[String], Names>, depth: usize) -> Vec<String> {
    let len = (0..=path.len()).rev().find(|len| names.contains_key(&path[..*len])).unwrap_or_default();
    let (module, rest) = path.split_at(len);
    if let (Some(first), true) = (rest.first(), depth < 8) {
        let exports = &names[module].exports;
        let through = exports.iter().find(|export| export.last() == Some(first) && export[..] != *path);
        if let Some(export) = through {
            return defined_in(export, names, depth + 1);
        }
    }
    module.to_vec()
}

/// What a file names, test code left out.
fn names(text: &str, module: &[String], modules: &BTreeMap<Vec<String>, &str>) -> Names {
    let tokens = tokens(text);
    let mut found = Names::default();
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        if rest.starts_with(&["#", "[", "cfg", "(", "test", ")", "]"]) {
            let item = &rest[7..];
            let end = end_of_item(item);
            let module_name =
                item[..end].iter().position(|token| *token == "mod").map(|mod_at| item[mod_at + 1].to_owned());
            if let Some(name) = module_name.filter(|_| item[end - 1] == ";") {
                found.test_modules.insert(name);
            }
            at += 7 + end;
        } else if rest[0] == "use" && rest.get(1).is_some_and(|token| *token != "<") {
            let end = rest.iter().position(|token| *token == ";").unwrap_or(rest.len());
            let mut paths = Vec::new();
            use_tree(&rest[1..end], &mut Vec::new(), &mut paths);
            let is_public = at > 0
                && (tokens[at - 1] == "pub"
                    || (tokens[at - 1] == ")" && before_parenthesis(&tokens[..at]) == Some("pub")));
            let paths = paths.iter().filter_map(|path| from_root(path, module, modules));
            if is_public {
                found.exports.extend(paths);
            } else {
                found.uses.extend(paths);
            }
            at += end;
        } else if is_name(rest[0])
            && rest.get(1).is_some_and(|token| *token == "::")
            && (at == 0 || tokens[at - 1] != "::")
        {
            let mut path = vec![rest[0].to_owned()];
            while at + 2 < tokens.len() && tokens[at + 1] == "::" && is_name(tokens[at + 2]) {
                path.push(tokens[at + 2].to_owned());
                at += 2;
            }
            found.uses.extend(from_root(&path, module, modules));
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

/// Tokens up to the end of the item that they begin with.
fn end_of_item(tokens: &[&str]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "{" => depth += 1,
            "}" if depth <= 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The token before the parentheses that end here.
fn before_parenthesis<'a>(tokens: &[&'a str]) -> Option<&'a str> {
    let open = tokens.iter().rposition(|token| *token == "(")?;
    Some(tokens[open.checked_sub(1)?])
}

/// The paths of `a::{b, c::d as e}`.
fn use_tree(tokens: &[&str], prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    let mut depth = 0_usize;
    let mut start = 0;
    for at in 0..=tokens.len() {
        let token = tokens.get(at).copied().unwrap_or(",");
        match token {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 0 => {
                let one = &tokens[start..at];
                let names = one.iter().take_while(|token| !matches!(**token, "{" | "as"));
                let names: Vec<String> =
                    names.filter(|token| is_name(token)).map(|token| (*token).to_owned()).collect();
                let len = prefix.len();
                prefix.extend(names);
                if let Some(open) = one.iter().position(|token| *token == "{") {
                    use_tree(&one[open + 1..one.len() - 1], prefix, paths);
                } else if !one.is_empty() {
                    paths.push(prefix.clone());
                }
                prefix.truncate(len);
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The path from the crate's root, if it leads to a file of ours.
fn from_root(path: &[String], module: &[String], modules: &BTreeMap<Vec<String>, &str>) -> Option<Vec<String>> {
    let mut base = module.to_vec();
    let mut rest = path;
    match &*path[0] {
        "crate" | "cassmount" => {
            base.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while let Some(("super", more)) = rest.split_first().map(|(first, more)| (&**first, more)) {
                base.pop()?;
                rest = more;
            }
        }
        child => {
            base.push(child.to_owned());
            modules.get(&base)?;
            base.pop();
        }
    }
    base.extend(rest.iter().filter(|name| *name != "self").cloned());
    Some(base)
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::` and other signs; no comments, strings or characters.
fn tokens(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    let end_of = |from: usize, what: &str| text[from..].find(what).map_or(text.len(), |len| from + len + what.len());
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let start = at;
        match &bytes[at..] {
            [b'/', b'/', ..] => at = end_of(at, "\n"),
            [b'r', b'"' | b'#', ..] => {
                let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
                at = end_of(at + hashes + 2, &format!("\"{}", "#".repeat(hashes)));
            }
            [b'"', ..] => {
                at += 1;
                while at < text.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            [b'\'', b'\\', ..] => at = end_of(at + 3, "'"),
            // A lifetime has no second quote.
            [b'\'', _, b'\'', ..] => at += 3,
            [b':', b':', ..] => {
                at += 2;
                tokens.push(&text[start..at]);
            }
            [byte, rest @ ..] if is_word(byte) => {
                at += 1 + rest.iter().take_while(|byte| is_word(byte)).count();
                tokens.push(&text[start..at]);
            }
            [byte, ..] => {
                at += 1;
                if !byte.is_ascii_whitespace() {
                    tokens.push(&text[start..at]);
                }
            }
            [] => {}
        }
    }
    tokens
}
