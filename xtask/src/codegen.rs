//! Everything that is generated from the gateway's own contract: the documents under `schema/` as the
//! binary prints them, the reference under `docs/reference/`, and the page's types under `web/src/api/`.

mod reference;
mod schema;
mod typescript;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What `patchbay schema NAME` prints, and where it is kept.
const CONTRACTS: [(&str, &str); 5] = [
    ("aleph", "schema/aleph.openrpc.json"),
    ("argent", "schema/argent.openrpc.json"),
    ("comis", "schema/comis.openapi.json"),
    ("events", "schema/events.asyncapi.json"),
    ("config", "schema/config.schema.json"),
];

pub const COMMAND: &str = "cargo xtask codegen";

/// A file as it should be, with its path from the workspace.
struct Generated {
    path: &'static str,
    text: String,
}

/// Writes what differs.
pub fn write(root: &Path) -> Result<bool> {
    for file in generate(root)? {
        let path = root.join(file.path);
        if fs::read_to_string(&path).is_ok_and(|text| text == file.text) {
            continue;
        }
        let folder = path.parent().context("every generated file lies in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        fs::write(&path, file.text).with_context(|| format!("cannot write {}", file.path))?;
        println!("wrote {}", file.path);
    }
    Ok(true)
}

/// Names what differs and how to mend it; `false` when there is any.
pub fn check(root: &Path) -> Result<bool> {
    let mut stale = 0;
    for file in generate(root)? {
        let Some(difference) = difference(&fs::read_to_string(root.join(file.path)).unwrap_or_default(), &file.text)
        else {
            continue;
        };
        println!("stale: {}: {difference}", file.path);
        stale += 1;
    }
    if stale > 0 {
        println!("{stale} generated files are stale: run `{COMMAND}` and commit what it writes");
    }
    Ok(stale == 0)
}

/// The first line in which two texts differ.
fn difference(kept: &str, wanted: &str) -> Option<String> {
    if kept == wanted {
        return None;
    }
    if kept.is_empty() {
        return Some("it is missing".to_owned());
    }
    let same = kept.lines().zip(wanted.lines()).take_while(|(a, b)| a == b).count();
    let line =
        |text: &str| text.lines().nth(same).map_or("(the end)".to_owned(), |line| line.chars().take(100).collect());
    Some(format!("line {} is `{}` and should be `{}`", same + 1, line(kept).trim(), line(wanted).trim()))
}

fn generate(root: &Path) -> Result<Vec<Generated>> {
    let mut files = vec![];
    let mut documents = vec![];
    for (name, path) in CONTRACTS {
        let text = contract(root, name)?;
        documents
            .push(serde_json::from_str::<Value>(&text).with_context(|| format!("patchbay schema {name} is not JSON"))?);
        files.push(Generated { path, text });
    }
    let [aleph, argent, comis, events, config] = documents.try_into().expect("there are five contracts");
    let mut add = |path, text| files.push(Generated { path, text });
    add("docs/reference/aleph.md", reference::openrpc("The Aleph protocol", &aleph));
    add("docs/reference/argent.md", reference::openrpc("The ArgentOS protocol", &argent));
    add("docs/reference/http.md", reference::openapi(&comis));
    add("docs/reference/events.md", reference::asyncapi(&events));
    add("docs/reference/config.md", reference::config(&config));
    add("web/src/api/aleph.ts", typescript::methods(&aleph));
    add("web/src/api/events.ts", typescript::events(&events));
    Ok(files)
}

/// What the gateway says of itself, with one line end behind it. A program that was just built is in
/// `PATCHBAY`; without it one is built.
fn contract(root: &Path, name: &str) -> Result<String> {
    let mut program = match std::env::var_os("PATCHBAY").filter(|path| Path::new(path).is_file()) {
        Some(built) => Command::new(built),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--quiet", "--locked", "-p", "patchbay", "--"]);
            cargo
        }
    };
    let answer = program
        .args(["schema", name])
        .current_dir(root)
        .output()
        .context("cannot run the program that describes itself")?;
    if !answer.status.success() {
        bail!("patchbay schema {name}: {}", String::from_utf8_lossy(&answer.stderr).trim());
    }
    let text = String::from_utf8(answer.stdout).with_context(|| format!("patchbay schema {name} is not UTF-8"))?;
    Ok(format!("{}\n", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn the_first_difference_is_shown() {
        assert_eq!(difference("a\n", "a\n"), None);
        assert_eq!(difference("", "a\n").unwrap(), "it is missing");
        assert_eq!(difference("a\nb\n", "a\nc\n").unwrap(), "line 2 is `b` and should be `c`");
        assert_eq!(difference("a\n", "a\nc\n").unwrap(), "line 2 is `(the end)` and should be `c`");
    }
}
