//! Prints what of the shipped manifests is made from this crate: `manifests crds` and `manifests rbac`.

use std::process::ExitCode;

use edgemux_cluster_api::{access, crds};
use serde_json::Value;

fn main() -> ExitCode {
    let what = std::env::args().nth(1);
    let objects: Result<Vec<Value>, _> = match what.as_deref() {
        Some("crds") => crds::all().into_iter().map(serde_json::to_value).collect(),
        Some("rbac") => access::objects(),
        _ => {
            eprintln!("usage: manifests crds|rbac");
            return ExitCode::from(2);
        }
    };
    let documents = objects.map_err(|error| error.to_string()).and_then(|objects| {
        let documents = objects.iter().map(serde_saphyr::to_string);
        documents.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
    });
    match documents {
        Ok(documents) => {
            println!("# Made by `cargo xtask docs`; changes are made in cluster/api.");
            for document in documents {
                print!("---\n{document}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("manifests: {error}");
            ExitCode::FAILURE
        }
    }
}
