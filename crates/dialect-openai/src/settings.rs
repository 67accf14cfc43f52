//! What can be set of these routes.

/// What a model id comes to that is neither an agent's nor begins with the name of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownModel {
    /// The default agent answers.
    #[default]
    Default,
    /// 404.
    Reject,
}

/// The settings in force; asked anew for every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenAiSettings {
    pub unknown_model: UnknownModel,
}
