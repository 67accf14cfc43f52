//! The compiled form of a schema: an arena of nodes, and the shortest text of each.

use super::number::NumberRule;

pub type NodeId = u32;

/// Every grammar begins with these nodes: any JSON value and the kinds it is made of.
pub const ANY: NodeId = 0;
pub const ANY_MAP: NodeId = 1;
pub const ANY_ARRAY: NodeId = 2;
pub const ANY_TEXT: NodeId = 3;
pub const ANY_NUMBER: NodeId = 4;
pub const ANY_WORD: NodeId = 5;

/// A shortest text longer than this counts as unsatisfiable: no answer of a small model could hold it.
const SHORTEST_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Clone)]
pub enum Node {
    Any,
    /// JSON texts, sorted, without doubles, at least one.
    Literals(Vec<Box<[u8]>>),
    /// Lengths in characters.
    Text {
        min: u32,
        max: Option<u32>,
    },
    Number(NumberRule),
    /// Fixed keys in this order; optional ones may be left out.
    Object(Vec<Field>),
    /// Free keys.
    Map {
        value: NodeId,
    },
    Array {
        items: NodeId,
        min: u32,
        max: Option<u32>,
    },
    OneOf(Vec<NodeId>),
}

#[derive(Debug, Clone)]
pub struct Field {
    /// `"key": `
    pub first: Box<[u8]>,
    /// `, "key": `
    pub later: Box<[u8]>,
    pub value: NodeId,
    pub required: bool,
}

impl Field {
    pub fn new(key: &str, value: NodeId, required: bool) -> Self {
        let first = format!("{}: ", serde_json::Value::from(key));
        let later = format!(", {first}");
        Self { first: first.into_bytes().into(), later: later.into_bytes().into(), value, required }
    }

    /// What is written before the value.
    pub fn lead(&self, begun: bool) -> &[u8] {
        if begun { &self.later } else { &self.first }
    }
}

/// A schema ready for decoding. Made by [`Grammar::of_schema`] and its siblings in `schema`.
#[derive(Debug)]
pub struct Grammar {
    nodes: Vec<Node>,
    shortest: Vec<Box<[u8]>>,
    root: NodeId,
}

impl Grammar {
    /// Takes the arena as compiled. Nodes that no finite text satisfies become "any JSON value".
    pub(super) fn new(mut nodes: Vec<Node>, root: NodeId) -> Self {
        loop {
            let shortest = shortest_texts(&nodes);
            let Some(hopeless) = shortest.iter().position(Option::is_none) else {
                let shortest = shortest.into_iter().flatten().collect();
                return Self { nodes, shortest, root };
            };
            nodes[hopeless] = Node::Any;
        }
    }

    pub(super) fn root(&self) -> NodeId {
        self.root
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn shortest(&self, id: NodeId) -> &[u8] {
        &self.shortest[id as usize]
    }

    pub(super) fn field(&self, id: NodeId, index: u16) -> &Field {
        match self.node(id) {
            Node::Object(fields) => &fields[usize::from(index)],
            other => unreachable!("a key frame always names an object, not {other:?}"),
        }
    }
}

/// The nodes that every arena starts with, at the places of the constants above.
pub fn free_json() -> Vec<Node> {
    let words = ["false", "null", "true"].map(|word| word.as_bytes().into());
    vec![
        Node::Any,
        Node::Map { value: ANY },
        Node::Array { items: ANY, min: 0, max: None },
        Node::Text { min: 0, max: None },
        Node::Number(NumberRule::free()),
        Node::Literals(words.into()),
    ]
}

/// Least fixed point: a node has a shortest text once the nodes it needs have one.
fn shortest_texts(nodes: &[Node]) -> Vec<Option<Box<[u8]>>> {
    let mut known: Vec<Option<Box<[u8]>>> = vec![None; nodes.len()];
    loop {
        let mut changed = false;
        for (index, node) in nodes.iter().enumerate() {
            let Some(text) = shortest_of(node, &known) else { continue };
            let better = known[index].as_ref().is_none_or(|before| text.len() < before.len());
            if better && text.len() <= SHORTEST_BYTES_MAX {
                known[index] = Some(text.into());
                changed = true;
            }
        }
        if !changed {
            return known;
        }
    }
}

fn shortest_of(node: &Node, known: &[Option<Box<[u8]>>]) -> Option<Vec<u8>> {
    let of = |id: NodeId| known[id as usize].as_deref();
    match node {
        Node::Any => Some(b"null".to_vec()),
        Node::Literals(texts) => texts.iter().min_by_key(|text| text.len()).map(|text| text.to_vec()),
        Node::Text { min, .. } => {
            let min = *min as usize;
            (min <= SHORTEST_BYTES_MAX).then(|| [b"\"", vec![b'-'; min].as_slice(), b"\""].concat())
        }
        Node::Number(rule) => Some(rule.shortest()),
        Node::Object(fields) => {
            let mut text = vec![b'{'];
            for field in fields.iter().filter(|field| field.required) {
                text.extend_from_slice(field.lead(text.len() > 1));
                text.extend_from_slice(of(field.value)?);
            }
            text.push(b'}');
            Some(text)
        }
        Node::Map { .. } => Some(b"{}".to_vec()),
        Node::Array { items, min, .. } => {
            let mut text = vec![b'['];
            for index in 0..*min {
                if index > 0 {
                    text.extend_from_slice(b", ");
                }
                text.extend_from_slice(of(*items)?);
                if text.len() > SHORTEST_BYTES_MAX {
                    return None;
                }
            }
            text.push(b']');
            Some(text)
        }
        Node::OneOf(alternatives) => {
            alternatives.iter().filter_map(|id| of(*id)).min_by_key(|text| text.len()).map(<[u8]>::to_vec)
        }
    }
}
