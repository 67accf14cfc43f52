//! Decoding under a grammar: which bytes may follow, so that what the model writes is JSON of a given schema.
//!
//! A [`Grammar`] is a JSON Schema compiled once; a [`State`] is a place inside a text that follows it; a
//! [`Masker`] turns a state into the set of tokens that keep the text inside the grammar. Knows nothing of
//! models, prompts or tools. The text is written in one canonical spacing (`{"a": 1, "b": [2, 3]}`), object
//! keys in the order required first, then optional.
//!
//! What is promised: any walk over allowed bytes can be closed (there is no dead end), and a closed text is
//! JSON that validates against the schema, as long as the schema keeps to: `type`, `properties`, `required`,
//! `additionalProperties`, `items`, `minItems`, `maxItems`, `enum`, `const`, `minLength`, `maxLength`, the four
//! number bounds, `anyOf`, `allOf` of objects, local `$ref`. Other keywords are passed over: `pattern` still
//! gives a string, `multipleOf` a number; where nothing is left to go by the value is any JSON.

mod node;
mod number;
mod schema;
mod state;
mod text;
mod token_mask;

pub use node::Grammar;
pub use state::State;
pub use token_mask::{Masker, TokenMask, TokenOrder};

#[cfg(test)]
mod tests;
