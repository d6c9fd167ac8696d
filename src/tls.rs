//! TLS for clients that take any certificate: in development it is self-signed, and what a client of
//! hotrun asks is whether the program serves, not which one it is.

use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
};

/// The name that a client asks for (SNI): a server with several certificates has one for this.
pub(crate) const NAME: &str = "localhost";

/// What a client says and takes: HTTP/1.1, any certificate, and a whole handshake each time, since a
/// session of the old generation is unknown to the new one.
pub(crate) fn client() -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The name as a client of rustls wants it.
pub(crate) fn name() -> io::Result<ServerName<'static>> {
    ServerName::try_from(NAME).map_err(io::Error::other)
}

/// One connection, before its handshake.
pub(crate) fn connection(config: Arc<ClientConfig>) -> io::Result<ClientConnection> {
    ClientConnection::new(config, name()?).map_err(io::Error::other)
}

/// Why a handshake failed, where that tells what the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// No TLS.
    Plain,
    /// TLS, and in it something else than HTTP/1.1.
    OtherProtocol,
    /// TLS, and it did not want to go on.
    Tls,
}

/// What the server speaks, by the error of a handshake; nothing if that does not tell.
pub(crate) fn spoken(error: &io::Error) -> Option<Spoken> {
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidMessage(_) => Some(Spoken::Plain),
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            Some(Spoken::OtherProtocol)
        }
        _ => Some(Spoken::Tls),
    }
}

/// Takes every certificate, those of version 1 or with an odd key included: so nothing in it is looked
/// at, and no signature is checked by it.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
