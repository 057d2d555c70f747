//! From a way to credentials.

use super::given::{Given, Trouble};
use super::services::Services;
use super::way::Way;
use super::{process, sso, sts};
use crate::store::remote::profile::Profile;
use futures::future::BoxFuture;
use std::time::Duration;

/// How long a `credential_process` may take: it may ask services of its own.
const PROCESS_PATIENCE: Duration = Duration::from_mins(1);

/// Asks for credentials, once. `endpoint`: of the token service, where the profile names one.
pub(super) fn obtain<'a>(
    way: &'a Way,
    endpoint: Option<&'a str>,
    services: &'a Services,
) -> BoxFuture<'a, Result<Given, Trouble>> {
    Box::pin(async move {
        match way {
            Way::Keys(keys) => Ok(Given::new(&keys.id, &keys.secret, keys.token.as_deref(), None)),
            Way::Process(command) => {
                // It ends before who waits for it gives up, and can only say that the store is silent.
                let patience = PROCESS_PATIENCE.min(services.options.timeout * 3 / 4);
                let run = tokio::time::timeout(patience, process::run(command)).await;
                run.unwrap_or_else(|_| {
                    let seconds = patience.as_secs_f32();
                    let why =
                        format!("the credential_process of the AWS profile: it did not end within {seconds:.0} s");
                    Err(Trouble::Refused(why))
                })
            }
            Way::Assumed { role, by } => {
                let by = obtain(by, endpoint, services).await?;
                sts::assume(role, &by, endpoint, services).await
            }
            Way::WebIdentity { role, token_file } => sts::web_identity(role, token_file, endpoint, services).await,
            Way::Sso(sso) => sso::credentials(sso, services).await,
            Way::Container => services.container().await.map_err(|trouble| trouble.of("the container's service")),
            Way::Instance => services.instance().await.map_err(|trouble| trouble.of("the instance's metadata service")),
        }
    })
}

/// What a profile gives now.
pub(super) async fn of_profile(profile: &Profile, services: &Services) -> Result<Given, Trouble> {
    let name = format!("the AWS profile {:?}", profile.name);
    let way = profile.way(&services.options).map_err(Trouble::from)?;
    let way = way.ok_or_else(|| Trouble::Refused(format!("{name} names no credentials any more")))?;
    let endpoint = profile.endpoint_of("sts");
    obtain(&way, endpoint.as_deref(), services).await.map_err(|trouble| trouble.of(&name))
}
