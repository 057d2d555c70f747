//! How credentials come about.

use std::fmt;
use std::path::PathBuf;

/// Static credentials. Not `Debug`.
#[derive(Clone)]
pub(in crate::store::remote) struct Keys {
    pub(in crate::store::remote) id: String,
    pub(in crate::store::remote) secret: String,
    pub(in crate::store::remote) token: Option<String>,
}

/// A role to be assumed.
#[derive(Clone)]
pub(in crate::store::remote) struct Role {
    pub(in crate::store::remote) arn: String,
    /// What the session is called in AWS's logs.
    pub(in crate::store::remote) session_name: Option<String>,
    pub(in crate::store::remote) external_id: Option<String>,
    /// How long the session lasts.
    pub(in crate::store::remote) seconds: Option<String>,
}

/// An account's role that IAM Identity Center gives to whom has logged in.
#[derive(Clone)]
pub(in crate::store::remote) struct Sso {
    /// What the file with the token is named by: the `sso_session`, or the start URL.
    pub(in crate::store::remote) identifier: String,
    pub(in crate::store::remote) region: String,
    pub(in crate::store::remote) account: String,
    pub(in crate::store::remote) role: String,
}

/// Where credentials come from. Not `Debug`: it may hold secrets.
#[derive(Clone)]
pub(in crate::store::remote) enum Way {
    Keys(Keys),
    /// A command that prints them.
    Process(String),
    Assumed {
        role: Role,
        by: Box<Way>,
    },
    WebIdentity {
        role: Role,
        token_file: PathBuf,
    },
    Sso(Sso),
    /// The service of ECS or of EKS's pod identity.
    Container,
    /// The instance's metadata service.
    Instance,
}

/// Who asks, for people; never a secret.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(keys) => write!(f, "access key {}", keys.id),
            Self::Process(_) => f.write_str("what its credential_process prints"),
            Self::Assumed { role, by } => write!(f, "role {}, assumed by {by}", role.arn),
            Self::WebIdentity { role, .. } => write!(f, "role {}, by a web identity", role.arn),
            Self::Sso(sso) => write!(f, "role {} of account {} by SSO ({})", sso.role, sso.account, sso.identifier),
            Self::Container => f.write_str("the container's role"),
            Self::Instance => f.write_str("the instance's role, if it has one"),
        }
    }
}
