//! The definitions of the resources, as they are handed to Kubernetes.

/// All of them, as one stream of YAML.
///
/// # Errors
/// One cannot be written as YAML.
pub fn yaml() -> Result<String, serde_saphyr::ser_error::Error> {
    let mut text = String::new();
    for definition in edgemux_cluster_api::crds::all() {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&definition)?);
    }
    Ok(text)
}
