//! A turn on its way: what asking the model and running tools have in common.

use std::mem;

use model::ModelRef;
use providers::Router;

use crate::journal::Journal;
use crate::repetition::Repetition;
use crate::toolbox::Toolbox;
use crate::turn::{Turn, TurnEnd, TurnOutcome};
use crate::window::Gauge;

/// A turn on its way.
pub(crate) struct Course<'a> {
    pub(crate) turn: Turn,
    pub(crate) router: &'a Router,
    pub(crate) journal: &'a dyn Journal,
    pub(crate) toolbox: Toolbox,
    pub(crate) gauge: Gauge,
    /// The model that answered last.
    pub(crate) model: Option<ModelRef>,
    pub(crate) repetition: Repetition,
}

impl<'a> Course<'a> {
    pub(crate) fn new(mut turn: Turn, router: &'a Router, journal: &'a dyn Journal) -> Self {
        let toolbox = Toolbox::new(mem::take(&mut turn.tools), mem::take(&mut turn.client_tools));
        turn.system = toolbox.with_guidance(mem::take(&mut turn.system));
        let gauge = Gauge::new(&turn.system, toolbox.chars());
        Self { turn, router, journal, toolbox, gauge, model: None, repetition: Repetition::default() }
    }

    pub(crate) fn outcome(self, end: TurnEnd) -> TurnOutcome {
        TurnOutcome { end, model: self.model, iterations: self.turn.iterations, usage: self.turn.usage }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.turn.context.cancel.is_cancelled()
    }
}
