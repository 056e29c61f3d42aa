//! Databases with the tables of Ensue, and nodes that use them.

use ensue_postgres::{Database, Node};
use uuid::Uuid;

use crate::server::Server;

impl Server {
    /// Opens a new database with the tables of Ensue.
    pub(crate) fn database(&self) -> (String, Database) {
        let name = self.new_database();
        let database = Database::at(&self.address(&name)).unwrap();
        database.prepare().unwrap();
        (name, database)
    }
}

/// Returns a node.
pub(crate) fn node(number: u128) -> Node {
    Node { id: Uuid::from_u128(number), name: format!("node-{number}") }
}
