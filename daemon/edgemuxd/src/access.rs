//! Who calls, and what they may use.
//!
//! A caller is known by what it sends (a bearer token), by what it has shown (a certificate), or by what the kernel says of it
//! (its user and group, on a unix socket), in this order. Without tenants in the configuration everybody may do everything.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use crate::config::{self, Config, TokenDigest};
use crate::connection::Peer;

/// Who may call, as configured.
#[derive(Debug)]
pub struct Access {
    is_open: bool,
    tenants: Vec<Arc<Tenant>>,
    tokens: HashMap<TokenDigest, usize>,
    certificates: HashMap<String, usize>,
    uids: HashMap<u32, usize>,
    gids: HashMap<u32, usize>,
    /// The daemon's own user, who may do everything, as may root.
    own_uid: u32,
    node: Quota,
}

/// A tenant, and how much of its share it uses.
#[derive(Debug)]
struct Tenant {
    config: config::Tenant,
    requests: Quota,
}

/// How many may be under way, and how many are.
#[derive(Clone, Debug)]
struct Quota {
    most: usize,
    under_way: Arc<AtomicUsize>,
}

/// One that is under way.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

/// Nobody that the configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// A token that is nobody's.
    #[error("the bearer token is no tenant's")]
    Token,
    /// A certificate that is nobody's.
    #[error("no tenant is known by the names of the certificate that was shown")]
    Certificate,
    /// A user who is nobody.
    #[error("user id {0} is no tenant's, and no bearer token was sent")]
    User(u32),
    /// Nothing to know them by.
    #[error("a bearer token is needed: authorization: Bearer TOKEN")]
    Nothing,
}

/// As many requests are under way as may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// Of the tenant.
    #[error("tenant '{tenant}' has {most} requests under way, as many as it may")]
    Tenant {
        /// The tenant.
        tenant: String,
        /// Its share.
        most: usize,
    },
    /// Of everybody.
    #[error("{0} requests are under way, as many as limits.requests allows")]
    Node(usize),
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    who: Who,
    uid: Option<u32>,
    node: Option<Quota>,
}

#[derive(Clone, Debug)]
enum Who {
    Anybody,
    Tenant(Arc<Tenant>),
    Nobody,
}

impl Access {
    /// What `config` says. Requests that are under way count on, from `former`.
    pub fn new(config: &Config, former: Option<&Self>) -> Self {
        let quota = |former: Option<&Quota>, most| Quota {
            most,
            under_way: former.map(|former| Arc::clone(&former.under_way)).unwrap_or_default(),
        };
        let tenants: Vec<_> = config
            .tenant
            .iter()
            .map(|tenant| {
                let known = former.and_then(|former| former.named(&tenant.name));
                let requests =
                    quota(known.map(|known| &known.requests), tenant.requests.unwrap_or(usize::MAX));
                Arc::new(Tenant { config: tenant.clone(), requests })
            })
            .collect();
        let each = || config.tenant.iter().enumerate();
        Self {
            is_open: config.tenant.is_empty(),
            tokens: each().flat_map(|(at, t)| t.token_sha256.iter().map(move |&token| (token, at))).collect(),
            certificates: each()
                .flat_map(|(at, t)| t.certificates.iter().map(move |name| (name.to_ascii_lowercase(), at)))
                .collect(),
            uids: each().flat_map(|(at, t)| t.uids.iter().map(move |&uid| (uid, at))).collect(),
            gids: each().flat_map(|(at, t)| t.gids.iter().map(move |&gid| (gid, at))).collect(),
            own_uid: rustix::process::geteuid().as_raw(),
            node: quota(former.map(|former| &former.node), config.limits.requests),
            tenants,
        }
    }

    fn named(&self, name: &str) -> Option<&Arc<Tenant>> {
        self.tenants.iter().find(|tenant| tenant.config.name == name)
    }

    /// Who it is at the other end of a connection, with what the request's `authorization` says.
    pub fn caller(&self, peer: &Peer, authorization: Option<&str>) -> Result<Caller, Unknown> {
        let uid = peer.user.map(|(uid, _)| uid);
        let who = if self.is_open { Who::Anybody } else { self.who(peer, authorization)? };
        Ok(Caller { who, uid, node: Some(self.node.clone()) })
    }

