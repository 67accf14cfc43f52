//! What comes of one question to the model.

use crate::answer::Answer;
use crate::turn::TurnEnd;

pub(crate) enum Asked {
    Answer(Box<Answer>),
    End(Box<TurnEnd>),
}
