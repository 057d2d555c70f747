//! tokenmap.json, which cassandra-medusa writes beside each backup: where the nodes of a datacenter
//! stood, and which tokens they had.

use crate::{Error, Result};
use serde_json::{Map, Value};

/// A node of the map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenMapNode {
    pub datacenter: Option<String>,
    pub rack: Option<String>,
    pub tokens: Vec<String>,
}

/// The node that is called `host`, or the only one; `None` where the map does not tell of it.
///
/// # Errors
/// Where the text is no map of nodes.
pub fn node_in_tokenmap(text: &[u8], host: &str) -> Result<Option<TokenMapNode>> {
    let nodes = nodes(text)?;
    let only = nodes.values().next().filter(|_| nodes.len() == 1);
    let Some(node) = nodes.get(host).or(only) else { return Ok(None) };
    let word = |name: &str| node[name].as_str().map(str::to_owned);
    Ok(Some(TokenMapNode { datacenter: word("dc"), rack: word("rack"), tokens: tokens(node)? }))
}

/// The tokens of every node.
///
/// # Errors
/// As [`node_in_tokenmap`].
pub fn tokens_in_tokenmap(text: &[u8]) -> Result<Vec<(String, Vec<String>)>> {
    nodes(text)?.into_iter().map(|(name, node)| Ok((name, tokens(&node)?))).collect()
}

fn damaged() -> Error {
    Error::corrupt("tokenmap.json is no map of nodes")
}

fn nodes(text: &[u8]) -> Result<Map<String, Value>> {
    let json: Value = serde_json::from_slice(text).map_err(|e| damaged().with_source(e))?;
    if let Value::Object(nodes) = json { Ok(nodes) } else { Err(damaged()) }
}

fn tokens(node: &Value) -> Result<Vec<String>> {
    let token = |of: &Value| of.as_str().map_or_else(|| of.to_string(), str::to_owned);
    Ok(node["tokens"].as_array().ok_or_else(damaged)?.iter().map(token).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_found_by_its_name() {
        let map = br#"{"a.example": {"tokens": [-1, 7], "is_up": true, "rack": "r1", "dc": "dc1"},
            "b.example": {"tokens": ["9"], "is_up": false}}"#;
        let of = |host: &str| node_in_tokenmap(map, host).unwrap();
        let word = |text: &str| Some(text.to_owned());
        let tokens = vec!["-1".to_owned(), "7".to_owned()];
        assert_eq!(of("a.example"), Some(TokenMapNode { datacenter: word("dc1"), rack: word("r1"), tokens }));
        assert_eq!(of("b.example").unwrap().tokens, ["9"]);
        assert_eq!(of("c.example"), None);
        let alone = br#"{"10.0.0.1": {"tokens": [5], "rack": "r1", "dc": "dc1"}}"#;
        assert_eq!(node_in_tokenmap(alone, "a.example").unwrap().unwrap().tokens, ["5"]);
        assert_eq!(tokens_in_tokenmap(map).unwrap()[1], ("b.example".to_owned(), vec!["9".to_owned()]));
        for damaged in [&b"{"[..], b"[]", br#"{"a": {"tokens": 7}}"#] {
            assert!(node_in_tokenmap(damaged, "a").is_err());
        }
    }
}
