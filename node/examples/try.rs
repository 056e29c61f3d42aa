use ensue_node::{Config, Node};
#[tokio::main]
async fn main() {
    tracing_subscriber_stub();
    let dir = std::env::args().nth(1).unwrap();
    let mut c = Config::new(format!("{dir}/data").into());
    c.state_base = Some(format!("{dir}/state").into());
    c.listen = "127.0.0.1:3678".parse().unwrap();
    c.packs = format!("{dir}/packs").into();
    let t = std::time::Instant::now();
    let n = match Node::start(c).await { Ok(n)=>n, Err(e)=>{ eprintln!("{e}"); return } };
    eprintln!("ready in {:?} at {}", t.elapsed(), n.address());
    if let Some(t) = n.first_admin_token() { println!("{}", String::from_utf8_lossy(t.reveal())); }
    for w in n.warnings() { eprintln!("{w}"); }
    tokio::select! { _ = tokio::signal::ctrl_c() => {}, f = n.failed() => eprintln!("failed {f}") }
    eprintln!("{:?}", n.stop().await.map_err(|e| e.to_string()));
}
fn tracing_subscriber_stub() {}
