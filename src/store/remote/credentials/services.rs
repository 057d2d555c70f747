//! Asks the services that give credentials: the containers', the instances', and whatever else
//! speaks HTTP.

use super::given::{Given, Trouble, of_service};
use crate::store::options::StoreOptions;
use crate::store::remote::causes::innermost;
use crate::store::remote::http::{Connector, beginning};
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

/// How long a service may take that is most likely not there.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one of AWS's own may take, each time.
const PATIENCE_WITH_AWS: Duration = Duration::from_secs(10);
const CONTAINER: &str = "http://169.254.170.2";
/// Where containers' services are, besides the machine itself.
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
const INSTANCE: &str = "http://169.254.169.254";
const ROLES: &str = "latest/meta-data/iam/security-credentials/";

/// What is asked, and by what client.
pub(super) struct Services {
    pub(super) options: StoreOptions,
    /// Of the bucket, as far as it is known.
    pub(super) region: String,
    connector: Connector,
    client: OnceLock<HttpClient>,
}

/// A question. Its headers and body may hold secrets.
pub(super) struct Question {
    pub(super) method: &'static str,
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Question {
    pub(super) fn get(url: impl Into<String>) -> Self {
        Self { method: "GET", url: url.into(), headers: Vec::new(), body: String::new() }
    }

    pub(super) fn request(self) -> Result<HttpRequest, Trouble> {
        let mut request = HttpRequest::new(HttpRequestBody::from(self.body));
        let makes_no_sense = |what: &str| Trouble::Refused(format!("{what} cannot be part of a request"));
        *request.method_mut() = self.method.parse().map_err(|_| makes_no_sense("the method"))?;
        *request.uri_mut() = self.url.parse().map_err(|_| makes_no_sense("the URL"))?;
        for (name, value) in self.headers {
            let value = value.trim().parse().map_err(|_| makes_no_sense(&format!("the header {name}")))?;
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }
}

impl Services {
    pub(super) fn new(options: StoreOptions, region: String, connector: Connector) -> Self {
        Self { options, region, connector, client: OnceLock::new() }
    }

    /// Status and the beginning of the document. A service that fails or is not there is an outage.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<(u16, String), Trouble> {
        self.send_within(request, PATIENCE_WITH_AWS).await
    }

    async fn send_within(&self, request: HttpRequest, patience: Duration) -> Result<(u16, String), Trouble> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let client = self.client()?.clone();
        let answer = async {
            let response = client.execute(request).await.map_err(|error| innermost(&error))?;
            let status = response.status().as_u16();
            Ok::<_, String>((status, beginning(response.into_body()).await))
        };
        let answer = tokio::time::timeout(patience, answer).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs())));
        match answer {
            Err(why) => Err(Trouble::Outage(format!("{host}: {why}"))),
            Ok((status @ (408 | 429 | 500..), _)) => {
                Err(Trouble::Outage(format!("{host} fails (HTTP status {status})")))
            }
            Ok(answer) => Ok(answer),
        }
    }

    fn client(&self) -> Result<&HttpClient, Trouble> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // Where a service is asked over plain HTTP, its URL says so.
        let options = ClientOptions::new().with_allow_http(true).with_connect_timeout(PATIENCE);
        let made = self.connector.connect(&options);
        let made = made.map_err(|error| Trouble::Refused(format!("cannot make an HTTP client: {error}")))?;
        Ok(self.client.get_or_init(|| made))
    }

    /// The answer of a service beside this process; one that is not there has none to give.
    async fn beside(&self, question: Question) -> Result<String, Trouble> {
        match self.send_within(question.request()?, PATIENCE).await {
            Ok((200, document)) => Ok(document),
            Ok((status, _)) => Err(Trouble::Refused(format!("it answers with HTTP status {status}"))),
            Err(Trouble::Outage(why) | Trouble::Refused(why)) => Err(Trouble::Refused(why)),
        }
    }

    /// Of ECS, or of EKS's pod identity.
    pub(super) async fn container(&self) -> Result<Given, Trouble> {
        let variable = |name: &str| self.options.variable(name);
        let url = match variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            Some(path) => format!("{CONTAINER}{path}"),
            None => variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").map(str::to_owned).ok_or_else(|| {
                let names = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI";
                Trouble::Refused(format!("neither {names} is set: is this a container of ECS or EKS?"))
            })?,
        };
        check_container(&url)?;
        let mut question = Question::get(url);
        let token = match variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(path) => Some(read(path.to_owned()).await?),
            None => variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(str::to_owned),
        };
        question.headers.extend(token.map(|token| ("authorization", token)));
        of_service(&self.beside(question).await?)
    }

    /// By the second version of the instance's metadata service.
    pub(super) async fn instance(&self) -> Result<Given, Trouble> {
        let variable = |name: &str| self.options.variable(name);
        let is_true = |name: &str| variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if is_true("AWS_EC2_METADATA_DISABLED") {
            return Err(Trouble::Refused("it is switched off by AWS_EC2_METADATA_DISABLED".into()));
        }
        let place = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").or_else(|| variable("AWS_METADATA_ENDPOINT"));
        let place = place.unwrap_or(INSTANCE).trim_end_matches('/').to_owned();
        let asked = async {
            let mut question = Question::get(format!("{place}/latest/api/token"));
            question.method = "PUT";
            question.headers.push(("x-aws-ec2-metadata-token-ttl-seconds", "600".into()));
            let token = match self.beside(question).await {
                Ok(token) => Some(token),
                Err(_) if is_true("AWS_IMDSV1_FALLBACK") => None,
                Err(trouble) => return Err(trouble),
            };
            let with_token = |path: String| {
                let mut question = Question::get(format!("{place}/{path}"));
                question.headers.extend(token.clone().map(|token| ("x-aws-ec2-metadata-token", token)));
                question
            };
            let role = match self.beside(with_token(ROLES.to_owned())).await {
                Err(Trouble::Refused(why)) if why.ends_with(" 404") => {
                    return Err(Trouble::Refused("the instance has no role".into()));
                }
                role => role?,
            };
            let role = role.lines().next().unwrap_or_default().trim().to_owned();
            of_service(&self.beside(with_token(format!("{ROLES}{role}"))).await?)
        };
        let late = || Err(Trouble::Refused(format!("no answer within {} s", PATIENCE.as_secs())));
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| late())
    }
}

