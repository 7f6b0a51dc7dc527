//! The bodies of the scripted payee's answers.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use stiver_channel::ChannelId;
use stiver_core::Credential;

use super::channels::{Broken, Payee};

/// A body: some bytes, or events that are charged one by one.
pub(crate) struct Feed {
    whole: Option<Bytes>,
    stream: Option<Stream>,
}

struct Stream {
    payee: Payee,
    channel: ChannelId,
    credential: Credential,
    left: usize,
    asked: bool,
}

impl Feed {
    pub(crate) fn whole(bytes: Vec<u8>) -> Self {
        Self {
            whole: Some(bytes.into()),
            stream: None,
        }
    }

    pub(crate) fn stream(
        payee: &Payee,
        channel: ChannelId,
        credential: &Credential,
        left: usize,
    ) -> Self {
        Self {
            whole: None,
            stream: Some(Stream {
                payee: payee.clone(),
                channel,
                credential: credential.clone(),
                left,
                asked: false,
            }),
        }
    }
}

impl Stream {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<String>> {
        if self.left == usize::MAX {
            return Poll::Ready(None);
        }
        if self.left == 0 {
            self.left = usize::MAX;
            let receipt = self.payee.receipt(&self.credential, self.channel, 0);
            let json = receipt.to_json();
            return Poll::Ready(Some(format!("event: payment-receipt\ndata: {json}\n\n")));
        }
        let mut shop = self.payee.shop();
        let cost = shop.price * shop.counts;
        let account = shop.accounts.get_mut(&self.channel).unwrap();
        if account.accepted - account.spent >= cost {
            account.spent += cost;
            self.left -= 1;
            self.asked = false;
            return Poll::Ready(Some(format!("data: reading {}\n\n", self.left)));
        }
        if self.asked {
            shop.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        self.asked = true;
        let (accepted, required) = (account.accepted, account.spent + cost);
        let channel = self.channel.to_hex();
        Poll::Ready(Some(format!(
            "event: payment-need-voucher\ndata: {{\"channelId\":\"{channel}\",\
             \"acceptedCumulative\":\"{accepted}\",\"requiredCumulative\":\"{required}\",\
             \"deposit\":\"0\"}}\n\n"
        )))
    }
}

impl Body for Feed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(bytes) = self.whole.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        let next = stream.next(cx);
        next.map(|next| next.map(|text| Ok(Frame::data(Bytes::from(text)))))
    }
}
