//! What a line that begins with `/` does in a chat. Anything unknown is a message like others.

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Help,
    New,
    Compact,
    /// Show the model, or choose one; `default` is the agent's own.
    Model(Option<String>),
    /// Show how much the model reasons, or choose it.
    Think(Option<String>),
    Status,
    Quit,
}

pub const HELP: &str = "\
/new                     begin a new conversation in this session
/compact                 replace older messages of this session by a summary
/model [PROVIDER/MODEL]  show or choose the model; `default` is the agent's own
/think [LEVEL]           show or choose how much it reasons: off, minimal, low, medium, high, xhigh, default
/status                  show session, model and length of the conversation
/quit                    leave; so does Ctrl-D
Ctrl-C stops an answer; a second Ctrl-C leaves.";

impl Command {
    pub fn parse(line: &str) -> Option<Command> {
        let line = line.trim().strip_prefix('/')?;
        let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = Some(argument.trim().to_owned()).filter(|argument| !argument.is_empty());
        Some(match (name, argument) {
            ("help" | "?", None) => Command::Help,
            ("new" | "reset" | "clear", None) => Command::New,
            ("compact", None) => Command::Compact,
            ("model", argument) => Command::Model(argument),
            ("think", argument) => Command::Think(argument),
            ("status", None) => Command::Status,
            ("quit" | "exit" | "q", None) => Command::Quit,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_are_commands_and_everything_else_is_a_message() {
        assert_eq!(Command::parse("/new"), Some(Command::New));
        assert_eq!(Command::parse(" /model  openai/gpt "), Some(Command::Model(Some("openai/gpt".into()))));
        assert_eq!(Command::parse("/think"), Some(Command::Think(None)));
        for message in ["new", "/etc/hosts is what?", "/new ideas for lunch", "/"] {
            assert_eq!(Command::parse(message), None, "{message}");
        }
    }
}
