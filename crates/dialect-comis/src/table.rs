//! The methods that this dialect serves, and nothing else.

use dialect::MethodTable;

use crate::notices::Notices;
use crate::{SettingsSource, methods};

/// What methods need besides the services.
#[derive(Clone)]
pub(crate) struct Context {
    pub settings: SettingsSource,
    pub notices: Notices,
}

pub(crate) fn methods(context: &Context) -> MethodTable {
    let mut table = MethodTable::default();
    methods::system::bind(&mut table);
    methods::agent::bind(&mut table);
    methods::session::bind(&mut table, context);
    table
}
