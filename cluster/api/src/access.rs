//! What each program may do in a cluster: the one table that the shipped roles are made from, that the programs' tests hold their
//! requests against, and that the tests with a real API server hold the roles against.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{
    AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::GROUP;

/// The namespace of edgemux's own programs, as it is shipped.
pub const NAMESPACE: &str = "edgemux-system";
/// Name of the controller, its account and its roles.
pub const CONTROLLER: &str = "edgemux-controller";
/// Name of the publisher, its account and its roles.
pub const PUBLISHER: &str = "edgemux-publisher";

/// Verbs on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource, with its subresource.
    pub resource: &'static str,
    /// What may be done with it.
    pub verbs: &'static [&'static str],
    /// Where.
    pub scope: Scope,
    /// What for.
    pub reason: &'static str,
}

/// Where access holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In all namespaces, or of what has none.
    Cluster,
    /// In [`NAMESPACE`] alone.
    Own,
}

/// What `edgemux-publisher` does, on every node.
pub const OF_PUBLISHER: &[Access] = &[
    Access {
        group: GROUP,
        resource: "acceleratornodes",
        // Server-side apply is a patch, and a creation besides where there is nothing yet.
        verbs: &["create", "patch"],
        scope: Scope::Cluster,
        reason: "its node; an admission policy holds it to that one",
    },
    Access {
        group: GROUP,
        resource: "acceleratornodes/status",
        verbs: &["patch"],
        scope: Scope::Cluster,
        reason: "what it sees there",
    },
    Access {
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["create", "patch"],
        scope: Scope::Own,
        reason: "its node is alive",
    },
];

/// What `edgemux-controller` does.
pub const OF_CONTROLLER: &[Access] = &[
    Access {
        group: GROUP,
        resource: "acceleratornodes",
        verbs: &["list", "watch"],
        scope: Scope::Cluster,
        reason: "where sessions can go",
    },
    Access {
        group: GROUP,
        resource: "inferencesessions",
        verbs: &["list", "patch", "watch"],
        scope: Scope::Cluster,
        reason: "what is asked for; the finaliser is put there and taken away",
    },
    Access {
        group: GROUP,
        resource: "inferencesessions/status",
        verbs: &["patch"],
        scope: Scope::Cluster,
        reason: "what has become of it",
    },
    Access {
        group: "events.k8s.io",
        resource: "events",
        verbs: &["create", "patch"],
        scope: Scope::Cluster,
        reason: "sessions' events lie in their namespaces",
    },
    Access {
        group: "coordination.k8s.io",
        resource: "leases",
        verbs: &["create", "get", "list", "update", "watch"],
        scope: Scope::Own,
        reason: "which nodes are alive; which controller leads",
    },
];

/// Verbs of whoever may look at sessions.
const VIEW: &[&str] = &["get", "list", "watch"];
/// Verbs of whoever may ask for sessions.
const EDIT: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Whether the table allows it.
#[must_use]
pub fn allows(table: &[Access], group: &str, resource: &str, verb: &str, namespace: Option<&str>) -> bool {
    table.iter().any(|access| {
        let there = match access.scope {
            Scope::Cluster => true,
            Scope::Own => namespace == Some(NAMESPACE),
        };
        there && access.group == group && access.resource == resource && access.verbs.contains(&verb)
    })
}

/// Accounts, roles and bindings, as objects of the API.
///
/// # Errors
///
/// None that are known: what is written here has a form in JSON.
pub fn objects() -> Result<Vec<Value>, serde_json::Error> {
    let mut objects = Vec::new();
    for (name, table) in [(CONTROLLER, OF_CONTROLLER), (PUBLISHER, OF_PUBLISHER)] {
        let own = ObjectMeta { namespace: Some(NAMESPACE.into()), ..named(name) };
        let account = Subject {
            kind: "ServiceAccount".into(),
            name: name.into(),
            namespace: Some(NAMESPACE.into()),
            api_group: None,
        };
        let role = |kind: &str| RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: kind.into(),
            name: name.into(),
        };
        objects.push(serde_json::to_value(ServiceAccount {
            metadata: own.clone(),
            ..ServiceAccount::default()
        })?);
        objects.push(serde_json::to_value(ClusterRole {
            metadata: named(name),
            rules: Some(rules(table, Scope::Cluster)),
            aggregation_rule: None::<AggregationRule>,
        })?);
        objects.push(serde_json::to_value(ClusterRoleBinding {
            metadata: named(name),
            role_ref: role("ClusterRole"),
            subjects: Some(vec![account.clone()]),
        })?);
        objects.push(serde_json::to_value(Role {
            metadata: own.clone(),
            rules: Some(rules(table, Scope::Own)),
        })?);
        objects.push(serde_json::to_value(RoleBinding {
            metadata: own,
            role_ref: role("Role"),
            subjects: Some(vec![account]),
        })?);
    }
    for (name, verbs, roles) in
        [("edgemux-view", VIEW, &["view"][..]), ("edgemux-edit", EDIT, &["edit", "admin"])]
    {
        // Whoever may view, edit or administrate a namespace may do so with its sessions.
        let labels = roles
            .iter()
            .map(|role| (format!("rbac.authorization.k8s.io/aggregate-to-{role}"), "true".to_owned()));
        let metadata = ObjectMeta { labels: Some(labels.collect::<BTreeMap<_, _>>()), ..named(name) };
        let mut rules =
            vec![rule(GROUP, &["inferencesessions"], verbs), rule(GROUP, &["acceleratornodes"], VIEW)];
        if verbs == EDIT {
            rules.push(rule(GROUP, &["inferencesessions/scale"], &["get", "patch", "update"]));
        }
        objects.push(serde_json::to_value(ClusterRole {
            metadata,
            rules: Some(rules),
            aggregation_rule: None,
        })?);
    }
    Ok(objects)
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }
}

fn rules(table: &[Access], scope: Scope) -> Vec<PolicyRule> {
    let here = table.iter().filter(|access| access.scope == scope);
    here.map(|access| rule(access.group, &[access.resource], access.verbs)).collect()
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_is_of_a_verb_on_a_resource_in_its_place() {
        let allowed = |resource, verb, namespace| {
            allows(OF_PUBLISHER, "coordination.k8s.io", resource, verb, namespace)
        };
        assert!(allowed("leases", "patch", Some(NAMESPACE)));
        assert!(!allowed("leases", "patch", Some("default")));
        assert!(!allowed("leases", "delete", Some(NAMESPACE)));
        assert!(!allows(OF_PUBLISHER, GROUP, "inferencesessions", "patch", None));
        assert!(allows(OF_CONTROLLER, GROUP, "inferencesessions", "patch", Some("default")));
    }

    #[test]
    fn nobody_may_do_everything() {
        for access in OF_CONTROLLER.iter().chain(OF_PUBLISHER) {
            assert!(!access.verbs.is_empty() && access.resource != "*" && access.group != "*", "{access:?}");
            assert!(!access.verbs.contains(&"*") && access.resource != "secrets", "{access:?}");
        }
    }

    #[test]
    fn every_object_has_a_kind_and_a_name_of_its_own() {
        let objects = objects().unwrap();
        assert_eq!(objects.len(), 12);
        let mut keys: Vec<_> =
            objects.iter().map(|o| format!("{}/{}", o["kind"], o["metadata"]["name"])).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), objects.len());
    }
}
