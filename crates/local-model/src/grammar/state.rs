//! The automaton: a set of stacks, one for each way to read what was written so far.

use std::sync::Arc;

use super::node::{ANY_ARRAY, ANY_MAP, ANY_NUMBER, ANY_TEXT, ANY_WORD, Grammar, Node, NodeId};
use super::number::NumberState;
use super::text::{TextState, TextStep};

/// Ways followed at once. Dropping further ones only leaves out alternatives; every way kept is valid on its own.
const STACKS_MAX: usize = 256;
/// Arrays and objects inside "any JSON value" nest no deeper.
const ANY_DEPTH_MAX: u16 = 12;
/// Alternatives inside alternatives, against schemas whose `anyOf` leads back to itself.
const ALTERNATIVES_DEPTH_MAX: u8 = 16;
/// Bytes that are worth writing at once without asking the model.
const FORCED_BYTES_MAX: usize = 512;

/// A place in a text of a [`Grammar`]. Equal states have equal futures.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    stacks: Vec<Stack>,
    complete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Stack {
    top: Frame,
    below: Below,
}

type Below = Option<Arc<Link>>;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Link {
    frame: Frame,
    below: Below,
    depth: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Frame {
    /// A value is about to begin.
    Value(NodeId),
    Expect(&'static [u8]),
    /// Inside the key of a field; its value follows.
    Key {
        object: NodeId,
        field: u16,
        begun: bool,
        at: u16,
    },
    /// Inside one of the literals `low..high` that agree in the `at` bytes written.
    Literal {
        node: NodeId,
        low: u32,
        high: u32,
        at: u32,
    },
    Text {
        node: NodeId,
        state: TextState,
    },
    Number {
        node: NodeId,
        state: NumberState,
    },
    /// Between fields; those before `next` are written or left out.
    Object {
        node: NodeId,
        next: u16,
        begun: bool,
    },
    Map {
        node: NodeId,
        begun: bool,
    },
    /// `count` elements are written or begun, counted only as far as a bound needs it.
    Array {
        node: NodeId,
        count: u32,
    },
}

impl State {
    pub fn start(grammar: &Grammar) -> Self {
        Self { stacks: vec![Stack { top: Frame::Value(grammar.root()), below: None }], complete: false }
    }

    /// The state after one more byte, `None` when the byte is not allowed.
    pub fn step(&self, grammar: &Grammar, byte: u8) -> Option<State> {
        let mut next = State { stacks: Vec::with_capacity(self.stacks.len()), complete: false };
        for stack in &self.stacks {
            Step { grammar, byte, out: &mut next }.frame(stack.top, &stack.below);
        }
        (next.complete || !next.stacks.is_empty()).then_some(next)
    }

    pub fn step_all(&self, grammar: &Grammar, bytes: &[u8]) -> Option<State> {
        bytes.iter().try_fold(self.clone(), |state, byte| state.step(grammar, *byte))
    }

    /// The text may end here; a number at the top level may also go on.
    pub fn may_end(&self, grammar: &Grammar) -> bool {
        self.complete || self.stacks.iter().any(|stack| stack.below.is_none() && may_end(grammar, stack.top))
    }

    /// Nothing can follow.
    pub fn must_end(&self) -> bool {
        self.stacks.is_empty()
    }

    /// A short text that ends it, empty when it may end here.
    pub fn closing(&self, grammar: &Grammar) -> Vec<u8> {
        if self.may_end(grammar) {
            return Vec::new();
        }
        let closings = self.stacks.iter().take(32).map(|stack| close_stack(grammar, stack));
        closings.min_by_key(Vec::len).unwrap_or_default()
    }

    /// The bytes that must come next whatever the model would like, empty when there is a choice.
    pub fn forced(&self, grammar: &Grammar) -> (Vec<u8>, State) {
        let mut bytes = Vec::new();
        let mut state = self.clone();
        while bytes.len() < FORCED_BYTES_MAX && !state.may_end(grammar) {
            let mut options = (0..=u8::MAX).filter_map(|byte| state.step(grammar, byte).map(|next| (byte, next)));
            let (Some((byte, next)), None) = (options.next(), options.next()) else { break };
            bytes.push(byte);
            state = next;
        }
        (bytes, state)
    }

    fn push(&mut self, top: Frame, below: Below) {
        let stack = Stack { top, below };
        if self.stacks.len() < STACKS_MAX && !self.stacks.contains(&stack) {
            self.stacks.push(stack);
        }
    }

    /// The frame above `below` is finished.
    fn pop_to(&mut self, below: &Below) {
        match below {
            None => self.complete = true,
            Some(link) => self.push(link.frame, link.below.clone()),
        }
    }
}

fn link(frame: Frame, below: &Below) -> Below {
    let depth = below.as_ref().map_or(0, |link| link.depth) + 1;
    Some(Arc::new(Link { frame, below: below.clone(), depth }))
}

/// One byte on one stack.
struct Step<'a> {
    grammar: &'a Grammar,
    byte: u8,
    out: &'a mut State,
}

impl Step<'_> {
    fn frame(&mut self, top: Frame, below: &Below) {
        match top {
            Frame::Value(node) => self.begin(node, below, 0),
            Frame::Expect(bytes) => {
                if let Some((first, rest)) = bytes.split_first()
                    && *first == self.byte
                {
                    if rest.is_empty() {
                        self.out.pop_to(below)
                    } else {
                        self.out.push(Frame::Expect(rest), below.clone())
                    }
                }
            }
            Frame::Key { object, field, begun, at } => self.key(object, field, begun, at, below),
            Frame::Literal { node, low, high, at } => self.literal(node, low, high, at, below),
            Frame::Text { node, state } => self.text(node, state, below),
            Frame::Number { node, state } => self.number(node, state, below),
            Frame::Object { node, next, begun } => self.object(node, next, begun, below),
            Frame::Map { node, begun } => self.map(node, begun, below),
            Frame::Array { node, count } => self.array(node, count, below),
        }
    }

    /// A frame that may end without a closing byte: the byte belongs to what is below.
    fn hand_down(&mut self, below: &Below) {
        if let Some(link) = below {
            self.frame(link.frame, &link.below);
        }
    }

    fn begin(&mut self, node: NodeId, below: &Below, alternatives: u8) {
        match self.grammar.node(node) {
            Node::Any => {
                let shallow = below.as_ref().is_none_or(|link| link.depth < ANY_DEPTH_MAX);
                let kind = match self.byte {
                    b'{' if shallow => ANY_MAP,
                    b'[' if shallow => ANY_ARRAY,
                    b'"' => ANY_TEXT,
                    b'-' | b'0'..=b'9' => ANY_NUMBER,
                    b't' | b'f' | b'n' => ANY_WORD,
                    _ => return,
                };
                self.begin(kind, below, alternatives);
            }
            Node::Literals(texts) => self.literal(node, 0, u32::try_from(texts.len()).unwrap_or(u32::MAX), 0, below),
            Node::Text { .. } if self.byte == b'"' => {
                self.out.push(Frame::Text { node, state: TextState::default() }, below.clone());
            }
            Node::Number(rule) => {
                if let Some(state) = rule.begin(self.byte) {
                    self.out.push(Frame::Number { node, state }, below.clone());
                }
            }
            Node::Object(_) if self.byte == b'{' => {
                self.out.push(Frame::Object { node, next: 0, begun: false }, below.clone());
            }
            Node::Map { .. } if self.byte == b'{' => self.out.push(Frame::Map { node, begun: false }, below.clone()),
            Node::Array { .. } if self.byte == b'[' => self.out.push(Frame::Array { node, count: 0 }, below.clone()),
            Node::OneOf(nodes) if alternatives < ALTERNATIVES_DEPTH_MAX => {
                for node in nodes {
                    self.begin(*node, below, alternatives + 1);
                }
            }
            _ => {}
        }
    }

    fn key(&mut self, object: NodeId, field: u16, begun: bool, at: u16, below: &Below) {
        let spec = self.grammar.field(object, field);
        let lead = spec.lead(begun);
        if lead[usize::from(at)] != self.byte {
            return;
        }
        let top = if usize::from(at) + 1 == lead.len() {
            Frame::Value(spec.value)
        } else {
            Frame::Key { object, field, begun, at: at + 1 }
        };
        self.out.push(top, below.clone());
    }

    fn literal(&mut self, node: NodeId, low: u32, high: u32, at: u32, below: &Below) {
        let Node::Literals(texts) = self.grammar.node(node) else { return };
        let (from, to, place) = (low as usize, high as usize, at as usize);
        let whole = at > 0 && texts[from].len() == place;
        if whole {
            self.hand_down(below);
        }
        // Sorted, and equal in the bytes before: those that go on with this byte stand together.
        let range = &texts[from..to];
        let first = from + range.partition_point(|text| text.get(place).is_none_or(|byte| *byte < self.byte));
        let last = from + range.partition_point(|text| text.get(place).is_none_or(|byte| *byte <= self.byte));
        if first == last {
            return;
        }
        if last - first == 1 && texts[first].len() == place + 1 {
            self.out.pop_to(below);
        } else {
            let bound = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
            self.out.push(Frame::Literal { node, low: bound(first), high: bound(last), at: at + 1 }, below.clone());
        }
    }

    fn text(&mut self, node: NodeId, state: TextState, below: &Below) {
        let Node::Text { min, max } = self.grammar.node(node) else { return };
        match state.step(self.byte, *min, *max) {
            TextStep::Inside(state) => self.out.push(Frame::Text { node, state }, below.clone()),
            TextStep::Closed => self.out.pop_to(below),
            TextStep::Illegal => {}
        }
    }

    fn number(&mut self, node: NodeId, state: NumberState, below: &Below) {
        let Node::Number(rule) = self.grammar.node(node) else { return };
        if let Some(state) = rule.advance(state, self.byte) {
            self.out.push(Frame::Number { node, state }, below.clone());
        } else if rule.may_end(state) {
            self.hand_down(below);
        }
    }

    fn object(&mut self, node: NodeId, next: u16, begun: bool, below: &Below) {
        let Node::Object(fields) = self.grammar.node(node) else { return };
        let rest = &fields[usize::from(next)..];
        if self.byte == b'}' && !rest.iter().any(|field| field.required) {
            return self.out.pop_to(below);
        }
        for (field, spec) in (next..).zip(rest) {
            if spec.lead(begun)[0] == self.byte {
                let here = link(Frame::Object { node, next: field + 1, begun: true }, below);
                self.out.push(Frame::Key { object: node, field, begun, at: 1 }, here);
            }
            if spec.required {
                break;
            }
        }
    }

    fn map(&mut self, node: NodeId, begun: bool, below: &Below) {
        let Node::Map { value } = self.grammar.node(node) else { return };
        match (self.byte, begun) {
            (b'}', _) => self.out.pop_to(below),
            (b'"', false) | (b',', true) => {
                let here = link(Frame::Map { node, begun: true }, below);
                let value = link(Frame::Value(*value), &here);
                let colon = link(Frame::Expect(b": "), &value);
                let key = Frame::Text { node: ANY_TEXT, state: TextState::default() };
                match begun {
                    false => self.out.push(key, colon),
                    true => self.out.push(Frame::Expect(b" \""), link(key, &colon)),
                }
            }
            _ => {}
        }
    }

    fn array(&mut self, node: NodeId, count: u32, below: &Below) {
        let Node::Array { items, min, max } = self.grammar.node(node) else { return };
        if self.byte == b']' && count >= *min {
            return self.out.pop_to(below);
        }
        if max.is_some_and(|max| count >= max) {
            return;
        }
        let counted = (count + 1).min(max.unwrap_or((*min).max(1)));
        let here = link(Frame::Array { node, count: counted }, below);
        if count == 0 {
            self.begin(*items, &here, 0);
        } else if self.byte == b',' {
            self.out.push(Frame::Expect(b" "), link(Frame::Value(*items), &here));
        }
    }
}

