//! What requests to S3 are signed with: static keys, or what a process or a service gives for a
//! while. Where there is nothing, that is said soon and with all the places that were looked at.
//!
//! Most of it is for S3; [`external`] is for Google, and [`Told`] for what `object_store` gets itself.
//! A [`Way`] says how credentials come about, [`obtain`] asks for them, and [`Renewed`] does so
//! again before they expire. A profile is read anew each time: its files may have been rewritten.

pub(super) mod external;
mod given;
mod obtain;
mod process;
mod renewed;
mod services;
mod sso;
mod sts;
mod told;
pub(super) mod way;

pub(super) use given::{CredentialOutage, NoCredentials};
pub(super) use told::{Asked, Told};

use super::http::Connector;
use super::profile::{self, Profile};
use crate::store::options::StoreOptions;
use crate::task::blocking;
use crate::{Error, Result};
use given::{Given, Trouble};
use object_store::aws::AmazonS3Builder;
use renewed::Renewed;
use services::Services;
use std::sync::Arc;
use way::{Role, Way};
use zeroize::Zeroizing;

/// Gives `builder` its credentials. `asking`: what services are asked with. The second value is
/// whether they stand in files and the environment, and cost nothing to read again.
pub(super) fn provide(
    builder: AmazonS3Builder,
    asking: (&StoreOptions, &str, Connector),
    profile: &Profile,
) -> Result<(AmazonS3Builder, bool)> {
    let options = asking.0;
    let has = |name: &str| options.variable(name).is_some();
    let of_environment = options.profile.is_none();
    if options.no_sign_request {
        return Ok((builder, true));
    }
    if of_environment {
        // Half of a setting is one that went wrong: nothing else is tried in its place.
        for (set, lacks) in
            [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")]
        {
            if has(set) && !has(lacks) {
                return Err(Error::invalid(format!("{set} is set, and {lacks} is not: it takes both")));
            }
        }
        if has("AWS_ACCESS_KEY_ID") {
            return Ok((builder, true));
        }
    }
    let services = Arc::new(services_of(asking));
    let renewed = match web_identity(options).filter(|_| of_environment) {
        Some(way) => of_service(way, profile, services),
        None => match profile.way(&services.options)? {
            Some(Way::Keys(keys)) => {
                let builder = builder.with_access_key_id(&keys.id).with_secret_access_key(&keys.secret);
                return Ok(match &keys.token {
                    Some(token) => (builder.with_token(token), true),
                    None => (builder, true),
                });
            }
            Some(_) => of_profile_anew(services),
            None if services.options.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").is_some()
                || services.options.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").is_some() =>
            {
                of_service(Way::Container, profile, services)
            }
            None => of_service(Way::Instance, profile, services),
        },
    };
    Ok((builder.with_credentials(Arc::new(renewed)), false))
}

/// The credentials of the profile as a `credential_process` prints them.
pub(super) async fn of_profile(
    profile: &Profile,
    asking: (&StoreOptions, &str, Connector),
) -> Result<Zeroizing<Vec<u8>>> {
    let given = obtain::of_profile(profile, &services_of(asking)).await.map_err(Trouble::into_error)?;
    Ok(given::as_output(&given))
}

fn services_of((options, region, connector): (&StoreOptions, &str, Connector)) -> Services {
    Services::new(options.clone(), region.to_owned(), connector)
}

/// A role that the environment names.
fn web_identity(options: &StoreOptions) -> Option<Way> {
    let variable = |name: &str| options.variable(name).map(str::to_owned);
    let session_name = variable("AWS_ROLE_SESSION_NAME");
    let role = Role { arn: variable("AWS_ROLE_ARN")?, session_name, external_id: None, seconds: None };
    Some(Way::WebIdentity { role, token_file: variable("AWS_WEB_IDENTITY_TOKEN_FILE")?.into() })
}

/// Of the profile, read anew each time.
fn of_profile_anew(services: Arc<Services>) -> Renewed {
    Renewed::new(Box::new(move || {
        let services = Arc::clone(&services);
        Box::pin(async move {
            if let Some(outside) = services.options.outside.clone() {
                let output = blocking(move || outside.credentials()).await.map_err(Trouble::from)?;
                return given::of_process(&output);
            }
            let options = services.options.clone();
            let profile = blocking(move || profile::load(&options)).await.map_err(Trouble::from)?;
            obtain::of_profile(&profile, &services).await
        })
    }))
}

/// Of a service that nothing but its being there speaks for; the sentence says where else was
/// looked.
fn of_service(way: Way, profile: &Profile, services: Arc<Services>) -> Renewed {
    let looked = format!(
        "none in the environment (AWS_ACCESS_KEY_ID), none in {files} for the profile {name:?}",
        files = profile::files(&services.options).join(" and "),
        name = profile.name,
    );
    let (way, endpoint) = (Arc::new(way), profile.endpoint_of("sts"));
    Renewed::new(Box::new(move || {
        let (services, way) = (Arc::clone(&services), Arc::clone(&way));
        let (looked, endpoint) = (looked.clone(), endpoint.clone());
        Box::pin(async move {
            let given: std::result::Result<Given, Trouble> = obtain::obtain(&way, endpoint.as_deref(), &services).await;
            given.map_err(|trouble| match trouble {
                Trouble::Refused(why) => Trouble::Refused(format!("{looked}; {why}")),
                outage @ Trouble::Outage(_) => outage,
            })
        })
    }))
}
