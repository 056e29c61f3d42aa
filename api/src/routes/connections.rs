//! Connections: list them, show them, and test them.

use ensue_engine::access::audit::facts::ConnectionTested;
use ensue_engine::command::Ask;
use ensue_engine::names::ConnectionName;

use super::Routes;
use crate::auth::AllowedCaller;
use crate::call::{Call, Nothing};
use crate::listing;
use crate::operation::{Operation, Takes, WRITTEN};
use crate::paging::PageQuery;
use crate::permissions::{ConnectionsRead, ConnectionsTest, Permission as _};
use crate::ports::ConnectionStatus;
use crate::problem::{Missing, Outcome};
use crate::respond::{self, WriteOutcome};
use crate::wire::connections::{WireConnection, WireConnectionTest};

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<ConnectionsRead>(
        "/connections",
        list,
        Operation::lists::<WireConnection>(
            "connection_list",
            "Lists the connections of `ensue.yaml` with their states since the start of the node",
            &[PageQuery::PARAMETERS],
        ),
    );
    routes.get::<ConnectionsRead>(
        "/connections/{name}",
        get,
        Operation::shows::<WireConnection>("connection_get", "Returns a connection with its state since the start of the node"),
    );
    routes.post::<ConnectionsTest>(
        "/connections/{name}/test",
        test,
        Operation::new("connection_test", "Tests a connection with an exchange that changes nothing at its server")
            .takes(Takes::Empty)
            .passes_keys_over()
            .gives::<WireConnectionTest>(200, "The test is over, well or badly.", WRITTEN),
    );
}

/// Lists the connections by their names.
pub(super) async fn list(allowed: AllowedCaller<ConnectionsRead>, call: Call) -> Outcome {
    let all = call.api().ports.connections.all();
    let listed = listing::of_catalog(&call, &allowed, all.into_iter(), |one: &ConnectionStatus| one.name.to_string())?;
    let items = listed.items.into_iter().map(WireConnection::from).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows a connection.
pub(super) async fn get(_: AllowedCaller<ConnectionsRead>, call: Call) -> Outcome {
    let name: ConnectionName = call.parse_part("name", ConnectionsRead::THING)?;
    let status = call.api().ports.connections.status(&name);
    let status = status.ok_or_else(|| Missing::new(ConnectionsRead::THING, name.as_str()))?;
    respond::json(&WireConnection::from(status))
}

/// Tests a connection, and records that the caller had it tested.
pub(super) async fn test(allowed: AllowedCaller<ConnectionsTest>, mut call: Call) -> Outcome {
    let name: ConnectionName = call.parse_part("name", ConnectionsRead::THING)?;
    let Nothing {} = call.json_or_nothing().await?;
    let missing = || Missing::new(ConnectionsRead::THING, name.as_str());
    let tested = call.api().ports.connections.test(name.clone()).await.ok_or_else(missing)?;
    let fact = ConnectionTested { connection: name.clone(), error: tested.error.map(str::to_owned) };
    let committed = call.api().submit(call.on_behalf(&allowed)?, Ask::NoteConnectionTest(fact)).await?;
    respond::answer_write(WriteOutcome::Done, committed.position, &WireConnectionTest::new(name, tested))
}
