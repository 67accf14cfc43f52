//! What methods need besides the services.

use crate::SettingsSource;
use crate::notices::Notices;

#[derive(Clone)]
pub(crate) struct Context {
    pub settings: SettingsSource,
    pub notices: Notices,
}
