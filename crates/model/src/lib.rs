//! Nouns and rules of the gateway: ids, sessions, runs, messages, scopes, events, error kinds.
//!
//! No I/O, no async, no wire: everything here is a value or a pure function. Read [`Event`] and
//! [`Run`] first; the rest hangs off them. Types derive `Serialize` only where a store and a wire
//! share the value on purpose (ids, scopes, message content, event bodies kept in the log).

pub mod agent;
pub mod clock;
pub mod error;
pub mod event;
pub mod id;
pub mod message;
pub mod model_ref;
pub mod node;
pub mod pairing;
pub mod pattern;
pub mod principal;
pub mod run;
pub mod secret;
pub mod session;
mod stored_event;
pub mod thinking;
pub mod tool;

pub use agent::{Agent, AgentIdentity};
pub use clock::{Clock, FixedClock, SystemClock, Timestamp};
pub use error::{ErrorKind, Noun, OpError};
pub use event::{Cursor, Envelope, Event, PresenceEntry, RunOutcome, RunRef, TextSoFar};
pub use id::{
    AgentId, ConnectionId, Ids, InputId, InvalidId, MessageId, RunId, SessionId, TokenId, ToolCallId, uuid_of,
};
pub use message::{Content, Message, NewMessage, Part, Reasoning, Role, ToolCall, Usage};
pub use model_ref::ModelRef;
pub use node::Fence;
pub use pairing::{DeviceFacts, PAIR_REQUEST_TTL_MS, PairRequest, PairState};
pub use pattern::{InvalidPattern, Pattern};
pub use principal::{Principal, PrincipalKind, Scope, ScopeSet};
pub use run::{AwaitingInput, EndReason, Run, RunError, RunLimits, RunOptions, RunState, StopCause};
pub use secret::{REDACTED, Secret};
pub use session::{InvalidSessionKey, Session, SessionKey, SessionKind, SessionSettings};
pub use thinking::Thinking;
pub use tool::{ClientTool, ClientTools, ToolCallRecord, ToolCallState, ToolChoice};