/// Credentials are asked for in plain HTTP only where the way there is short.
fn check_container(url: &str) -> Result<(), Trouble> {
    let parsed = url::Url::parse(url).ok();
    let host = parsed.as_ref().and_then(url::Url::host_str).map(|host| host.trim_matches(['[', ']']));
    let is_near = host.is_some_and(|host| {
        host == "localhost"
            || CONTAINER_HOSTS.contains(&host)
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    match parsed.as_ref().map(url::Url::scheme) {
        Some("https") => Ok(()),
        Some("http") if is_near => Ok(()),
        _ => Err(Trouble::Refused(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI has to be https://, or http:// at this machine or at a container's service"
                .into(),
        )),
    }
}

/// A file with a token, as it is now.
pub(super) async fn read(path: String) -> Result<String, Trouble> {
    let content = crate::task::blocking(move || {
        let content = std::fs::read_to_string(&path);
        content.map_err(|error| crate::Error::io(format_args!("read the token {path}"), error))
    });
    content.await.map_err(|error| Trouble::Refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_do_not_leave_for_a_far_host_in_plain_http() {
        for near in
            ["http://169.254.170.23/v1/credentials", "http://[fd00:ec2::23]/v1", "http://127.0.0.1:1/", "https://h/"]
        {
            check_container(near).unwrap();
        }
        for far in ["http://evil.example/", "http://169.254.1.1/", "", "file:///etc/passwd"] {
            assert!(check_container(far).is_err(), "{far}");
        }
    }
}
