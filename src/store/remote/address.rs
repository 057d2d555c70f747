//! Where a bucket of S3 is: its endpoint by region, partition and style of addressing.

use crate::{Error, Result};

/// What a bucket is asked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// `None` where `object_store` knows it by itself.
    pub(super) endpoint: Option<String>,
    /// The bucket is part of the host's name; an endpoint then has it already.
    pub(super) is_virtual_hosted: bool,
}

/// The user's choice of style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Path style for an endpoint of one's own and for names that are no host's, else
    /// virtual-hosted style.
    Auto,
    Path,
    VirtualHosted,
}

/// The domains of AWS's partitions by the beginning of a region's name; all others are in
/// `amazonaws.com`.
const PARTITIONS: [(&str, &str); 7] = [
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eu-iso-", "c2s.ic.gov"),
];

/// The domain of a region's services.
pub(super) fn domain_of(region: &str) -> &'static str {
    PARTITIONS.iter().find(|(begins, _)| region.starts_with(begins)).map_or("amazonaws.com", |(_, domain)| domain)
}

/// Where `bucket` is: at `endpoint`, which has been checked, or at AWS in `region`.
pub(super) fn address(bucket: &str, endpoint: Option<&str>, region: Option<&str>, style: Style) -> Result<Address> {
    let Some(endpoint) = endpoint else {
        let is_virtual_hosted = style != Style::Path && fits_a_host(bucket);
        let partition = region.and_then(|region| {
            let (_, domain) = PARTITIONS.iter().find(|(begins, _)| region.starts_with(begins))?;
            let bucket = if is_virtual_hosted { format!("{bucket}.") } else { String::new() };
            Some(format!("https://{bucket}s3.{region}.{domain}"))
        });
        return Ok(Address { endpoint: partition, is_virtual_hosted });
    };
    // Servers other than AWS's know the path style; few are set up for names of hosts.
    if style != Style::VirtualHosted {
        return Ok(Address { endpoint: Some(endpoint.to_owned()), is_virtual_hosted: false });
    }
    let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    if !bucket.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
        return Err(Error::invalid(format!(
            "{bucket:?} cannot be part of a host's name: not with --virtual-hosted-style"
        )));
    }
    // An endpoint that was copied from a console may have the bucket in it.
    let with_bucket = host.strip_prefix(bucket).is_some_and(|rest| rest.starts_with('.'));
    let endpoint = if with_bucket { endpoint.to_owned() } else { format!("{scheme}://{bucket}.{host}") };
    Ok(Address { endpoint: Some(endpoint), is_virtual_hosted: true })
}

/// Whether a bucket's name can be a label of a host that AWS's certificate covers.
fn fits_a_host(bucket: &str) -> bool {
    (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The region in the name of a host of S3: `s3.<region>.amazonaws.com`, with a bucket before it or
/// not.
pub(super) fn region_of_host(host: &str) -> Option<&str> {
    let host = host.strip_suffix(".cn").unwrap_or(host).strip_suffix(".amazonaws.com")?;
    let (before, region) = host.rsplit_once(['.']).unwrap_or(("s3", host));
    // `s3-eu-west-1`, as it once was.
    let region = region.strip_prefix("s3-").unwrap_or(region);
    let is_of_s3 = before.rsplit('.').next() == Some("s3") || host.contains("s3-");
    (is_of_s3 && is_region(region)).then_some(region)
}

/// Whether a text that a store sent can be a region: it becomes part of a host's name.
pub(super) fn is_region(text: &str) -> bool {
    (2..=40).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && text != "s3"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bucket: &str, endpoint: Option<&str>, region: &str, style: Style) -> (Option<String>, bool) {
        let address = address(bucket, endpoint, Some(region), style).unwrap();
        (address.endpoint, address.is_virtual_hosted)
    }

    #[test]
    fn a_bucket_is_where_its_style_and_partition_say() {
        let own = Some("http://oss:9000");
        let url = |text: &str| Some(text.to_owned());
        assert_eq!(at("bucket", None, "eu-west-1", Style::Auto), (None, true));
        assert_eq!(at("bucket", None, "us-gov-west-1", Style::Auto), (None, true));
        assert_eq!(at("bucket", None, "eu-west-1", Style::Path), (None, false));
        for bucket in ["my.bucket", "Bucket", "a_b", "ab"] {
            assert!(!at(bucket, None, "eu-west-1", Style::Auto).1, "{bucket}: no certificate covers it");
        }
        let china = at("bucket", None, "cn-north-1", Style::Auto);
        assert_eq!(china, (url("https://bucket.s3.cn-north-1.amazonaws.com.cn"), true));
        let china = at("bucket", None, "cn-northwest-1", Style::Path);
        assert_eq!(china, (url("https://s3.cn-northwest-1.amazonaws.com.cn"), false));
        assert_eq!(at("bucket", own, "x", Style::Auto), (url("http://oss:9000"), false));
        assert_eq!(at("bucket", own, "x", Style::VirtualHosted), (url("http://bucket.oss:9000"), true));
        let copied = Some("https://bucket.oss.example");
        assert_eq!(at("bucket", copied, "x", Style::VirtualHosted), (url("https://bucket.oss.example"), true));
        assert!(address("a_b", own, None, Style::VirtualHosted).is_err());
    }

    #[test]
    fn a_host_of_s3_names_its_region() {
        for (host, region) in [
            ("s3.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("bucket.s3.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("my.bucket.s3-eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("bucket.s3.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("bucket.s3.amazonaws.com", None),
            ("evil.example", None),
            ("eu-west-1.amazonaws.com.evil.example", None),
        ] {
            assert_eq!(region_of_host(host), region, "{host}");
        }
        assert!(is_region("eu-central-1") && is_region("garage") && !is_region("a.evil/") && !is_region(""));
    }
}
