//! What `compose.postgres.yaml` says, without the containers: its scripts set up a primary and a standby, its address finds
//! both, and a node survives the loss of the primary.

use serde_json::{Value, json};

use crate::database_server::{Server, is_missing};
use crate::support::NodeFolder;

const PASSWORD: &str = "horse-staple";

/// Returns a text of the file, as a container sees it.
fn text(compose: &Value, pointer: &str) -> String {
    let text = compose.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} is missing"));
    text.replace("${ENSUE_DATABASE_PASSWORD:?}", PASSWORD).replace("$$", "$")
}

#[tokio::test(flavor = "multi_thread")]
async fn composed_node_survives_the_loss_of_the_primary() {
    if is_missing() {
        return;
    }
    let compose: Value = serde_saphyr::from_str(include_str!("../../compose.postgres.yaml")).unwrap();
    let primary = Server::start_after(|data| {
        let settings = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
        Server::write(&data.join("postgresql.conf"), &format!("{settings}unix_socket_directories = ''\nmax_connections = 200\n"));
        Server::write(&data.join("pg_hba.conf"), "host all ensue 127.0.0.1/32 trust\n");
    });
    primary.psql("postgres", "CREATE DATABASE ensue ENCODING 'UTF8' TEMPLATE template0");
    primary.psql("postgres", &format!("ALTER ROLE ensue PASSWORD '{PASSWORD}'"));
    primary.run_script(&text(&compose, "/configs/first-start/content"));
    primary.stop();
    primary.start_again();

    let copy = text(&compose, "/services/standby/entrypoint/2").replace("host=primary", &format!("host=127.0.0.1 port={}", primary.port()));
    let standby = Server::start_by(&copy, &[("PGPASSWORD", &text(&compose, "/services/standby/environment/PGPASSWORD"))]);
    let address = text(&compose, "/services/ensue1/environment/ENSUE_DATABASE");
    let address = address.replace("primary,standby", &format!("127.0.0.1:{},127.0.0.1:{}", primary.port(), standby.port()));
    assert_eq!(address.matches("127.0.0.1").count(), 2, "{address}");
    let place = NodeFolder::new().with_arguments(&["--database", &address]);
    let node = place.start();
    let doctor = node.client().get("/doctor").await;
    let told = doctor["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "database").unwrap();
    assert!(told["message"].as_str().unwrap().contains("synchronous standbys have each commit: 1 connected"), "{told:#}");
    let before = node.client().execute("core.echo", &json!({ "message": "before" })).await;
    node.client().until(&format!("/executions/{before}"), |execution| execution["status"] == "succeeded").await;

    primary.kill();
    standby.promote();
    node.client().until(&format!("/executions/{before}"), |execution| execution["status"] == "succeeded").await;
    let after = node.client().execute("core.echo", &json!({ "message": "after" })).await;
    node.client().until(&format!("/executions/{after}"), |execution| execution["status"] == "succeeded").await;
    node.stop_well();
}
