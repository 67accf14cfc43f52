//! Configurations of former versions, read and edited by this one. The files are never edited; a release
//! adds a folder.

use super::support::{Home, Run, finish};

/// The one that a first start wrote, and one with every key.
const FILES: [(&str, &str); 2] = [
    ("0.1/first.toml", include_str!("released/0.1/first.toml")),
    ("0.1/rich.toml", include_str!("released/0.1/rich.toml")),
];

fn run(home: &Home, arguments: &[&str]) -> Run {
    let mut command = home.command(arguments);
    command.env("OPENROUTER_API_KEY", "sk-openrouter").env("CLAUDE_KEY", "sk-claude");
    finish(command)
}

fn comments(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.find('#').map(|start| &line[start..])).collect()
}

#[test]
fn a_configuration_of_a_former_version_is_read_without_a_word_and_keeps_its_comments() {
    for (name, text) in FILES {
        let home = Home::new();
        home.write("config.toml", text);
        home.write("tools.secret", "0123456789abcdef-tools\n");
        let checked = run(&home, &["config", "check"]).ok();
        assert!(!format!("{checked:?}").contains("warning"), "{name}: {checked:?}");
        run(&home, &["config", "set", "agents.main.model", "local/default"]).ok();
        run(&home, &["config", "set", "limits.run_timeout_secs", "901"]).ok();
        let changed = home.read("config.toml");
        let kept = comments(&changed);
        for comment in comments(text) {
            assert!(kept.contains(&comment), "{name} has lost {comment:?}: {changed}");
        }
        let shown = run(&home, &["config", "show", "--json"]).ok().json();
        assert_eq!(shown["agents"]["main"]["model"], "local/default", "{name}");
        assert_eq!(shown["limits"]["run_timeout_secs"], 901, "{name}");
        if name == "0.1/rich.toml" {
            assert_eq!(shown["comis"]["events"]["content"], "metadata");
            assert_eq!(shown["sessions"]["compaction"]["keep_recent"], 20);
        }
    }
}