    fn who(&self, peer: &Peer, authorization: Option<&str>) -> Result<Who, Unknown> {
        let tenant = |&at: &usize| self.tenants.get(at).cloned().map(Who::Tenant);
        if let Some(token) = authorization.and_then(bearer) {
            let digest = TokenDigest(Sha256::digest(token).into());
            return self.tokens.get(&digest).and_then(tenant).ok_or(Unknown::Token);
        }
        let mut shown = peer.certificate.iter();
        if let Some(found) = shown.find_map(|name| self.certificates.get(&name.to_ascii_lowercase())) {
            return tenant(found).ok_or(Unknown::Certificate);
        }
        match peer.user {
            Some((uid, gid)) => {
                let found = self.uids.get(&uid).or_else(|| self.gids.get(&gid)).and_then(tenant);
                let is_ours = uid == 0 || uid == self.own_uid;
                found.or_else(|| is_ours.then_some(Who::Anybody)).ok_or(Unknown::User(uid))
            }
            None if peer.certificate.is_empty() => Err(Unknown::Nothing),
            None => Err(Unknown::Certificate),
        }
    }
}

/// The token of an `authorization` header, if it holds one.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Quota {
    fn enter(&self) -> Option<Permit> {
        let entered = Permit(Arc::clone(&self.under_way));
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        (before < self.most).then_some(entered)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Caller {
    /// The daemon itself.
    pub fn daemon() -> Self {
        Self { who: Who::Anybody, uid: None, node: None }
    }

    /// Somebody who is not known, and may use nothing.
    pub fn nobody() -> Self {
        Self { who: Who::Nobody, uid: None, node: None }
    }

    /// May it do everything?
    pub fn is_admin(&self) -> bool {
        match &self.who {
            Who::Anybody => true,
            Who::Tenant(tenant) => tenant.config.admin,
            Who::Nobody => false,
        }
    }

    /// Is the model its own?
    pub fn may_use(&self, model: &str) -> bool {
        match &self.who {
            Who::Anybody => true,
            Who::Tenant(tenant) => {
                tenant.config.admin || tenant.config.models.iter().any(|own| fits(own, model))
            }
            Who::Nobody => false,
        }
    }

    /// Is the session its own?
    pub fn may_see(&self, session: &str) -> bool {
        self.may_use(session.split_once('/').map_or(session, |(model, _)| model))
    }

    /// Whether shared memory of this owner is its to have read and written. The daemon opens it with its own rights, which
    /// may reach further than the caller's.
    pub fn may_share_memory_of(&self, owner: u32) -> bool {
        match &self.who {
            Who::Anybody => true,
            Who::Tenant(tenant) => tenant.config.admin || self.uid == Some(owner),
            Who::Nobody => false,
        }
    }

    /// The tenant's name; none of whoever may do everything without being one.
    pub fn tenant(&self) -> Option<&str> {
        match &self.who {
            Who::Tenant(tenant) => Some(&tenant.config.name),
            Who::Anybody | Who::Nobody => None,
        }
    }

    /// What a tenant calls by `name` is nobody else's of that name.
    pub fn scoped(&self, name: &str) -> String {
        match &self.who {
            Who::Tenant(tenant) if !tenant.config.admin => format!("{}\u{0}{name}", tenant.config.name),
            Who::Tenant(_) | Who::Anybody | Who::Nobody => name.to_owned(),
        }
    }

    /// Most sessions and reservations of its models at a time.
    pub fn sessions_max(&self) -> Option<usize> {
        match &self.who {
            Who::Tenant(tenant) => tenant.config.sessions,
            Who::Anybody | Who::Nobody => None,
        }
    }

    /// One more request is under way until what is returned is dropped.
    pub fn enter(&self) -> Result<[Option<Permit>; 2], TooMany> {
        let of_tenant = match &self.who {
            Who::Tenant(tenant) => Some(tenant.requests.enter().ok_or_else(|| TooMany::Tenant {
                tenant: tenant.config.name.clone(),
                most: tenant.requests.most,
            })?),
            Who::Anybody | Who::Nobody => None,
        };
        let of_node = match &self.node {
            Some(node) => Some(node.enter().ok_or(TooMany::Node(node.most))?),
            None => None,
        };
        Ok([of_tenant, of_node])
    }
}

fn fits(own: &str, model: &str) -> bool {
    match own.strip_suffix('*') {
        Some(beginning) => model.starts_with(beginning),
        None => own == model,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(tenants: &str, former: Option<&Access>) -> Access {
        let config: Config = toml::from_str(tenants).unwrap();
        config.check().unwrap();
        Access::new(&config, former)
    }

    /// SHA-256 of "secret".
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    const USER: u32 = 4_000_001;

    fn camera() -> Access {
        let tenants = format!(
            "[[tenant]]\nname = 'camera'\nmodels = ['cam-*', 'shared']\nuids = [{USER}]\ngids = [77]\n\
             token-sha256 = ['{SECRET}']\ncertificates = ['Camera.example']\nsessions = 2\nrequests = 1\n\
             [[tenant]]\nname = 'operator'\nadmin = true\nuids = [4000002]\n"
        );
        access(&tenants, None)
    }

    fn user(uid: u32, gid: u32) -> Peer {
        Peer { user: Some((uid, gid)), ..Peer::default() }
    }

    fn shown(name: &str) -> Peer {
        Peer { certificate: Arc::new([name.to_owned()]), ..Peer::default() }
    }

    #[test]
    fn without_tenants_anybody_may_do_everything() {
        let caller = access("", None).caller(&Peer::default(), None).unwrap();
        assert!(caller.is_admin() && caller.may_use("any") && caller.may_share_memory_of(5));
    }

    #[test]
    fn a_tenant_is_known_by_any_of_its_marks_and_nobody_else_is() {
        let access = camera();
        for (peer, token) in [
            (user(USER, 1), None),
            (user(4_000_009, 77), None),
            (shown("camera.EXAMPLE"), None),
            (Peer::default(), Some("Bearer secret")),
            (Peer::default(), Some("bearer  secret")),
        ] {
            let caller = access.caller(&peer, token).unwrap();
            assert_eq!(caller.tenant(), Some("camera"), "{peer:?} {token:?}");
        }
        for (peer, token, unknown) in [
            (user(4_000_009, 1), None, Unknown::User(4_000_009)),
            (shown("other.example"), None, Unknown::Certificate),
            (Peer::default(), None, Unknown::Nothing),
            (Peer::default(), Some("Bearer Secret"), Unknown::Token),
            (Peer::default(), Some("Basic secret"), Unknown::Nothing),
            // Who sends a token is judged by it, whoever the connection is from.
            (user(USER, 1), Some("Bearer wrong"), Unknown::Token),
        ] {
            assert_eq!(access.caller(&peer, token).unwrap_err(), unknown, "{peer:?} {token:?}");
        }
    }

    #[test]
    fn a_tenant_has_its_own_models_and_memory_and_an_admin_everything() {
        let access = camera();
        let caller = access.caller(&user(USER, 1), None).unwrap();
        for (model, own) in
            [("cam-1", true), ("cam-", true), ("shared", true), ("shared2", false), ("x", false)]
        {
            assert_eq!(caller.may_use(model), own, "{model}");
        }
        assert!(caller.may_share_memory_of(USER) && !caller.may_share_memory_of(0));
        assert!(!caller.is_admin());
        let remote = access.caller(&Peer::default(), Some("Bearer secret")).unwrap();
        assert!(!remote.may_share_memory_of(USER));
        for admin in [user(4_000_002, 1), user(0, 0), user(access.own_uid, 1)] {
            let caller = access.caller(&admin, None).unwrap();
            assert!(caller.is_admin() && caller.may_use("x"), "{admin:?}");
        }
    }

    #[test]
    fn a_share_is_given_back_and_survives_a_reload() {
        let access = camera();
        let caller = access.caller(&user(USER, 1), None).unwrap();
        let under_way = caller.enter().unwrap();
        assert!(caller.enter().is_err());
        // A refusal takes nothing.
        assert!(caller.enter().is_err());

        let more = format!("[[tenant]]\nname = 'camera'\nmodels = ['*']\nuids = [{USER}]\nrequests = 2\n");
        let reloaded = self::access(&more, Some(&access));
        let caller = reloaded.caller(&user(USER, 1), None).unwrap();
        let second = caller.enter().unwrap();
        assert!(caller.enter().is_err(), "the one from before counts");
        drop((under_way, second));
        assert!(caller.enter().is_ok());
    }

    #[test]
    fn everybody_together_is_limited_too() {
        let access = access("[limits]\nrequests = 1\n", None);
        let caller = access.caller(&Peer::default(), None).unwrap();
        let _one = caller.enter().unwrap();
        assert_eq!(caller.enter().unwrap_err(), TooMany::Node(1));
    }
}
