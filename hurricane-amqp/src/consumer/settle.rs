//! The handler's way back to the broker, over the channel its message came by.

use std::{sync::Arc, time::Duration};

use hurricane_core::{
    MessageChannel, Outcome, Publication, PublishError, SettleError, async_trait,
};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    metrics::{Fate, Meters},
    publisher::Publisher,
};

/// What a handler wants to be done about messages, apart from what it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settlement {
    pub(super) tag: u64,
    pub(super) multiple: bool,
    pub(super) outcome: Outcome,
}

/// The way back. Once the session is gone nobody receives.
pub(super) struct WayBack {
    pub(super) settlements: UnboundedSender<Settlement>,
    pub(super) publisher: Publisher,
    pub(super) meters: Arc<Meters>,
}

#[async_trait]
impl MessageChannel for WayBack {
    fn settle(&self, tag: u64, multiple: bool, outcome: Outcome) -> Result<(), SettleError> {
        let settlement = Settlement {
            tag,
            multiple,
            outcome,
        };
        self.settlements.send(settlement).map_err(|_| SettleError)
    }

    fn handled(&self, duration: Duration, outcome: Outcome) {
        self.meters.handled(Fate::of(outcome), duration);
    }

    fn is_open(&self) -> bool {
        !self.settlements.is_closed()
    }

    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.publisher.publish(publication).await
    }
}
