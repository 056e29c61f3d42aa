//! Nodes through which people log in at a real OpenID provider.

use serde_json::{Value, json};

pub(crate) use super::openid::{Provider, SECRET};
use super::{Node, NodeFolder};

impl Provider {
    /// Returns the settings of the issuer for people, as they are written below its name.
    pub(crate) fn settings(&self) -> Value {
        json!({
            "issuer": self.url(), "use": ["browser"], "client_id": "ES256", "client_secret": { "file": "corp.secret" },
            "scopes": ["openid", "profile", "email", "groups"], "allow": "claims.email_verified",
            "name": "claims.preferred_username", "groups": "claims.?groups.orValue(null)",
        })
    }

    /// Starts a node, to which the provider sends people back.
    pub(crate) fn node(&mut self, settings: &Value) -> (NodeFolder, Node) {
        let place = NodeFolder::new();
        let node = self.node_at(&place, settings);
        (place, node)
    }

    /// The same, in a given place.
    pub(crate) fn node_at(&mut self, place: &NodeFolder, settings: &Value) -> Node {
        std::fs::write(place.path().join("corp.secret"), format!("{SECRET}\n")).unwrap();
        std::fs::write(place.path().join("ensue.yaml"), json!({ "login": settings }).to_string()).unwrap();
        let node = place.start();
        for issuer in settings["issuers"].as_object().unwrap().keys() {
            self.send_command(&format!("redirect {}/api/v1/auth/oidc/callback/{issuer}", node.url()));
        }
        node
    }
}