fn may_end(grammar: &Grammar, frame: Frame) -> bool {
    match (frame, grammar.node(node_of(frame))) {
        (Frame::Number { state, .. }, Node::Number(rule)) => rule.may_end(state),
        (Frame::Literal { low, at, .. }, Node::Literals(texts)) => texts[low as usize].len() == at as usize,
        _ => false,
    }
}

fn node_of(frame: Frame) -> NodeId {
    match frame {
        Frame::Literal { node, .. } | Frame::Number { node, .. } => node,
        _ => super::node::ANY,
    }
}

fn close_stack(grammar: &Grammar, stack: &Stack) -> Vec<u8> {
    let mut out = Vec::new();
    close(grammar, stack.top, &mut out);
    let mut below = &stack.below;
    while let Some(link) = below {
        close(grammar, link.frame, &mut out);
        below = &link.below;
    }
    out
}

fn close(grammar: &Grammar, frame: Frame, out: &mut Vec<u8>) {
    match frame {
        Frame::Value(node) => out.extend_from_slice(grammar.shortest(node)),
        Frame::Expect(bytes) => out.extend_from_slice(bytes),
        Frame::Key { object, field, begun, at } => {
            let spec = grammar.field(object, field);
            out.extend_from_slice(&spec.lead(begun)[usize::from(at)..]);
            out.extend_from_slice(grammar.shortest(spec.value));
        }
        Frame::Literal { node, low, high, at } => {
            if let Node::Literals(texts) = grammar.node(node)
                && let Some(text) = texts[low as usize..high as usize].iter().min_by_key(|text| text.len())
            {
                out.extend_from_slice(&text[at as usize..]);
            }
        }
        Frame::Text { node, state } => {
            let min = if let Node::Text { min, .. } = grammar.node(node) { *min } else { 0 };
            state.close(min, out);
        }
        Frame::Number { node, state } => {
            if let Node::Number(rule) = grammar.node(node) {
                out.extend(rule.closing(state).unwrap_or_default());
            }
        }
        Frame::Object { node, next, mut begun } => {
            if let Node::Object(fields) = grammar.node(node) {
                for field in fields[usize::from(next)..].iter().filter(|field| field.required) {
                    out.extend_from_slice(field.lead(begun));
                    out.extend_from_slice(grammar.shortest(field.value));
                    begun = true;
                }
            }
            out.push(b'}');
        }
        Frame::Map { .. } => out.push(b'}'),
        Frame::Array { node, count } => {
            if let Node::Array { items, min, .. } = grammar.node(node) {
                for index in count..*min {
                    out.extend_from_slice(if index > 0 { b", " } else { b"" });
                    out.extend_from_slice(grammar.shortest(*items));
                }
            }
            out.push(b']');
        }
    }
}
