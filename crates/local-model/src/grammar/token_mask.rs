//! From allowed bytes to allowed tokens.
//!
//! The vocabulary is sorted by bytes once; a mask is one walk over it that shares the states of common
//! beginnings and skips whole ranges behind a forbidden byte. Masks are kept by state: inside a string the
//! state mostly repeats.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Grammar, State};

/// Masks kept; when more are made the lot is dropped, which costs time and nothing else.
const MASKS_KEPT_MAX: usize = 256;

/// The tokens of a vocabulary in the order of their bytes.
#[derive(Debug)]
pub struct TokenOrder {
    ids: Vec<u32>,
    bytes: Vec<Box<[u8]>>,
    /// Leading bytes that a token shares with the one before it.
    shared: Vec<u32>,
    /// Size of the vocabulary, tokens without bytes included.
    len: usize,
}

/// One bit for each token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMask(Vec<u64>);

impl TokenMask {
    #[cfg(test)]
    pub fn allows(&self, id: u32) -> bool {
        self.0.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// The allowed ids, rising.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        (0_u32..)
            .zip(&self.0)
            .flat_map(|(index, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index * 64 + bit))
    }
}

impl TokenOrder {
    /// `tokens[id]` are the bytes of a token, empty for control tokens, which no mask allows.
    pub fn new(tokens: &[Box<[u8]>]) -> Self {
        let mut ids: Vec<u32> =
            (0_u32..).zip(tokens).filter(|(_, bytes)| !bytes.is_empty()).map(|(id, _)| id).collect();
        ids.sort_by(|a, b| tokens[*a as usize].cmp(&tokens[*b as usize]));
        let bytes: Vec<Box<[u8]>> = ids.iter().map(|id| tokens[*id as usize].clone()).collect();
        let mut shared = vec![0; ids.len()];
        for (index, pair) in bytes.windows(2).enumerate() {
            let common = pair[0].iter().zip(&pair[1]).take_while(|(a, b)| a == b).count();
            shared[index + 1] = u32::try_from(common).unwrap_or(u32::MAX);
        }
        Self { ids, bytes, shared, len: tokens.len() }
    }

    /// The bytes of a token, `None` for control tokens and unknown ids.
    #[cfg(test)]
    pub fn bytes_of(&self, id: u32) -> Option<&[u8]> {
        self.ids.iter().position(|known| *known == id).map(|place| &*self.bytes[place])
    }

    fn mask(&self, grammar: &Grammar, start: &State) -> TokenMask {
        let mut mask = TokenMask(vec![0; self.len.div_ceil(64)]);
        // `path[depth]` is the state after that many bytes of the current token.
        let mut path = vec![start.clone()];
        for (index, bytes) in self.bytes.iter().enumerate() {
            let shared = self.shared[index] as usize;
            if shared >= path.len() {
                continue;
            }
            path.truncate(shared + 1);
            for byte in &bytes[shared..] {
                match path[path.len() - 1].step(grammar, *byte) {
                    Some(next) => path.push(next),
                    None => break,
                }
            }
            if path.len() == bytes.len() + 1 {
                let id = self.ids[index];
                mask.0[id as usize / 64] |= 1 << (id % 64);
            }
        }
        mask
    }
}

/// Masks of one grammar over one vocabulary.
#[derive(Debug)]
pub struct Masker {
    grammar: Arc<Grammar>,
    order: Arc<TokenOrder>,
    kept: HashMap<State, Arc<TokenMask>>,
}

impl Masker {
    pub fn new(grammar: Arc<Grammar>, order: Arc<TokenOrder>) -> Self {
        Self { grammar, order, kept: HashMap::new() }
    }

    /// Tokens all of whose bytes may follow `state`.
    pub fn mask(&mut self, state: &State) -> Arc<TokenMask> {
        if let Some(known) = self.kept.get(state) {
            return Arc::clone(known);
        }
        if self.kept.len() >= MASKS_KEPT_MAX {
            self.kept.clear();
        }
        let mask = Arc::new(self.order.mask(&self.grammar, state));
        self.kept.insert(state.clone(), Arc::clone(&mask));
        mask
    }
}
