//! The methods that this dialect serves, and nothing else.

use dialect::MethodTable;

use crate::context::Context;
use crate::methods;

pub(crate) fn methods(context: &Context) -> MethodTable {
    let mut table = MethodTable::default();
    methods::system::bind(&mut table);
    methods::agent::bind(&mut table);
    methods::session::bind(&mut table, context);
    table
}
