//! TLS of a listener.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::settings::TlsSettings;

/// Reads certificate, key and, if asked, the certificates of clients.
pub(crate) fn acceptor(settings: &TlsSettings) -> Result<TlsAcceptor, String> {
    let certificates = certificates("certificate", &settings.cert_path)?;
    let key =
        PrivateKeyDer::from_pem_file(&settings.key_path).map_err(|error| fail("key", &settings.key_path, &error))?;
    let builder = ServerConfig::builder();
    let builder = match &settings.ca_path {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in self::certificates("CA", path)? {
                roots.add(certificate).map_err(|error| fail("CA", path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
            let verifier = if settings.require_client_cert { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| fail("CA", path, &error))?)
        }
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|error| fail("certificate", &settings.cert_path, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(label: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| fail(label, path, &error))?.collect();
    let certificates = read.map_err(|error| fail(label, path, &error))?;
    if certificates.is_empty() {
        return Err(format!("{label} at {} does not appear to be PEM format", path.display()));
    }
    Ok(certificates)
}

fn fail(label: &str, path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("Failed to read {label} at {}: {error}", path.display())
}
