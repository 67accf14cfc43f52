//! The chat template that a model file carries, a Jinja text written for Python.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, context};

use crate::error::EngineError;

/// For files without a template whose vocabulary knows the ChatML marks.
pub const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const NAME: &str = "chat";

pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

/// One message as templates see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub role: &'static str,
    pub content: String,
}

impl ChatTemplate {
    /// `bos` and `eos` are the texts of the tokens that begin and end a text, empty when there are none.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, EngineError> {
        let mut environment = Environment::new();
        let mut syntax = environment.syntax().to_builder();
        let syntax = syntax.trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| EngineError::Template(error.to_string()))?);
        environment.set_unknown_method_callback(python_method);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| EngineError::Template(error.to_string()))?;
        Ok(Self { environment, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The conversation up to where the assistant's answer begins.
    pub fn render(&self, lines: &[Line]) -> Result<String, EngineError> {
        let messages: Vec<Value> =
            lines.iter().map(|line| context! { role => line.role, content => line.content.as_str() }).collect();
        let values = context! {
            messages => messages,
            add_generation_prompt => true,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        };
        let render = || self.environment.get_template(NAME)?.render(values);
        render().map_err(|error| EngineError::Template(error.to_string()))
    }
}

/// The few methods of Python's strings and dictionaries that templates in the wild call.
fn python_method(_state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let unknown = || Error::new(ErrorKind::UnknownMethod, format!("templates may not call `{method}`"));
    if let Some(text) = value.as_str() {
        let first = args.first().and_then(Value::as_str);
        return match (method, first) {
            ("strip", None) => Ok(text.trim().into()),
            ("lstrip", None) => Ok(text.trim_start().into()),
            ("rstrip", None) => Ok(text.trim_end().into()),
            ("strip", Some(set)) => Ok(text.trim_matches(|c| set.contains(c)).into()),
            ("lstrip", Some(set)) => Ok(text.trim_start_matches(|c| set.contains(c)).into()),
            ("rstrip", Some(set)) => Ok(text.trim_end_matches(|c| set.contains(c)).into()),
            ("upper", None) => Ok(text.to_uppercase().into()),
            ("lower", None) => Ok(text.to_lowercase().into()),
            ("startswith", Some(start)) => Ok(text.starts_with(start).into()),
            ("endswith", Some(end)) => Ok(text.ends_with(end).into()),
            ("split", Some(at)) if !at.is_empty() => Ok(text.split(at).map(Value::from).collect()),
            ("split", None) => Ok(text.split_whitespace().map(Value::from).collect()),
            _ => Err(unknown()),
        };
    }
    if value.kind() == ValueKind::Map {
        return match (method, args) {
            ("get", [key]) => Ok(value.get_item(key).unwrap_or_default()),
            ("keys", []) => Ok(value.try_iter()?.collect()),
            ("items", []) => {
                let pair = |key: Value| value.get_item(&key).map(|item| Value::from(vec![key, item]));
                value.try_iter()?.map(pair).collect::<Result<Vec<_>, _>>().map(Value::from)
            }
            _ => Err(unknown()),
        };
    }
    Err(unknown())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(role: &'static str, content: &str) -> Line {
        Line { role, content: content.to_owned() }
    }

    #[test]
    fn chatml_is_rendered_up_to_the_answer() {
        let template = ChatTemplate::new(CHATML, "", "").unwrap();
        let text = template.render(&[line("system", "Be kind."), line("user", "Hi {{ 1 }}")]).unwrap();
        assert_eq!(
            text,
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi {{ 1 }}<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn methods_of_python_work_and_others_are_refused() {
        let source = "{% for m in messages %}{% if m.content.startswith('a') %}{{ m['content'].strip() | upper }}{% endif %}{{ m.get('role') }}{% for k, v in m.items() %}{{ k }}{% endfor %}{% endfor %}{{ bos_token }}";
        let template = ChatTemplate::new(source, "<s>", "").unwrap();
        assert_eq!(template.render(&[line("user", "ab ")]).unwrap(), "ABuserrolecontent<s>");
        let template = ChatTemplate::new("{{ bos_token.format(1) }}", "", "").unwrap();
        assert!(template.render(&[]).unwrap_err().to_string().contains("format"));
    }

    #[test]
    fn what_a_template_raises_is_the_error() {
        let template = ChatTemplate::new("{{ raise_exception('only users speak first') }}", "", "").unwrap();
        assert!(template.render(&[]).unwrap_err().to_string().contains("only users speak first"));
        assert!(ChatTemplate::new("{% if %}", "", "").is_err());
    }
}
