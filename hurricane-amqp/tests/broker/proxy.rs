//! A way to the broker that can be cut.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hurricane_amqp::ConnectionConfig;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::harness;

/// Stands between consumer and broker.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    connections: Arc<Mutex<JoinSet<()>>>,
    _task: JoinSet<()>,
}

// === impl Proxy ===

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let broker = harness::connection();
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let mut task = JoinSet::new();
        task.spawn({
            let connections = Arc::clone(&connections);
            async move {
                loop {
                    let (mut client, _) = listener.accept().await.unwrap();
                    let (host, port) = (broker.host.clone(), broker.port);
                    connections.lock().unwrap().spawn(async move {
                        if let Ok(mut server) = TcpStream::connect((host, port)).await {
                            let _ = copy_bidirectional(&mut client, &mut server).await;
                        }
                    });
                }
            }
        });
        Self {
            port,
            connections,
            _task: task,
        }
    }

    /// The connection through the proxy.
    pub(crate) fn connection(&self) -> ConnectionConfig {
        ConnectionConfig {
            host: "127.0.0.1".into(),
            port: self.port,
            timeout: Duration::from_secs(30),
            ..harness::connection()
        }
    }

    /// Cuts all connections there are; new ones get through.
    pub(crate) fn cut(&self) {
        self.connections.lock().unwrap().abort_all();
    }
}
