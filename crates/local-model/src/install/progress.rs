//! Telling how an installation goes on.

/// Told how an installation goes on; a command line draws a bar from it. Called from one task at a time.
pub trait Progress: Send + Sync {
    /// A step of `total` bytes begins; without a total its length is unknown.
    fn begin(&self, what: &str, total: Option<u64>);
    /// So many further bytes of the step are done.
    fn advance(&self, bytes: u64);
    /// Something worth a line: a source is passed over, a model is there already.
    fn message(&self, text: &str);
    /// The step is over, well or not.
    fn finish(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn message(&self, _text: &str) {}
    fn finish(&self) {}
}
