//! An authority, and what it signs: for the API server and for whoever administrates it.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

/// Writes `ca.crt`, `server`, `admin` and `front` with `.crt` and `.key`, and `accounts.{key,pub}` into the folder.
pub(crate) fn write(folder: &Path) {
    let write =
        |name: &str, text: String| std::fs::write(folder.join(name), text).expect("a file for a certificate");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name = name("authority", None);
    let ca = params.self_signed(&key).expect("an authority");
    write("ca.crt", ca.pem());
    let authority = Issuer::new(params, key);

    let sign = |file: &str, mut params: CertificateParams| {
        let key = KeyPair::generate().expect("a key");
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &authority).expect("a certificate");
        write(&format!("{file}.crt"), certificate.pem());
        write(&format!("{file}.key"), key.serialize_pem());
    };
    let names =
        ["localhost", "127.0.0.1", "kubernetes.default.svc", "extensions.kube-system.svc"].map(str::to_owned);
    let mut server = CertificateParams::new(names).expect("names");
    server.distinguished_name = name("kube-apiserver", None);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign("server", server);
    for (file, common, organization) in
        [("admin", "admin", Some("system:masters")), ("front", "front-proxy", None)]
    {
        let mut client = CertificateParams::default();
        client.distinguished_name = name(common, organization);
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        sign(file, client);
    }
    let accounts = KeyPair::generate().expect("a key");
    write("accounts.key", accounts.serialize_pem());
    write("accounts.pub", accounts.public_key_pem());
}

fn name(common: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name
}
